"""MediaPipe's points as a mesh in space, and beside the truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flowface_ros.camera.camera import Camera
from flowface_ros.rigid import apply

Array = NDArray[np.float64]

OUTER_CORNERS = (33, 263)
"""Rows of the eyes' outer corners."""
_INTER_OCULAR_M = 0.09
"""Their usual distance. The depth that it gives the mesh does not enter figures of the image."""
_SAME_FACE = 0.5
"""Points of one face lie nearer than this to the truth's, in inter-ocular distances, on average."""


def lifted(points: NDArray[np.floating], camera: Camera) -> Array:
    """Points (N, 3) of the rig frame that project to x, y and lie as deep as z says, for pixels
    with depth (N, 3)."""
    corners = points[list(OUTER_CORNERS)]
    focal = float(camera.intrinsics[0, 0])
    metres_per_px = _INTER_OCULAR_M / float(np.linalg.norm(corners[1] - corners[0]))
    depth = metres_per_px * (focal + points[:, 2])
    normalised, _ = camera.undistort(points[:, :2])
    local = np.column_stack([normalised, np.ones(len(points))]) * depth[:, None]
    return apply(camera.rig_from_camera, local)


def nearest_face(
    faces: Sequence[Array], places: NDArray[np.floating], inter_ocular_px: float
) -> int | None:
    """Row of the face (N or more, 2 or more each) whose first N points lie on `places` (N, 2);
    None when none does."""
    count = len(places)
    distances = [
        float(np.nanmean(np.linalg.norm(face[:count, :2] - places, axis=1))) for face in faces
    ]
    if not distances or not min(distances) < _SAME_FACE * inter_ocular_px:
        return None
    return int(np.argmin(distances))
