"""Equidistant (Kannala-Brandt) fisheye distortion, as OpenCV's fisheye and ROS's `equidistant`.

With theta the angle to the optical axis, s = theta^2:

    theta_d = theta (1 + k1 s + k2 s^2 + k3 s^3 + k4 s^4),   (x_d, y_d) = theta_d (X, Y) / |X, Y|

Unlike OpenCV's, this holds beyond 90 degrees, as far as theta_d grows with theta.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flowface_ros.camera.monotone import InverseTable, first_positive_root

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_RESIDUAL = 1e-13
"""Newton's method stops at this error of theta_d (rad)."""
_ITERATIONS = 20
_ON_AXIS = 1e-12
"""Closer to the axis than this (relative to the distance), theta_d / r is its limit 1 / Z."""


class Equidistant:
    """A fisheye. Valid up to the angle where theta_d stops to grow, at most 180 degrees.

    max_radius: of that angle on the undistorted z = 1 plane; infinite at 90 degrees and beyond.
    """

    def __init__(self, coefficients: Array) -> None:
        self._k = tuple(float(value) for value in coefficients)
        k1, k2, k3, k4 = self._k
        root = first_positive_root([1, 3 * k1, 5 * k2, 7 * k3, 9 * k4])
        self._max_angle = min(float(np.sqrt(root)), np.pi)
        in_front = self._max_angle < np.pi / 2
        self.max_radius = float(np.tan(self._max_angle)) if in_front else np.inf
        angle = np.linspace(0.0, self._max_angle, InverseTable.SIZE)
        distorted = self._distort(angle)[0]
        self._start = InverseTable(angle, distorted)
        self._max_distorted = distorted[-1]

    def project(self, points: Array) -> tuple[Array, Array, Mask]:
        """Distorted (N, 2), d distorted / d point (N, 2, 3) and valid (N,) of points (N, 3)."""
        x, y, z = points.T
        radius = np.hypot(x, y)
        squared_distance = radius**2 + z**2
        angle = np.arctan2(radius, z)
        angle_d, slope = self._distort(angle)
        on_axis = radius <= _ON_AXIS * np.abs(z)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            safe_radius = np.where(on_axis, 1.0, radius)
            cosine = np.where(on_axis, 1.0, x / safe_radius)
            sine = np.where(on_axis, 0.0, y / safe_radius)
            tangential = np.where(on_axis, 1 / z, angle_d / safe_radius)
            radial = slope * z / squared_distance
            along = -slope * radius / squared_distance
            jacobian = np.empty((len(points), 2, 3))
            jacobian[:, 0, 0] = radial * cosine**2 + tangential * sine**2
            jacobian[:, 1, 1] = radial * sine**2 + tangential * cosine**2
            jacobian[:, 0, 1] = jacobian[:, 1, 0] = (radial - tangential) * cosine * sine
            jacobian[:, 0, 2], jacobian[:, 1, 2] = along * cosine, along * sine
            distorted = np.stack([tangential * x, tangential * y], axis=-1)
        valid = (squared_distance > 0) & (angle < self._max_angle)
        return distorted, jacobian, valid & np.isfinite(distorted).all(axis=-1)

    def unproject(self, distorted: Array) -> tuple[Array, Mask]:
        """Unit rays (N, 3) through distorted points (N, 2), and valid (N,)."""
        target = np.hypot(distorted[:, 0], distorted[:, 1])
        target = np.where(target < self._max_distorted, target, np.nan)
        angle = self._start(target)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            for _ in range(_ITERATIONS):
                value, slope = self._distort(angle)
                error = value - target
                if not (np.abs(error) > _RESIDUAL).any():
                    break
                angle = np.clip(angle - error / slope, 0.0, self._max_angle)
            valid = (np.abs(error) <= 10 * _RESIDUAL) & (angle < self._max_angle)
            scale = np.where(target > 0, np.sin(angle) / target, 1.0)
        rays = np.concatenate([distorted * scale[:, None], np.cos(angle)[:, None]], axis=1)
        return rays, valid

    def _distort(self, angle: Array) -> tuple[Array, Array]:
        """theta_d and d theta_d / d theta."""
        k1, k2, k3, k4 = self._k
        s = angle * angle
        distorted = angle * (1 + s * (k1 + s * (k2 + s * (k3 + s * k4))))
        return distorted, 1 + s * (3 * k1 + s * (5 * k2 + s * (7 * k3 + s * 9 * k4)))
