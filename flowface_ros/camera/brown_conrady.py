"""Brown-Conrady distortion with OpenCV's rational, thin prism and tilt terms.

Coefficients are in OpenCV's order: k1 k2 p1 p2 k3 k4 k5 k6 s1 s2 s3 s4 tau_x tau_y, zeros for those
that a model lacks. With x, y on the z = 1 plane and s = x^2 + y^2:

    f(s) = (1 + k1 s + k2 s^2 + k3 s^3) / (1 + k4 s + k5 s^2 + k6 s^3)
    x_d = x f + 2 p1 x y + p2 (s + 2 x^2) + s1 s + s2 s^2
    y_d = y f + p1 (s + 2 y^2) + 2 p2 x y + s3 s + s4 s^2

followed by the homography of a sensor tilted by tau_x, tau_y.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import NDArray

from flowface_ros.camera import kernels
from flowface_ros.camera.monotone import InverseTable, first_positive_root

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

COEFFICIENTS = 14

_LAST_ANGLE = np.deg2rad(89.9)
"""The table of start values ends here (rad) for a lens that never folds back."""
_INSIDE = 1 - 1e-9
"""And at this fraction of the radius where another one folds back, or has a pole."""
_DIRECTIONS = 32
"""Around the axis, in which the decentred mapping is searched for folds."""
_RESIDUAL = 1e-12
"""Newton's method stops at this distance (z = 1 plane), a hundredth of the promised 1e-10."""
_ITERATIONS = 40
"""A point that has not converged by now lies outside the lens's valid region; three are usual."""


class BrownConrady:
    """A pinhole with polynomial distortion.

    max_radius: on the undistorted z = 1 plane, where the image folds back; infinite if nowhere.
    """

    def __init__(self, coefficients: Array) -> None:
        self._k = tuple(float(value) for value in coefficients)
        self._distorts = any(self._k[:12])
        tau_x, tau_y = self._k[12:]
        self._tilt = _tilt_homography(tau_x, tau_y) if tau_x or tau_y else None
        self.max_radius = _fold_radius(self._k)
        last = min(np.arctan(_INSIDE * self.max_radius), _LAST_ANGLE)
        radius = np.tan(np.linspace(0.0, last, InverseTable.SIZE))
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            if any(self._k[2:4]) or any(self._k[8:12]):
                self.max_radius = min(self.max_radius, self._first_fold(radius))
            distorted = radius * kernels.radial(self._k, radius**2)[0]
        self._start = InverseTable(radius, distorted)

    def project(self, points: Array) -> tuple[Array, Array, Mask]:
        """Distorted (N, 2) on the z = 1 plane, d distorted / d point (N, 2, 3), valid (N,)."""
        count = len(points)
        distorted, jacobian = np.empty((count, 2)), np.empty((count, 2, 3))
        valid = np.empty(count, bool)
        limit = self.max_radius**2
        kernels.project(points, self._k, self._tilt, limit, distorted, jacobian, valid)
        return distorted, jacobian, valid

    def unproject(self, distorted: Array) -> tuple[Array, Mask]:
        """Unit rays (N, 3) through distorted points (N, 2) of the z = 1 plane, and valid (N,)."""
        target = distorted
        in_front: Mask = np.ones(len(distorted), bool)
        if self._tilt is not None:
            homogeneous = np.c_[distorted, np.ones(len(distorted))] @ np.linalg.inv(self._tilt).T
            # The tilt keeps the sign of its denominator, so the inverse's tells the same side.
            in_front = homogeneous[:, 2] > 0
            target = homogeneous[:, :2] / homogeneous[:, 2:]
        if self._distorts:
            plane, valid = self._undistort(target)
        else:
            plane, valid = target, np.isfinite(target.sum(axis=1))
        rays = np.concatenate([plane, np.ones((len(plane), 1))], axis=1)
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        return rays, valid & in_front

    def _first_fold(self, radius: Array) -> float:
        """The last of growing radii (n,) before the mapping folds back in some direction.

        Further out, points may have the right orientation again but pixels that nearer ones have.
        """
        direction = np.linspace(0.0, 2 * np.pi, _DIRECTIONS, endpoint=False)[:, None]
        along = radius * np.cos(direction), radius * np.sin(direction)
        _, _, xx, xy, yx, yy = kernels.distort(self._k, *along)
        folded = ~(xx * yy - xy * yx > 0).all(axis=0)
        return float(radius[np.argmax(folded) - 1]) if folded.any() else np.inf

    def _undistort(self, target: Array) -> tuple[Array, Mask]:
        """Solve distort(x, y) = target (N, 2) by Newton's method from the radial solution.

        A step that leaves the valid region, or does not come closer, is halved until it does.
        """
        solution = np.full_like(target, np.nan)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            radius = np.hypot(target[:, 0], target[:, 1])
            going = np.flatnonzero(np.isfinite(radius))
            goal = target[going].T
            tolerance = _RESIDUAL * np.maximum(1.0, radius[going])
            distance = np.full(len(going), np.inf)
            base = np.zeros_like(goal)
            step = goal * np.where(radius > 0, self._start(radius) / radius, 1.0)[going]
            for _ in range(_ITERATIONS):
                trial = base + step
                x_d, y_d, xx, xy, yx, yy = kernels.distort(self._k, *trial)
                error_x, error_y = x_d - goal[0], y_d - goal[1]
                determinant = xx * yy - xy * yx
                error = np.maximum(np.abs(error_x), np.abs(error_y))
                inside = (trial[0] ** 2 + trial[1] ** 2 < self.max_radius**2) & (determinant > 0)
                better = inside & (error < distance)
                newton = np.stack([xy * error_y - yy * error_x, yx * error_x - xx * error_y])
                base = np.where(better, trial, base)
                step = np.where(better, newton / determinant, 0.5 * step)
                distance = np.where(better, error, distance)
                done = distance <= tolerance
                if done.any():
                    solution[going[done]] = base[:, done].T
                    keep = ~done
                    going, goal, tolerance = going[keep], goal[:, keep], tolerance[keep]
                    base, step, distance = base[:, keep], step[:, keep], distance[keep]
                    if not len(going):
                        break
        return solution, np.isfinite(solution[:, 0])


def _fold_radius(k: tuple[float, ...]) -> float:
    """The smallest radius where r f(r^2) stops to grow or f has a pole; infinite if there is none.

    d(r f)/dr = f + 2 s f' = (N D + 2 s (N' D - N D')) / D^2 with f = N / D.
    """
    k1, k2, _, _, k3, k4, k5, k6 = k[:8]
    numerator, denominator = np.array([1, k1, k2, k3]), np.array([1, k4, k5, k6])
    difference = polynomial.polysub(
        polynomial.polymul(polynomial.polyder(numerator), denominator),
        polynomial.polymul(numerator, polynomial.polyder(denominator)),
    )
    growth = polynomial.polyadd(
        polynomial.polymul(numerator, denominator), polynomial.polymul([0, 2], difference)
    )
    return float(np.sqrt(min(first_positive_root(growth), first_positive_root(denominator))))


def _tilt_homography(tau_x: float, tau_y: float) -> Array:
    """OpenCV's projection (3, 3) onto a sensor tilted by tau_x, tau_y (rad)."""
    cos_x, sin_x, cos_y, sin_y = np.cos(tau_x), np.sin(tau_x), np.cos(tau_y), np.sin(tau_y)
    about_x = np.array([[1, 0, 0], [0, cos_x, sin_x], [0, -sin_x, cos_x]])
    about_y = np.array([[cos_y, 0, -sin_y], [0, 1, 0], [sin_y, 0, cos_y]])
    rotation = about_y @ about_x
    onto_plane = np.array(
        [[rotation[2, 2], 0, -rotation[0, 2]], [0, rotation[2, 2], -rotation[1, 2]], [0, 0, 1]]
    )
    return onto_plane @ rotation
