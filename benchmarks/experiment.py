"""What the experiments share: their command line, and their place in docs/experiments.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import harness
import numpy as np

from flowface_ros.evaluate.charts import Line, standalone_line_chart

Row = dict[str, Any]


def save_chart(name: str, lines: Sequence[Line], x_label: str, y_label: str) -> str:
    """Write docs/images/NAME.svg; the Markdown that shows it."""
    path = harness.DOCS / "images" / f"{name}.svg"
    path.write_text(standalone_line_chart(lines, x_label, y_label), encoding="utf-8")
    return f"![{y_label} by {x_label}](images/{name}.svg)"


def lines_of(rows: Sequence[Row], name: str, x: str, y: str) -> list[Line]:
    """One line for each value of column `name`."""
    found = []
    for value in dict.fromkeys(row[name] for row in rows):
        same = [row for row in rows if row[name] == value]
        place, height = ([float(row[key]) for row in same] for key in (x, y))
        found.append(Line(str(value), np.array(place), np.array(height)))
    return found


def main(
    description: str,
    name: str,
    run: Callable[[bool], Mapping[str, Sequence[Row]]],
    charts: Callable[[Mapping[str, Sequence[Row]]], Sequence[str]],
) -> None:
    """The command of an experiment.

    run: tables by title, given whether it must be quick. charts: Markdown of the pictures that it
    writes, for these tables.
    """
    parser = harness.parser(description)
    parser.add_argument("--docs", action="store_true", help="write tables and plots into docs/")
    args = parser.parse_args()
    tables = run(args.quick)
    for title, rows in tables.items():
        print(title)
        harness.print_table(rows)
        print()
    if args.json:
        harness.write_json(args.json, {"tables": {k: list(v) for k, v in tables.items()}})
    if args.docs:
        parts = [f"{title}:\n\n{harness.markdown_table(rows)}" for title, rows in tables.items()]
        parts += [*charts(tables), f"Ran on {harness.machine_description()}."]
        harness.replace_section(harness.DOCS / "experiments.md", name, "\n\n".join(parts))
