"""`flowface demo`: a synthetic recording and real clips, live through the tracker node."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

NAME = "demo"
HELP = "Tracks a synthetic recording and real clips over DDS; pictures, videos, report, figures."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/demo"),
        help="folder to write into (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=10, help="of the scene (default: 10)")
    parser.add_argument("--jobs", type=int, help="processes that render (default: one per core)")
    parser.epilog = (
        "The real clips come from packages on the Python index and are kept in "
        "$FLOWFACE_CACHE (default: ~/.cache/flowface_ros). "
        "The exit status is 1 when a figure is out of its range."
    )


def run(args: argparse.Namespace) -> int:
    from flowface_ros.demo.figures import table
    from flowface_ros.demo.run import Demo
    from flowface_ros.ros.live_run import LiveRunError

    demo = Demo(args.out, _bar)
    try:
        wrong = demo.run(args.seed, args.jobs)
    except LiveRunError as error:
        raise OSError(str(error)) from error
    print("\n" + _aligned(table(demo.figures)) + "\n")
    print(f"{args.out / 'report.html'}: all of this with pictures and videos")
    for line in wrong:
        print(f"flowface: OUT OF RANGE: {line}", file=sys.stderr)
    return 1 if wrong else 0


def _bar(what: str) -> Callable[[Iterable[Any], int], Iterable[Any]]:
    from tqdm import tqdm

    return lambda items, total: tqdm(items, total=total, desc=what, dynamic_ncols=True)


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
