"""Undistortion with the information of the undistorted place, compiled for the usual lenses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flowface_ros.camera.camera import Camera
from flowface_ros.fit.kernels import simd

Array = NDArray[np.float64]

_COEFFICIENTS = 8
"""k1 k2 p1 p2 k3 k4 k5 k6: what the compiled path knows; prism and tilt go the general way."""
_RESIDUAL = 1e-12
"""Newton's method stops at this distance on the z = 1 plane."""
_ITERATIONS = 8
"""Points that need more, near where the lens folds back, are left to the general way."""
_BLOCK = 128
"""Pixels that are solved for side by side."""


def undistort(
    camera: Camera, pixels: Array, sigma: Array
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Of pixels (N, 2) with standard deviations (N,): the undistorted places (2, N) on the z = 1
    plane, their information (3, N) xx, xy, yy, and valid (N,) as `Camera.undistort`.

    pixels and sigma: contiguous float64. The information is F^T F / sigma^2, F = d pixel / d place.
    """
    coefficients = camera.lens.coefficients
    plain = camera.lens.model != "equidistant" and not np.any(coefficients[_COEFFICIENTS:])
    seen, weight = np.empty((2, len(pixels))), np.empty((3, len(pixels)))
    valid = np.zeros(len(pixels), np.bool_)
    if plain:
        k = np.zeros(_COEFFICIENTS)
        k[: min(len(coefficients), _COEFFICIENTS)] = coefficients[:_COEFFICIENTS]
        limit = camera.lens.max_radius**2
        _newton(pixels, sigma, camera.intrinsics, k, limit, seen, weight, valid)
    if not valid.all():
        rest = np.flatnonzero(~valid)
        places, inverse, valid[rest] = camera.undistort_with_jacobian(pixels[rest])
        rest, good = rest[valid[rest]], valid[rest]
        forward = np.linalg.inv(inverse[good])
        seen[:, rest] = places[good].T
        information = np.swapaxes(forward, 1, 2) @ forward / sigma[rest, None, None] ** 2
        weight[:, rest] = information[:, [0, 0, 1], [0, 1, 1]].T
    return seen, weight, valid


@simd
def _newton(  # type: ignore[no-untyped-def]
    pixels, sigma, intrinsics, k, limit, seen, weight, valid
):
    """Solves distort(place) = pixel for every pixel, from the pixel's own place.

    limit: squared radius within which the lens does not fold back.
    """
    buffer = np.empty((7, _BLOCK))
    goal_x, goal_y, xx, mixed, yy = buffer[0], buffer[1], buffer[2], buffer[3], buffer[4]
    inside, reached = buffer[5], buffer[6]
    for a in range(0, len(pixels), _BLOCK):
        b = min(a + _BLOCK, len(pixels))
        x, y = seen[0, a:b], seen[1, a:b]
        _goals(pixels[a:b], intrinsics, goal_x, goal_y)
        x[:], y[:], inside[:] = goal_x[: b - a], goal_y[: b - a], 1.0
        for _ in range(_ITERATIONS):
            if not _step(x, y, goal_x, goal_y, k, limit, xx, mixed, yy, inside, reached):
                break
        rows = weight[0, a:b], weight[1, a:b], weight[2, a:b]
        _information(xx, mixed, yy, sigma[a:b], intrinsics, *rows)
        for n in range(b - a):
            valid[a + n] = inside[n] * reached[n] > 0


@simd
def _goals(pixels, intrinsics, x, y):  # type: ignore[no-untyped-def]
    fx, skew, cx = intrinsics[0, 0], intrinsics[0, 1], intrinsics[0, 2]
    fy, cy = intrinsics[1, 1], intrinsics[1, 2]
    for n in range(len(pixels)):
        y[n] = (pixels[n, 1] - cy) / fy
        x[n] = (pixels[n, 0] - cx - skew * y[n]) / fx


@simd
def _step(  # type: ignore[no-untyped-def]
    x, y, goal_x, goal_y, k, limit, xx, mixed, yy, inside, reached
):
    """One step of places x, y that have not reached their goal; returns how many still can.

    Fills the derivative xx, mixed, yy of the distortion, reached, and, where the place is beyond
    the lens's fold, inside, with 0.
    """
    k1, k2, p1, p2, k3, k4, k5, k6 = k[0], k[1], k[2], k[3], k[4], k[5], k[6], k[7]
    going = 0
    for n in range(len(x)):
        px, py = x[n], y[n]
        s = px * px + py * py
        inverse = 1.0 / (1.0 + s * (k4 + s * (k5 + s * k6)))
        radial = (1.0 + s * (k1 + s * (k2 + s * k3))) * inverse
        slope = k1 + s * (2 * k2 + s * 3 * k3)
        slope = (slope - radial * (k4 + s * (2 * k5 + s * 3 * k6))) * inverse
        across = 2 * (slope * px * py + p1 * px + p2 * py)
        a = radial + 2 * slope * px * px + 2 * p1 * py + 6 * p2 * px
        b = radial + 2 * slope * py * py + 6 * p1 * py + 2 * p2 * px
        error_x = px * radial + 2 * p1 * px * py + p2 * (s + 2 * px * px) - goal_x[n]
        error_y = py * radial + p1 * (s + 2 * py * py) + 2 * p2 * px * py - goal_y[n]
        determinant = a * b - across * across
        # The slope alone does not tell a place beyond the fold: a lens may fold twice.
        good = (s < limit) & (determinant > 0)
        done = (abs(error_x) < _RESIDUAL) & (abs(error_y) < _RESIDUAL)
        stay = done | (determinant == 0)
        scale = 0.0 if stay else 1.0 / determinant
        x[n] = px - (b * error_x - across * error_y) * scale
        y[n] = py - (a * error_y - across * error_x) * scale
        xx[n], mixed[n], yy[n] = a, across, b
        inside[n] = inside[n] if good else 0.0
        reached[n] = 1.0 if done else 0.0
        going += (not done) & (inside[n] > 0)
    return going


@simd
def _information(xx, mixed, yy, sigma, intrinsics, wxx, wxy, wyy):  # type: ignore[no-untyped-def]
    fx, skew, fy = intrinsics[0, 0], intrinsics[0, 1], intrinsics[1, 1]
    for n in range(len(sigma)):
        inverse = 1.0 / (sigma[n] * sigma[n])
        a, b = fx * xx[n] + skew * mixed[n], fx * mixed[n] + skew * yy[n]
        c, d = fy * mixed[n], fy * yy[n]
        wxx[n] = (a * a + c * c) * inverse
        wxy[n] = (a * b + c * d) * inverse
        wyy[n] = (b * b + d * d) * inverse
