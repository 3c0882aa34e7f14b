"""Experiment 1: error, honesty and time of the aligners, of `landmarks` by grid.

The networks with correlations have no trained weights, so that encoders cannot be compared.
"""

from __future__ import annotations

import harness

harness.pin_threads(1)

import time  # noqa: E402
from collections.abc import Callable, Mapping, Sequence  # noqa: E402
from functools import partial  # noqa: E402
from typing import Any  # noqa: E402

import experiment  # noqa: E402
import numpy as np  # noqa: E402
from experiment_conditions import Shot, judge, take  # noqa: E402
from tqdm import tqdm  # noqa: E402

from flowface_ros.align.aligner import DEFAULT_GRID, Picture, make_aligner  # noqa: E402
from flowface_ros.align.landmark_net import FaceFinder, crop_from_landmarks  # noqa: E402
from flowface_ros.head.model_file import load_builtin_head  # noqa: E402

GRIDS = (32, 48, 64)


def cpu_ms(function: Callable[[], object], repeats: int) -> float:
    """Median processor time of a call: other programs do not count."""
    function()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(1e3 * (time.process_time() - start))
    return float(np.median(times))


def aligner_row(
    name: str, grid: int, shots: Sequence[Shot], finder: FaceFinder, repeats: int
) -> dict[str, Any]:
    """Error in percent of the inter-ocular distance, rms of error over sigma, and time without the
    detector."""
    aligner = make_aligner(name, load_builtin_head(), device="cpu", grid=grid)
    found = [judge(aligner, finder, shot, shot.image) for shot in shots]
    (face,) = finder.detect_faces(shots[0].image, 1)
    picture, crops = Picture(shots[0].image), [[crop_from_landmarks(face.points)]]
    return {
        "aligner": name,
        "grid": grid,
        "points": len(aligner.points),
        "2d_percent": float(np.mean([row["2d_percent"] for row in found])),
        "normalised_rms": float(np.mean([row["normalised_rms"] for row in found])),
        "cpu_ms": cpu_ms(partial(aligner.align, [picture], crops), repeats),
    }


def run(quick: bool) -> dict[str, list[dict[str, Any]]]:
    """Both aligners."""
    count, repeats = (3, 5) if quick else (20, 20)
    shots = [take(300 + i, 0.4 + 0.15 * i) for i in tqdm(range(count), desc="rendering")]
    finder = FaceFinder("cpu")
    kinds = [*(("landmarks", grid) for grid in GRIDS), ("network", DEFAULT_GRID)]
    rows = [aligner_row(name, grid, shots, finder, repeats) for name, grid in kinds]
    return {f"{count} people": rows}


def charts(tables: Mapping[str, Sequence[dict[str, Any]]]) -> list[str]:
    """Error by time."""
    (rows,) = tables.values()
    lines = experiment.lines_of(rows, "aligner", "cpu_ms", "2d_percent")
    return [experiment.save_chart("experiment_aligner", lines, "cpu time, ms", "2D error, %")]


if __name__ == "__main__":
    experiment.main(__doc__.splitlines()[0], "aligner", run, charts)
