"""What one view's observation says about a face's proportions, without its pose.

Points are seen as from a camera that looks at the middle of the face, and compared with the mean
head in the scaled orthographic view that fits them best, upright in the picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.embedding import SKIN_POINTS, landmark_points, parted_positions
from flowface_ros.align.observation import Observation
from flowface_ros.align.tps import thin_plate_matrix
from flowface_ros.camera.camera import Camera
from flowface_ros.head.atlas import skin_triangles
from flowface_ros.head.model import HeadModel
from flowface_ros.head.surface import SurfacePoints

Array = NDArray[np.float64]

_EVERY = 3
"""Every so many of the 468 landmarks: their errors are alike, and so are those between."""
_SMOOTHING_M = 0.002
_FEWEST_POINTS = 100
_LEAST_SCALE = 1e-3
"""Of a view, over that from a metre away: points that have collapsed to one place are no face."""
_LEAST_TURNED_TO_US = 0.1
"""Least cosine between the face's direction and the camera's: from behind, nothing is known."""

RESIDUALS = 2 * len(range(0, SKIN_POINTS, _EVERY))
"""First entries of the features: metres, x and y of each point."""
TOWARD = slice(RESIDUALS, RESIDUALS + 2)
"""x and y of the unit vector to the camera in the head's frame."""
FEATURES = RESIDUALS + 4
"""Then: log of the face's size (rad per metre), and how much more the view is stretched along one
axis than along the other, 0 for the mean head."""


class ShapeFeatures:
    """Features of observations; what depends on their points alone is computed once."""

    def __init__(self, model: HeadModel) -> None:
        self._model = model
        self._target = landmark_points(model)[:SKIN_POINTS][np.arange(0, SKIN_POINTS, _EVERY)]
        head = self._target.interpolate(model.triangles, model.template.astype(np.float64))
        self._head = head - head.mean(axis=0)
        self._inverse = np.linalg.pinv(self._head)
        self._on_skin = np.zeros(model.triangle_count, bool)
        self._on_skin[skin_triangles(model)] = True
        self._kept: tuple[bytes, NDArray[np.bool_], Array] | None = None

    def of(self, observation: Observation, camera: Camera) -> NDArray[np.float32] | None:
        """(FEATURES,) of one view, or None when it does not show enough of a face."""
        rows, matrix = self._resampling(observation.points)
        if matrix.size == 0:
            return None
        rays, valid = camera.undistort(observation.pixels[rows])
        if not valid.all():
            return None
        seen = matrix @ _centred_view(rays)
        seen -= seen.mean(axis=0)
        left, stretch, right = np.linalg.svd((self._inverse @ seen).T, full_matrices=False)
        scale, rotation = float(stretch.mean()), left @ right
        toward = np.cross(rotation[1], rotation[0])
        if not scale > _LEAST_SCALE or toward[2] < _LEAST_TURNED_TO_US:
            return None
        residual = seen / scale - self._head @ rotation.T
        up = rotation[:, 1] / max(float(np.linalg.norm(rotation[:, 1])), 1e-9)
        upright = residual @ np.array([[-up[1], -up[0]], [up[0], -up[1]]])
        view = [*toward[:2], np.log(scale), (stretch[0] - stretch[1]) / scale]
        return np.concatenate([upright.ravel(), view]).astype(np.float32)

    def _resampling(self, points: SurfacePoints) -> tuple[NDArray[np.bool_], Array]:
        """Which of the points are used, and the matrix from them to the target's; that of the last
        points is kept."""
        key = points.triangle.tobytes() + np.asarray(points.barycentric).tobytes()
        if self._kept is None or self._kept[0] != key:
            model = self._model
            rows = self._on_skin[points.triangle]
            matrix = np.zeros((0, 0))
            if rows.sum() >= _FEWEST_POINTS:
                source, target = points[rows], self._target
                matrix = thin_plate_matrix(
                    source.interpolate(model.triangles, model.template),
                    target.interpolate(model.triangles, model.template),
                    _SMOOTHING_M,
                    (parted_positions(model, source), parted_positions(model, target)),
                )
            self._kept = key, rows, matrix
        return self._kept[1], self._kept[2]


def _centred_view(plane: Array) -> Array:
    """Places (N, 2) on the z = 1 plane, as a camera sees them that looks at their middle."""
    rays = np.column_stack([plane, np.ones(len(plane))])
    middle = rays.mean(axis=0)
    x, y, z = middle / np.linalg.norm(middle)
    across = np.array([[0, 0, -x], [0, 0, -y], [x, y, 0]])
    turn = np.eye(3) + across + across @ across / (1 + z)
    turned = rays @ turn.T
    return np.asarray(turned[:, :2] / turned[:, 2:], np.float64)
