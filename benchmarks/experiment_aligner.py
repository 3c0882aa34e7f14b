"""Experiment 1: the aligner's error and time by grid, and a network's time by its iterations.

There are no trained weights of the flow network, so that its error cannot be told: only its time,
with weights that have learned nothing, which take as long as others.
"""

from __future__ import annotations

import harness

harness.pin_threads(1)

import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Mapping, Sequence  # noqa: E402
from dataclasses import replace  # noqa: E402
from functools import partial  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import experiment  # noqa: E402
import numpy as np  # noqa: E402
from align import export_network  # noqa: E402
from experiment_conditions import Shot, judge, take  # noqa: E402
from tqdm import tqdm  # noqa: E402

from flowface_ros.align.aligner import Picture, make_aligner  # noqa: E402
from flowface_ros.align.crop import cut  # noqa: E402
from flowface_ros.align.landmark_net import FaceFinder, crop_from_landmarks  # noqa: E402
from flowface_ros.align.onnx_session import OnnxSession  # noqa: E402
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


def landmark_rows(shots: Sequence[Shot], repeats: int) -> list[dict[str, Any]]:
    """The `landmarks` aligner by grid: error, honesty of sigma, time without the detector."""
    model, finder = load_builtin_head(), FaceFinder("cpu")
    rows = []
    for grid in GRIDS:
        aligner = make_aligner("landmarks", model, device="cpu", grid=grid)
        found = [judge(aligner, finder, shot, shot.image) for shot in shots]
        faces = finder.detect_faces(shots[0].image, 1)
        crops = [[crop_from_landmarks(faces[0].points)]]
        picture = Picture(shots[0].image)
        rows.append(
            {
                "grid": grid,
                "points": len(aligner.points),
                "2d_percent": float(np.mean([row["2d_percent"] for row in found])),
                "normalised_rms": float(np.mean([row["normalised_rms"] for row in found])),
                "cpu_ms": cpu_ms(partial(aligner.align, [picture], crops), repeats),
            }
        )
    return rows


def network_rows(shot: Shot, quick: bool, repeats: int) -> list[dict[str, Any]]:
    """Time of the light preset by grid."""
    from flowface_ros.align.network.config import LIGHT

    (face,) = FaceFinder("cpu").detect_faces(shot.image, 1)
    crop = cut(shot.image, [crop_from_landmarks(face.points)])
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for grid in GRIDS[:1] if quick else GRIDS:
            path = export_network(replace(LIGHT, grid=grid), Path(folder) / f"{grid}.onnx")
            session = OnnxSession(path, "cpu", threads=1)
            took = cpu_ms(partial(session.run, image=crop), repeats)
            rows.append({"encoder": LIGHT.name, "grid": grid, "cpu_ms": took})
    return rows


def run(quick: bool) -> dict[str, list[dict[str, Any]]]:
    """Both aligners."""
    count, repeats = (3, 5) if quick else (20, 20)
    shots = [take(300 + i, 0.4 + 0.15 * i) for i in tqdm(range(count), desc="rendering")]
    return {
        f"`landmarks`, {count} people": landmark_rows(shots, repeats),
        "`network`, weights that have learned nothing": network_rows(shots[0], quick, repeats),
    }


def charts(tables: Mapping[str, Sequence[dict[str, Any]]]) -> list[str]:
    """Time by grid."""
    landmarks, network = tables.values()
    rows = [{**row, "name": "landmarks"} for row in landmarks]
    rows += [{**row, "name": "light network"} for row in network]
    lines = experiment.lines_of(rows, "name", "grid", "cpu_ms")
    return [experiment.save_chart("experiment_aligner", lines, "grid, texels", "cpu time, ms")]


if __name__ == "__main__":
    experiment.main(__doc__.splitlines()[0], "aligner", run, charts)
