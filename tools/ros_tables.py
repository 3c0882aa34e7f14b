"""Writes the tables of docs/ros.md that follow from the code: topics, frames, parameters.

    python tools/ros_tables.py

Each stands between two comments, `<!-- NAME -->` and `<!-- end of NAME -->`.
"""

from __future__ import annotations

from pathlib import Path

from flowface_ros.ros.settings import parameter_tables
from flowface_ros.ros.topics import PUBLISHED, SUBSCRIBED, topic_table
from flowface_ros.track.head_frames import HEAD_FRAMES

PAGE = Path(__file__).resolve().parents[1] / "docs/ros.md"


def frame_table() -> str:
    """Frames as a Markdown table."""
    rows = [f"| `{name}_<id>` | {axes} |" for name, axes in HEAD_FRAMES.items()]
    optical = "| optical frames | x right, y down, z forward |"
    return "\n".join(["| frame | axes |", "|---|---|", optical, *rows]) + "\n"


def with_tables(page: str) -> str:
    """The page with its tables as the code has them now.

    Raises ValueError when the page has no place for one.
    """
    for name, table in (
        ("inputs", topic_table(SUBSCRIBED)),
        ("outputs", topic_table(PUBLISHED)),
        ("frames", frame_table()),
        ("parameters", parameter_tables()),
    ):
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"{PAGE.name} has no place for {name}")
        page = before + begin + table + end + after
    return page


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
