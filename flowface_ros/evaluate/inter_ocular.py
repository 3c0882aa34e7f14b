"""The inter-ocular distance: between the outer corners of the eyes (36 and 45 of the 68 points)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flowface_ros.camera.camera import Camera
from flowface_ros.evaluate.moving_mesh import frontal_length_px
from flowface_ros.head.model import HeadModel

_OUTER_CORNERS = np.array([36, 45])


def inter_ocular_px(model: HeadModel, vertices: NDArray[np.floating], camera: Camera) -> float:
    """Pixels that the distance in space covers where the eyes are, seen from the front, so that it
    does not shrink when the head turns. NaN for a head without the 68 points."""
    landmarks = model.landmarks.get("ibug68")
    if landmarks is None:
        return float("nan")
    corners = landmarks[_OUTER_CORNERS].interpolate(model.triangles, vertices)
    length_m = float(np.linalg.norm(corners[1] - corners[0]))
    return frontal_length_px(camera, corners.mean(axis=0), length_m)
