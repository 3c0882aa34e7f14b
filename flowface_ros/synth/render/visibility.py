"""Which projected points of a head its own mesh does not hide."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from flowface_ros.synth.render.raster import rasterize

_TOLERANCE_M = 0.004
"""A point this far behind the nearest surface still counts as on it: a pixel's slope at 1 m."""


def visible_points(
    points: NDArray[np.floating],
    mesh: NDArray[np.floating],
    triangles: NDArray[np.integer],
    width: int,
    height: int,
) -> NDArray[np.bool_]:
    """Which projected points (N, 3) are in the image and not behind a projected mesh (V, 3).

    Both are x px, y px, depth m.
    """
    depth = rasterize(mesh, triangles, width, height).depth
    # The farthest of a pixel's neighbourhood: a point at the silhouette is not hidden by the next
    # pixel's surface.
    farthest = cv2.dilate(depth, np.ones((3, 3), np.uint8))
    x, y, z = points.T
    inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1) & (z > 0)
    column = np.where(inside, x, 0).round().astype(int)
    row = np.where(inside, y, 0).round().astype(int)
    return inside & (z <= farthest[row, column] + _TOLERANCE_M)
