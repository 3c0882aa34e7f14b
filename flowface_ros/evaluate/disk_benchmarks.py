"""Figures of predicted meshes on disk, over a whole data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from flowface_ros.evaluate.multiface import read_predicted_meshes, read_segment
from flowface_ros.evaluate.scan_benchmarks import (
    mesh_pairs,
    now_distances_mm,
    now_items,
    surface_score,
)
from flowface_ros.evaluate.ssme import ssme
from flowface_ros.evaluate.statistics import figures
from flowface_ros.head.mesh_files import read_surface_file

Progress = Callable[[list], Iterable]

FACESCAPE_REACH_MM = 10.0
"""How far FaceScape's measures look: points further from the other surface are not of it."""


def now_figures(
    dataset: Path,
    predictions: Path,
    metrical: bool = False,
    progress: Progress = lambda items: items,
) -> dict[str, Any]:
    """Scan-to-mesh distance (mm) overall and by challenge, over all points of all pictures.

    metrical: predictions are in metres, and are not scaled.
    """
    items = now_items(dataset, predictions)
    distances: dict[str, list[np.ndarray]] = {}
    missing = 0
    for item in progress(items):
        if item.mesh is None or item.mesh_landmarks is None:
            missing += 1
            continue
        distances.setdefault(item.challenge, []).append(now_distances_mm(item, metrical))
    if not distances:
        raise ValueError(f"{predictions}: has no prediction for any picture of {dataset}")
    everything = [d for group in distances.values() for d in group]
    return {
        "benchmark": "now",
        "metrical": metrical,
        "pictures": len(everything),
        "missing": missing,
        "scan_to_mesh_mm": figures(np.concatenate(everything)),
        "challenges": {
            name: figures(np.concatenate(group)) for name, group in sorted(distances.items())
        },
    }


def facescape_figures(
    truth: Path, predictions: Path, progress: Progress = lambda items: items
) -> dict[str, Any]:
    """Chamfer distance (mm), normal error (rad) and completeness of meshes in the truth's frame
    and unit (FaceScape's are millimetres): means over the meshes, and each of them."""
    rows = {}
    for name, true_path, path in progress(mesh_pairs(truth, predictions)):
        score = surface_score(
            read_surface_file(true_path), read_surface_file(path), FACESCAPE_REACH_MM
        )
        rows[name] = {
            "chamfer_mm": score.chamfer,
            "normal_error_rad": score.normal_error,
            "completeness": score.completeness,
        }
    means = {
        key: float(np.nanmean([row[key] for row in rows.values()]))
        for key in ("chamfer_mm", "normal_error_rad", "completeness")
    }
    return {"benchmark": "facescape", "reach_mm": FACESCAPE_REACH_MM, **means, "meshes": rows}


def multiface_figures(
    entity: Path,
    segment: str,
    predictions: Path,
    views: tuple[str, ...] = (),
    progress: Progress = lambda items: items,
) -> dict[str, Any]:
    """SSME of a segment in every view and over all, from predicted FRAME.obj or FRAME.ply files in
    metres in the data set's world."""
    truth = read_segment(entity, segment, views)
    prediction = read_predicted_meshes(predictions, truth.frames)
    total = None
    cameras = {}
    for camera in progress(list(truth.cameras)):
        sums = ssme(truth.mesh, prediction, [camera] * len(truth.frames))
        cameras[camera.name] = {"score_px": sums.score_px(), "coverage": sums.coverage()}
        total = sums if total is None else total + sums
    assert total is not None
    return {
        "benchmark": "multiface",
        "segment": segment,
        "frames": len(truth.frames),
        "score_px": total.score_px(),
        "coverage": total.coverage(),
        "by_horizon_px": total.by_horizon_px().tolist(),
        "cameras": cameras,
    }
