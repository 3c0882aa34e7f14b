"""Writes the tables of the docs that follow from the code: topics, frames, parameters, ranges.

python tools/doc_tables.py
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from doc_places import with_tables

from flowface_ros.demo.figures import COMMON_LIMITS, TRUTH_LIMITS, Limit
from flowface_ros.ros.settings import parameter_tables
from flowface_ros.ros.topics import PUBLISHED, SUBSCRIBED, topic_table
from flowface_ros.track.head_frames import HEAD_FRAMES

DOCS = Path(__file__).resolve().parents[1] / "docs"


def frame_table() -> str:
    """Frames as a Markdown table."""
    rows = [f"| `{name}_<id>` | {axes} |" for name, axes in HEAD_FRAMES.items()]
    optical = "| optical frames | x right, y down, z forward |"
    return "\n".join(["| frame | axes |", "|---|---|", optical, *rows]) + "\n"


def limit_table() -> str:
    """What the demo's figures may be, as a Markdown table."""
    rows = [
        f"| {limit.what} | `{'.'.join(limit.path)}` | {runs} | {_allowed(limit)} |"
        for runs, limits in (("every", COMMON_LIMITS), ("synthetic", TRUTH_LIMITS))
        for limit in limits
    ]
    head = "| figure | in `metrics.json` | run | allowed |"
    return "\n".join([head, "|---|---|---|---|", *rows]) + "\n"


def _allowed(limit: Limit) -> str:
    if np.isinf(limit.high):
        return f"at least {limit.low:g}"
    if np.isinf(limit.low):
        return f"at most {limit.high:g}"
    return f"{limit.low:g} to {limit.high:g}"


TABLES: Mapping[str, Mapping[str, str]] = {
    "ros.md": {
        "inputs": topic_table(SUBSCRIBED),
        "outputs": topic_table(PUBLISHED),
        "frames": frame_table(),
        "parameters": parameter_tables(),
    },
    "demo.md": {"ranges": limit_table()},
}
"""Tables by page and name."""


def main() -> None:
    """Bring all pages up to date."""
    for name, tables in TABLES.items():
        path = DOCS / name
        path.write_text(with_tables(path.read_text(), tables))


if __name__ == "__main__":
    main()
