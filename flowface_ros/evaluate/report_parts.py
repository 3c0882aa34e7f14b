"""Numbers and tables of the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

_SMALLEST = 0.001
"""No unit of the report matters below this."""


def number(value: float | None, unit: str = "") -> str:
    """Three digits, or a dash for what is not known."""
    if value is None or not math.isfinite(value):
        return "-"
    text = f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    if 0 < abs(value) < _SMALLEST:
        text = f"< {_SMALLEST:g}"
    return f"{text} {unit}".rstrip()


def share(value: float | None) -> str:
    """In percent."""
    return "-" if value is None or not math.isfinite(value) else f"{100 * value:.1f} %"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table of cells of plain text."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{top}</tr>{body}</table>"
