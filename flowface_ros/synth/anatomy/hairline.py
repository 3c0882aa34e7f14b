"""Where hair grows on the skull."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from flowface_ros.synth.anatomy.skin_map import FacePoints
from flowface_ros.synth.textures import look_up, smoothstep

_OUTLINE_MM = np.array(
    [
        (73, 86), (60, 66), (52, 62), (45, 58), (39, 42), (22, 24), (14, 0), (11, -15), (2, -15),
        (1, 33), (-10, 44), (-27, 45), (-43, 34), (-47, 8), (-43, -18), (-40, -38), (-52, -58),
        (-83, -66), (-100, -69), (-165, -69), (-165, 190), (110, 190),
    ],
    float,
)  # fmt: skip
"""Outline of the hair in profile: mm forward of and above the ear's attachment (the end of the jaw
line) on a head whose brow is 137 mm above its chin."""

_OUTLINE_BROW_TO_CHIN_M = 0.137
_CELL_M = 0.0005
_FRONT_M = 0.03
"""The forehead's height moves the hairline fully where z is beyond this."""


class Hairline:
    """Signed distance to the edge of the hair, for points of the neutral template."""

    def __init__(self, points: FacePoints) -> None:
        scale = (points.brow[:, 1].mean() - points.chin[1]) / _OUTLINE_BROW_TO_CHIN_M
        outline = _OUTLINE_MM * 0.001 * scale + points.jaw[-1][[2, 1]]
        self._origin = outline.min(axis=0) - 0.01
        size = np.ceil((np.ptp(outline, axis=0) + 0.02) / _CELL_M).astype(int)
        picture = np.zeros((size[1], size[0]), np.uint8)
        corners = np.rint((outline - self._origin) / _CELL_M).astype(np.int32)
        cv2.fillPoly(picture, [corners], 1)
        inside = cv2.distanceTransform(picture, cv2.DIST_L2, 5)
        outside = cv2.distanceTransform(1 - picture, cv2.DIST_L2, 5)
        self._distance = ((inside - outside) * _CELL_M).astype(np.float32)
        self.top_m = float(points.brow[:, 1].mean() + 0.097 * scale)
        """Height (y) of the top of the skull."""

    def distance(
        self, positions: NDArray[np.floating], raised_m: float = 0.0
    ) -> NDArray[np.float32]:
        """Metres (...) inside the hair's edge of template points (..., 3); negative outside.

        raised_m: how much higher than usual the forehead is.
        """
        flat = np.asarray(positions, np.float64).reshape(-1, 3)
        front = np.clip(flat[:, 2] / _FRONT_M, 0, 1)
        place = np.stack([flat[:, 2], flat[:, 1] - raised_m * front], axis=1)
        cell = (place - self._origin) / _CELL_M
        values = look_up(self._distance, cell[:, 0], cell[:, 1])
        return values.reshape(np.shape(positions)[:-1])

    def density(
        self, positions: NDArray[np.floating], raised_m: float, recession: float
    ) -> NDArray[np.float32]:
        """How densely hair grows, (...) in [0, 1]; recession (0 to 1) bares the top and front."""
        density = smoothstep(self.distance(positions, raised_m), -0.001, 0.007)
        if recession <= 0:
            return density
        y, z = positions[..., 1], positions[..., 2]
        depth = self.top_m - y - 0.25 * np.clip(z, -0.1, 0.05)
        bare = smoothstep(depth, 0.02 + 0.075 * recession, 0.005 + 0.055 * recession)
        return density * (1 - bare)
