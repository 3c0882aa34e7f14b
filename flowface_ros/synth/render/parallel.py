"""Parallel projections: what a light far off sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flowface_ros.synth.render.raster import fill_triangles

_Array = NDArray[np.float64]

_FAR_M = 100.0
"""Parallel projections are drawn from this far, where depth is linear enough in the image."""


def depth_map(
    vertices: _Array, triangles: NDArray[np.int32], direction: _Array, size: int, center: _Array,
    radius_m: float,
) -> tuple[NDArray[np.float32], _Array]:  # fmt: skip
    """What a light far off in `direction` sees of a ball.

    Returns inverse depth (size, size), 0 where it sees nothing, and the rows (3, 4) that map a
    point to texel x, texel y and depth.
    """
    rows = parallel_view(direction, size, center, radius_m)
    seen = (vertices @ rows[:, :3].T + rows[:, 3]).astype(np.float32)
    inverse = np.zeros((size, size), np.float32)
    fill_triangles(seen, triangles, False, np.full((size, size), -1, np.int32), inverse)
    return inverse, rows


def parallel_view(direction: _Array, size: int, center: _Array, radius_m: float) -> _Array:
    """Rows (3, 4) of a parallel projection along -direction that fits a ball into a map."""
    forward = -np.asarray(direction, float) / np.linalg.norm(direction)
    helper = np.array([0.0, 1.0, 0.0]) if abs(forward[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
    right = np.cross(forward, helper)
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    scale = (size - 6) / (2 * radius_m)
    linear = np.stack([right * scale, down * scale, forward])
    shift = np.array([size / 2, size / 2, _FAR_M]) - linear @ center
    return np.column_stack([linear, shift])
