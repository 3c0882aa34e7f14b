"""The head seen from its middle: how far out its surface is in every direction.

Hair and hats keep clear of the head by this map instead of intersecting the mesh.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flowface_ros.synth.textures import look_up

_ROWS, _COLUMNS = 48, 96
_CELLS_PER_VERTEX = 1
"""A vertex raises this many cells around its own, which closes gaps between vertices."""


@dataclass(frozen=True)
class Skull:
    """center: (3,) metres in the head's frame. radius: (rows, columns) metres, rows from straight
    up to straight down, columns from the face (+z) over the left side (+x) around."""

    center: NDArray[np.float64]
    radius: NDArray[np.float32]

    def radius_along(self, directions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distance (...) from the center to the surface along unit vectors (..., 3)."""
        flat = directions.reshape(-1, 3)
        row = np.arccos(np.clip(flat[:, 1], -1, 1)) / np.pi * _ROWS - 0.5
        column = np.mod(np.arctan2(flat[:, 0], flat[:, 2]) / (2 * np.pi), 1) * _COLUMNS - 0.5
        padded = np.concatenate([self.radius[:, -1:], self.radius, self.radius[:, :1]], axis=1)
        values = look_up(padded, column + 1, row)
        return values.reshape(directions.shape[:-1]).astype(np.float64)

    def pushed_out(
        self, points: NDArray[np.float64], clearance: NDArray[np.float64] | float
    ) -> NDArray[np.float64]:
        """Points (..., 3), those nearer to the surface than clearance (...) moved out to it."""
        offset = points - self.center
        distance = np.linalg.norm(offset, axis=-1, keepdims=True) + 1e-9
        unit = offset / distance
        least = self.radius_along(unit) + clearance
        return self.center + unit * np.maximum(distance, least[..., None])


def skull_of(vertices: NDArray[np.floating], center: NDArray[np.float64]) -> Skull:
    """The map of skin vertices (n, 3) around a center inside the head."""
    offset = np.asarray(vertices, np.float64) - center
    distance = np.linalg.norm(offset, axis=1)
    unit = offset / distance[:, None]
    row = (np.arccos(np.clip(unit[:, 1], -1, 1)) / np.pi * _ROWS).astype(int).clip(0, _ROWS - 1)
    column = (np.mod(np.arctan2(unit[:, 0], unit[:, 2]) / (2 * np.pi), 1) * _COLUMNS).astype(int)
    radius = np.zeros((_ROWS, _COLUMNS), np.float32)
    np.maximum.at(radius, (row, column % _COLUMNS), distance.astype(np.float32))
    wide = np.concatenate([radius, radius, radius], axis=1)
    kernel = np.ones((1 + 2 * _CELLS_PER_VERTEX,) * 2, np.uint8)
    while (wide == 0).any():
        wide = np.where(wide > 0, wide, cv2.dilate(wide, kernel))
    wide = cv2.GaussianBlur(cv2.dilate(wide, kernel), (0, 0), 1.0)
    return Skull(
        np.asarray(center, np.float64), np.ascontiguousarray(wide[:, _COLUMNS : 2 * _COLUMNS])
    )
