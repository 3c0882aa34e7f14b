"""Undistortion with the forward derivative, compiled for the lenses that are met most."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from flowface_ros.camera.camera import Camera

Array = NDArray[np.float64]

_COEFFICIENTS = 8
"""k1 k2 p1 p2 k3 k4 k5 k6: what the compiled path knows; prism and tilt go the general way."""
_RESIDUAL = 1e-12
"""Newton's method stops at this distance on the z = 1 plane."""
_ITERATIONS = 8
"""Points that need more, near where the lens folds back, are left to the general way."""


def undistort(camera: Camera, pixels: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Undistorted points (N, 2) on the z = 1 plane of pixels (N, 2), d pixel / d point (N, 2, 2),
    and valid (N,), as `Camera.undistort`."""
    pixels = np.ascontiguousarray(pixels, np.float64)
    coefficients = camera.lens.coefficients
    plain = camera.lens.model != "equidistant" and not np.any(coefficients[_COEFFICIENTS:])
    seen, forward = np.empty((len(pixels), 2)), np.empty((len(pixels), 2, 2))
    valid = np.zeros(len(pixels), bool)
    if plain:
        k = np.zeros(_COEFFICIENTS)
        k[: min(len(coefficients), _COEFFICIENTS)] = coefficients[:_COEFFICIENTS]
        _newton(pixels, camera.intrinsics, k, seen, forward, valid)
    if not valid.all():
        rest = np.flatnonzero(~valid)
        seen[rest], inverse, valid[rest] = camera.undistort_with_jacobian(pixels[rest])
        forward[rest[valid[rest]]] = np.linalg.inv(inverse[valid[rest]])
    return seen, forward, valid


@njit(cache=True)
def _newton(pixels, intrinsics, k, seen, forward, valid):  # type: ignore[no-untyped-def]
    """Solves distort(x, y) = target for every pixel, from the target itself."""
    fx, skew, cx = intrinsics[0, 0], intrinsics[0, 1], intrinsics[0, 2]
    fy, cy = intrinsics[1, 1], intrinsics[1, 2]
    k1, k2, p1, p2, k3, k4, k5, k6 = k
    rational = k4 != 0 or k5 != 0 or k6 != 0
    for n in range(len(pixels)):
        target_y = (pixels[n, 1] - cy) / fy
        target_x = (pixels[n, 0] - cx - skew * target_y) / fx
        x, y = target_x, target_y
        for _ in range(_ITERATIONS):
            s = x * x + y * y
            radial = 1 + s * (k1 + s * (k2 + s * k3))
            slope = k1 + s * (2 * k2 + s * 3 * k3)
            if rational:
                inverse = 1 / (1 + s * (k4 + s * (k5 + s * k6)))
                radial *= inverse
                slope = (slope - radial * (k4 + s * (2 * k5 + s * 3 * k6))) * inverse
            mixed = 2 * (slope * x * y + p1 * x + p2 * y)
            xx = radial + 2 * slope * x * x + 2 * p1 * y + 6 * p2 * x
            yy = radial + 2 * slope * y * y + 6 * p1 * y + 2 * p2 * x
            error_x = x * radial + 2 * p1 * x * y + p2 * (s + 2 * x * x) - target_x
            error_y = y * radial + p1 * (s + 2 * y * y) + 2 * p2 * x * y - target_y
            determinant = xx * yy - mixed * mixed
            # Growing all the way from the axis: a root beyond the fold has a negative slope.
            if not (determinant > 0 and xx + yy > 0 and radial > 0):
                break
            if abs(error_x) < _RESIDUAL and abs(error_y) < _RESIDUAL:
                seen[n, 0], seen[n, 1] = x, y
                forward[n, 0, 0] = fx * xx + skew * mixed
                forward[n, 0, 1] = fx * mixed + skew * yy
                forward[n, 1, 0], forward[n, 1, 1] = fy * mixed, fy * yy
                valid[n] = True
                break
            inverse = 1 / determinant
            x -= (yy * error_x - mixed * error_y) * inverse
            y -= (xx * error_y - mixed * error_x) * inverse
