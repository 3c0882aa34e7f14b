"""Benchmark of the fit: accuracy, covariance, extrinsics health, motion and time.

`--docs` writes tables and plots into docs/fit.md and docs/images.
"""

from __future__ import annotations

import harness

harness.pin_threads(1)

import os  # noqa: E402
from collections.abc import Callable, Iterable  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import fit_figures as figures  # noqa: E402
import fit_plots  # noqa: E402
import fit_sequences as sequences  # noqa: E402
from fit_scenes import make_subject  # noqa: E402
from tqdm import tqdm  # noqa: E402

from flowface_ros.head.model_file import load_builtin_head  # noqa: E402

POINTS, FEWER_POINTS = 1000, 500
"""Observed points; the fewer for the figures that take hundreds of fits."""


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    exact: int
    noisy: int
    corrupted: int
    nees: int
    health: int
    calibration: int
    frames: int
    people: int
    keyframes: int
    repeats: int


FULL = Size(100, 60, 40, 2000, 100, 10, 300, 10, 16, 60)
QUICK = Size(5, 6, 4, 40, 6, 1, 90, 2, 8, 10)


def run(size: Size, only: str) -> dict[str, Any]:
    """All figures, or those whose number is in `only`, by name."""
    model = load_builtin_head()
    full, fewer = make_subject(model, POINTS), make_subject(model, FEWER_POINTS)
    found: dict[str, Any] = {}
    parts: dict[str, Callable[[Callable], dict[str, Any]]] = {
        "1": lambda p: {"exact": figures.exact(full, size.exact, p)},
        "2": lambda p: {"noisy": figures.noisy(full, size.noisy, p)},
        "3": lambda p: {"corrupted": figures.corrupted(full, size.corrupted, p)},
        "4": lambda p: {"consistency": figures.consistency(fewer, size.nees, p)},
        "5": lambda p: {
            "health": sequences.health(fewer, size.health, p),
            "calibration": sequences.calibration(fewer, size.calibration, p),
        },
        "6": lambda p: {
            "sequence": [
                fit_plots.kept_track(views, *sequences.sequence(full, size.frames, views, p))
                for views in (1, 3)
            ],
            "identity": sequences.identity(fewer, size.people, size.keyframes, p),
        },
        "7": lambda p: {"step": figures.step_times(model, size.repeats)},
    }
    for number, part in parts.items():
        if only and number not in only:
            continue
        found |= part(_progress(f"figure {number}"))
    return found


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """The figures that are followed from version to version."""
    result: dict[str, Any] = {"load": os.getloadavg()[0]}
    if "step" in found:
        result["step_ms"] = {str(r["views"]): r["step_ms_75"] for r in found["step"]}
        result["step_cpu_ms"] = {str(r["views"]): r["cpu_ms_75"] for r in found["step"]}
    if "noisy" in found:
        for key in ("position_mm", "vertex_mm"):
            name = key.replace("_mm", "_error_mm")
            result[name] = {str(r["views"]): r[key] for r in found["noisy"]}
    if "consistency" in found:
        rows = [r for r in found["consistency"] if "taken" not in r["noise"]]
        result["nees_in_band"] = min(r["share_in_band"] for r in rows)
    if "health" in found:
        rigs = found["health"]["rigs"]
        result["health_found"] = found["health"]["named"] / rigs
        result["health_false_alarm"] = found["health"]["false_alarms"] / rigs
    return result


def main() -> None:
    parser = harness.parser(__doc__ or "")
    parser.add_argument("--only", default="", metavar="NUMBERS", help="figures to run, e.g. 247")
    parser.add_argument("--docs", action="store_true", help="write docs/fit.md and its plots")
    args = parser.parse_args()
    found = run(QUICK if args.quick else FULL, args.only)
    for name, rows in found.items():
        print(f"\n{name}")
        harness.print_table(rows if isinstance(rows, list) else [rows])
    print(f"\n{harness.machine_description()}")
    if args.json:
        harness.write_json(args.json, {**summary(found), "figures": found})
    if args.docs:
        fit_plots.write_docs(Path(__file__).parents[1] / "docs", found)


def _progress(label: str) -> Callable[[Any], Iterable]:
    return lambda items: tqdm(items, desc=label, leave=False)


if __name__ == "__main__":
    main()
