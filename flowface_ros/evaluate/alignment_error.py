"""Errors of observed surface points in images, and whether their sigma is honest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowface_ros.camera.camera import Camera
from flowface_ros.evaluate.inter_ocular import inter_ocular_px
from flowface_ros.evaluate.matching import truth_at
from flowface_ros.evaluate.moving_mesh import project_vertices
from flowface_ros.evaluate.regions import triangle_regions
from flowface_ros.evaluate.statistics import figures
from flowface_ros.evaluate.tracking import Alignment, Face, Recording
from flowface_ros.head.atlas import texel_grid
from flowface_ros.head.model import HeadModel
from flowface_ros.head.surface import SurfacePoints
from flowface_ros.synth.render.visibility import visible_points

Array = NDArray[np.float64]

_RELIABILITY_BINS = 10


@dataclass(frozen=True, eq=False)
class PointErrors:
    """Errors of N observed points. residual_px: (N, 2). sigma_px, inter_ocular_px: (N,).

    visible: (N,) whether the true head does not hide the point itself. triangle: (N,) of the head.
    """

    residual_px: Array
    sigma_px: Array
    visible: NDArray[np.bool_]
    inter_ocular_px: Array
    triangle: NDArray[np.int32]


def alignment_figures(recording: Recording) -> dict[str, Any] | None:
    """Figures over all alignments of the recording; None when there is nothing to compare.

    visible_percent, hidden_percent: distance in percent of the inter-ocular distance;
    regions_percent: the mean of the visible ones by region.
    sigma: root mean square of residual over sigma, per axis (1 for honest ones), and a reliability
    curve: by bins of equal size, the sigma that was said and the root mean square that was found.
    """
    model = recording.model
    if model is None:
        return None
    errors = []
    for alignment in recording.alignments:
        if alignment.atlas_hash == model.atlas_hash and alignment.camera in recording.cameras:
            camera = recording.cameras[alignment.camera](alignment.stamp_ns)
            found = alignment_errors(
                alignment, model, truth_at(recording.truth, alignment.stamp_ns), camera
            )
            errors += [] if found is None else [found]
    return _figures(errors, triangle_regions(model)) if errors else None


def alignment_errors(
    alignment: Alignment, model: HeadModel, truths: Sequence[Face], camera: Camera
) -> PointErrors | None:
    """Errors against the true face that lies nearest in the image; None when there is none.

    Raises ValueError when the alignment has fewer entries than its grid has texels.
    """
    points = texel_points(model, alignment.grid)
    count = len(points)
    if count > len(alignment.pixels):
        raise ValueError(
            f"alignment of {alignment.camera} at {alignment.stamp_ns} ns has "
            f"{len(alignment.pixels)} points; a grid of {alignment.grid} has {count}"
        )
    # What follows the texels, such as an aligner's iris points, is not part of the grid.
    observed, sigma = alignment.pixels[:count], np.asarray(alignment.sigma[:count], np.float64)
    candidates = []
    for vertices in (face.vertices for face in truths if face.vertices is not None):
        texels = project_vertices(camera, points.interpolate(model.triangles, vertices))
        residual = observed - texels[:, :2]
        distance = np.linalg.norm(residual, axis=1)
        if np.isfinite(distance).any():  # else the face is behind the camera
            candidates.append((float(np.nanmedian(distance)), vertices, texels, residual))
    if not candidates:
        return None
    _, vertices, texels, residual = min(candidates, key=lambda c: c[0])
    mesh = project_vertices(camera, vertices)
    visible = visible_points(texels, mesh, model.triangles, camera.width, camera.height)
    known = np.isfinite(residual).all(axis=1) & np.isfinite(sigma) & (sigma > 0)
    known &= camera.contains(texels[:, :2])
    size = inter_ocular_px(model, vertices, camera)
    return PointErrors(
        residual[known],
        sigma[known],
        visible[known],
        np.full(int(known.sum()), size),
        points.triangle[known],
    )


_texels: dict[tuple[int, int], SurfacePoints] = {}


def texel_points(model: HeadModel, grid: int) -> SurfacePoints:
    """The surface points of a grid's valid texels, computed once."""
    key = (model.model_hash, grid)
    if key not in _texels:
        _texels[key] = texel_grid(model, grid).points
    return _texels[key]


def _figures(
    errors: Sequence[PointErrors], regions: dict[str, NDArray[np.bool_]]
) -> dict[str, Any]:
    residual, sigma, visible, size, triangle = (
        np.concatenate([getattr(e, name) for e in errors])
        for name in ("residual_px", "sigma_px", "visible", "inter_ocular_px", "triangle")
    )
    percent = 100 * np.linalg.norm(residual, axis=1) / size
    square = 0.5 * (residual**2).sum(axis=1)
    return {
        "images": len(errors),
        "visible_percent": figures(percent[visible]),
        "hidden_percent": figures(percent[~visible]),
        "regions_percent": {
            name: float(percent[visible & mask[triangle]].mean())
            for name, mask in regions.items()
            if (visible & mask[triangle]).any()
        },
        "sigma": {
            "visible_normalised_rms": _rms_ratio(square[visible], sigma[visible]),
            "hidden_normalised_rms": _rms_ratio(square[~visible], sigma[~visible]),
            "reliability": _reliability(np.sqrt(square), sigma),
        },
    }


def _rms_ratio(square: Array, sigma: Array) -> float:
    return float(np.sqrt((square / sigma**2).mean())) if len(sigma) else float("nan")


def _reliability(error: Array, sigma: Array) -> list[dict[str, float]]:
    order = np.argsort(sigma, kind="stable")
    return [
        {
            "sigma_px": float(np.sqrt((sigma[rows] ** 2).mean())),
            "rms_px": float(np.sqrt((error[rows] ** 2).mean())),
        }
        for rows in np.array_split(order, _RELIABILITY_BINS)
        if len(rows)
    ]
