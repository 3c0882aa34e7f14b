"""The demo's report: one page of HTML beside its pictures and videos."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from flowface_ros.evaluate.report_parts import table
from flowface_ros.evaluate.report_style import STYLE

_MEDIA_STYLE = (
    "body { max-width: 90rem; } img, video { max-width: 100%; max-height: 90vh; }"
    "figure { margin: 0 0 2em; }"
)


def write_page(
    path: Path, rows: Sequence[Sequence[str]], runs: Sequence[str], links: Sequence[tuple[str, str]]
) -> None:
    """rows: the table, names first. runs: NAME.webm and NAME.png stand beside the page.
    links: file and text of further pages."""
    body = "".join(
        f"<h2>{escape(name)}</h2>"
        f'<figure><video controls autoplay loop muted src="{escape(name)}.webm"></video></figure>'
        f'<figure><img alt="tracked mesh, {escape(name)}" src="{escape(name)}.png"></figure>'
        for name in runs
    )
    further = "".join(
        f'<li><a href="{escape(file)}">{escape(text)}</a></li>' for file, text in links
    )
    path.write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>flowface_ros demo</title><style>{STYLE}{_MEDIA_STYLE}</style></head><body>"
        f"<h1>flowface_ros demo</h1>{table(rows[0], rows[1:])}<ul>{further}</ul>{body}"
        "</body></html>\n",
        encoding="utf-8",
    )
