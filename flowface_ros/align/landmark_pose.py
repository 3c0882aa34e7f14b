"""How a face is turned, from its landmarks alone: the view of the mean head that fits best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.embedding import SKIN_POINTS, landmark_points, open_mouth_positions
from flowface_ros.head.model import HeadModel

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LandmarkPose:
    """Scaled orthographic view of a head in a crop.

    rotation: (2, 3) rows are the crop's x and y axes in the head's frame, of unit length.
    scale: crop pixels per metre.
    misfit: rms distance of the points to the mean head in this view, metres, after its mouth has
        been opened as far as fits.
    """

    rotation: Array
    scale: float
    misfit: float

    @property
    def toward_camera(self) -> Array:
        """Unit vector (3,) in the head's frame; (0, 0, 1) for a face that looks at the camera."""
        return np.cross(self.rotation[1], self.rotation[0])

    @property
    def crop_from_upright(self) -> Array:
        """Rotation (2, 2) of the crop that turns image-up into the head's up."""
        sine, cosine = self.rotation[0, 1], -self.rotation[1, 1]
        length = max(float(np.hypot(sine, cosine)), 1e-9)
        sine, cosine = sine / length, cosine / length
        return np.array([[cosine, -sine], [sine, cosine]])

    @property
    def off_axis_deg(self) -> float:
        """Angle between the direction of the face and that of the camera."""
        return float(np.degrees(np.arccos(np.clip(self.toward_camera[2], -1, 1))))


class LandmarkPoseFitter:
    """Fits `LandmarkPose` to points; what depends on the head alone is computed once."""

    def __init__(self, model: HeadModel) -> None:
        points = landmark_points(model)[:SKIN_POINTS]
        head = points.interpolate(model.triangles, model.template.astype(np.float64))
        opening = open_mouth_positions(model, points) - head
        self._head, self._opening = head, opening
        self._solve = np.linalg.pinv(np.column_stack([np.ones(SKIN_POINTS), head, opening]))

    def fit(self, points_crop: Array) -> LandmarkPose:
        """points_crop: (468 or more, 2) crop pixels."""
        points = points_crop[:SKIN_POINTS]
        linear = self._solve @ points
        left, stretch, right = np.linalg.svd(linear[1:4].T, full_matrices=False)
        rotation, scale = left @ right, float(stretch.mean())
        offset = points - self._opening @ linear[4:] - scale * self._head @ rotation.T
        offset -= offset.mean(axis=0)
        misfit = np.sqrt((offset**2).sum(axis=1).mean()) / max(scale, 1e-9)
        return LandmarkPose(rotation, scale, float(misfit))
