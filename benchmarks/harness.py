"""What every benchmark shares: pinned threads, timings, a table, a JSON file.

Import this before numpy and call `pin_threads` first: BLAS reads the variables when it is loaded.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one call over the repeats."""

    median_ms: float
    p95_ms: float
    min_ms: float
    repeats: int


def pin_threads(count: int = 1) -> None:
    """Give numerical libraries `count` threads; call before they are imported."""
    for variable in _THREAD_VARIABLES:
        os.environ[variable] = str(count)


def measure(function: Callable[[], object], repeats: int = 50, warmup: int = 3) -> Timing:
    """Time calls of a function without arguments."""
    for _ in range(warmup):
        function()
    times_ms = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times_ms.append((time.perf_counter() - start) * 1e3)
    times_ms.sort()
    p95 = times_ms[min(len(times_ms) - 1, int(0.95 * len(times_ms)))]
    return Timing(statistics.median(times_ms), p95, times_ms[0], repeats)


def machine_description() -> str:
    """Processor, cores that this process may use, Python and system."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = models[0].split(":", 1)[1].strip() if models else cpu
    cores = len(os.sched_getaffinity(0))
    return f"{cpu}, {cores} cores, Python {platform.python_version()}, {platform.system()}"


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows with the same keys as an aligned table."""
    if not rows:
        return
    columns = list(rows[0])
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    widths = [max(len(column), *(len(row[i]) for row in cells)) for i, column in enumerate(columns)]
    print("  ".join(column.ljust(width) for column, width in zip(columns, widths, strict=True)))
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))


def markdown_table(rows: Sequence[Mapping[str, Any]], number: str = ".3g") -> str:
    """Rows with the same keys in Markdown; numbers in this format, what is not known is a dash."""
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    for row in rows:
        cells = [_cell(value, number) for value in row.values()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def replace_section(page: Path, name: str, body: str) -> None:
    """Put text between the markers of that name of a page of docs/."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, rest = page.read_text(encoding="utf-8").split(begin)
    after = rest.split(end)[1]
    page.write_text(f"{before}{begin}\n{body}\n{end}{after}", encoding="utf-8")


def write_json(path: Path, result: Mapping[str, Any]) -> None:
    """Write a benchmark's result with the machine that it ran on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine_description(), **result}, indent=2) + "\n")


def parser(description: str) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    result = argparse.ArgumentParser(description=description)
    result.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    result.add_argument("--quick", action="store_true", help="fewer repeats, for a first look")
    return result


def _cell(value: object, number: str = ".3g") -> str:
    if not isinstance(value, float):
        return str(value)
    return format(value, number) if math.isfinite(value) else "-"
