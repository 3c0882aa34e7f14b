"""Figures of dense positions and their sigma against the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sigma_samples import Samples

from flowface_ros.align.embedding import landmark_points
from flowface_ros.align.landmark_errors import (
    FACE_HEIGHT_M,
    IRIS_COUNT,
    TABLE_GRID,
    ErrorTables,
    LandmarkErrors,
    normals_of,
)
from flowface_ros.align.landmark_net import LEFT_EYE_OUTER, RIGHT_EYE_OUTER
from flowface_ros.head.atlas import TexelGrid, texel_grid
from flowface_ros.head.model import HeadModel

Array = NDArray[np.float64]

REGIONS = ("face", "nose", "lips", "eyelids", "ears", "neck", "scalp")
"""Of the texels; where groups overlap the later one holds."""
_SEEN, _HIDDEN = 0.2, 0.0
"""Cosine towards the camera above which a place counts as seen, below which as hidden."""


def region_of(model: HeadModel, grid: TexelGrid) -> NDArray[np.int64]:
    """Row in `REGIONS` of each texel."""
    region = np.zeros(len(grid.points), np.int64)
    for row, name in enumerate(REGIONS):
        inside = np.zeros(model.vertex_count)
        inside[model.vertex_groups[name]] = 1
        region[grid.points.interpolate(model.triangles, inside) > 0.5] = row
    return region


def figures(
    model: HeadModel, samples: Samples, error: Array, tables: ErrorTables, chosen: NDArray[np.bool_]
) -> dict[str, Any]:
    """Errors in % of the distance between the outer eye corners, and rms of normalised residuals.

    error: (F, R, 2) metres. Faces are those with a presence of at least 0.5.
    """
    grid = texel_grid(model, TABLE_GRID)
    corners = landmark_points(model)[np.array([RIGHT_EYE_OUTER, LEFT_EYE_OUTER])]
    ends = corners.interpolate(model.triangles, model.template)
    iod = float(np.linalg.norm(ends[1] - ends[0]))
    index = np.flatnonzero(chosen)
    ratio = _normalised(model, grid, samples, error, tables, index)
    percent = 100 * np.linalg.norm(error[index], axis=2) / iod
    normals = normals_of(model, grid.points)
    facing = np.array([normals @ samples.poses[i].toward_camera for i in index])
    face = samples.presence[index] >= 0.5
    turn = samples.turn_deg[index]
    region = region_of(model, grid)
    groups = {
        "0 to 30 deg": face & (turn < 30),
        "30 to 60 deg": face & (turn >= 30) & (turn < 60),
        "60 to 90 deg": face & (turn >= 60),
        "presence >= 0.5": face,
        "presence < 0.5": ~face,
        "all": np.ones(len(index), bool),
    }
    return {
        name: _of_group(percent[rows], ratio[rows], facing[rows], region)
        for name, rows in groups.items()
        if rows.any()
    }


def _of_group(
    percent: Array, ratio: Array, facing: Array, region: NDArray[np.int64]
) -> dict[str, Any]:
    """Figures of P pictures.

    percent: (P, R) errors. ratio: (P, R) mean squares of error / sigma. facing: (P, T) cosines of
    the T texels. region: (T,) rows in `REGIONS`.
    """
    skin, skin_ratio = percent[:, :-IRIS_COUNT], ratio[:, :-IRIS_COUNT]
    return {
        "pictures": len(percent),
        "visible_iod_percent": _spread(skin[facing > _SEEN]),
        "hidden_iod_percent": _spread(skin[facing < _HIDDEN]),
        "iris_iod_percent": _spread(percent[:, -IRIS_COUNT:]),
        "region_iod_percent": {
            n: round(float(np.median(skin[:, region == k])), 2) for k, n in enumerate(REGIONS)
        },
        "sigma_rms": round(_rms(ratio), 3),
        "region_sigma_rms": {
            **{n: round(_rms(skin_ratio[:, region == k]), 3) for k, n in enumerate(REGIONS)},
            "irises": round(_rms(ratio[:, -IRIS_COUNT:]), 3),
        },
    }


def _normalised(
    model: HeadModel,
    grid: TexelGrid,
    samples: Samples,
    error: Array,
    tables: ErrorTables,
    index: NDArray[np.int64],
) -> Array:
    """Mean square over both axes of error / sigma, (F, R), with sigma as at run time."""
    errors = LandmarkErrors(model, grid, tables)
    result = []
    for i in index:
        pose = samples.poses[i]
        picture_scale = samples.size_px[i] / (FACE_HEIGHT_M * pose.scale)
        sigma = errors.sigma(pose, samples.landmarks[i], samples.presence[i], picture_scale)
        result.append(((error[i] * pose.scale / sigma[:, None]) ** 2).mean(axis=1))
    return np.array(result)


def _rms(mean_squares: Array) -> float:
    return float(np.sqrt(mean_squares.mean()))


def _spread(values: Array) -> dict[str, float]:
    if values.size == 0:
        return {}
    return {
        "median": round(float(np.median(values)), 2),
        "mean": round(float(values.mean()), 2),
        "p95": round(float(np.quantile(values, 0.95)), 2),
    }


def print_figures(result: dict[str, Any]) -> None:
    """A short table."""
    for name, row in result.items():
        seen, hidden = row["visible_iod_percent"], row["hidden_iod_percent"]
        print(
            f"{name:15s} {row['pictures']:4d} pictures, visible {seen.get('median')} % median "
            f"{seen.get('mean')} % mean, hidden {hidden.get('median')} % {hidden.get('mean')} %, "
            f"irises {row['iris_iod_percent']['median']} %, sigma rms {row['sigma_rms']}"
        )
        print("    error % ", row["region_iod_percent"])
        print("    sigma rms", row["region_sigma_rms"])
