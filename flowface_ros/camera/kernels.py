# mypy: disable-error-code="no-untyped-def"
"""Compiled inner loops of lenses. `k` are the 14 coefficients that `brown_conrady` tells of.

Of numbers and of arrays alike: `radial`, `distort`. No sum is reordered, so both give the same.
"""

from __future__ import annotations

import numpy as np
from numba import njit

compiled = njit(cache=True, error_model="numpy")


@compiled
def radial(k, squared):
    """f(s) and f'(s) at s = squared radius."""
    numerator = 1 + squared * (k[0] + squared * (k[1] + squared * k[4]))
    numerator_slope = k[0] + squared * (2 * k[1] + squared * 3 * k[4])
    denominator = 1 + squared * (k[5] + squared * (k[6] + squared * k[7]))
    denominator_slope = k[5] + squared * (2 * k[6] + squared * 3 * k[7])
    ratio = numerator / denominator
    return ratio, (numerator_slope - ratio * denominator_slope) / denominator


@compiled
def distort(k, x, y):
    """x_d, y_d before the tilt, and d x_d/dx, d x_d/dy, d y_d/dx, d y_d/dy."""
    p1, p2, s1, s2, s3, s4 = k[2], k[3], k[8], k[9], k[10], k[11]
    squared = x * x + y * y
    ratio, slope = radial(k, squared)
    x_d = x * ratio + 2 * p1 * x * y + p2 * (squared + 2 * x * x)
    y_d = y * ratio + p1 * (squared + 2 * y * y) + 2 * p2 * x * y
    mixed = 2 * (slope * x * y + p1 * x + p2 * y)
    xx = ratio + 2 * slope * x * x + 2 * p1 * y + 6 * p2 * x
    yy = ratio + 2 * slope * y * y + 6 * p1 * y + 2 * p2 * x
    prism_x, prism_y = 2 * s1 + 4 * s2 * squared, 2 * s3 + 4 * s4 * squared
    x_d = x_d + squared * (s1 + s2 * squared)
    y_d = y_d + squared * (s3 + s4 * squared)
    return (
        x_d,
        y_d,
        xx + prism_x * x,
        mixed + prism_x * y,
        mixed + prism_y * x,
        yy + prism_y * y,
    )


@compiled
def project(points, k, tilt, limit, distorted, jacobian, valid):
    """Fills distorted (N, 2) on the z = 1 plane, jacobian (N, 2, 3) and valid (N,) for points
    (N, 3) of the camera's frame.

    tilt: homography (3, 3) of the sensor, or None. limit: squared radius that points lie within.
    """
    for n in range(len(points)):
        z = points[n, 2] if points[n, 2] > 0 else np.nan
        x, y = points[n, 0] / z, points[n, 1] / z
        x_d, y_d, xx, xy, yx, yy = distort(k, x, y)
        good = x * x + y * y < limit and xx * yy - xy * yx > 0
        if tilt is not None:
            depth = tilt[2, 0] * x_d + tilt[2, 1] * y_d + tilt[2, 2]
            good = good and depth > 0
            u = (tilt[0, 0] * x_d + tilt[0, 1] * y_d + tilt[0, 2]) / depth
            v = (tilt[1, 0] * x_d + tilt[1, 1] * y_d + tilt[1, 2]) / depth
            u_x, u_y = (tilt[0, 0] - u * tilt[2, 0]) / depth, (tilt[0, 1] - u * tilt[2, 1]) / depth
            v_x, v_y = (tilt[1, 0] - v * tilt[2, 0]) / depth, (tilt[1, 1] - v * tilt[2, 1]) / depth
            xx, xy, yx, yy = (
                u_x * xx + u_y * yx,
                u_x * xy + u_y * yy,
                v_x * xx + v_y * yx,
                v_x * xy + v_y * yy,
            )
            x_d, y_d = u, v
        distorted[n, 0], distorted[n, 1] = x_d, y_d
        jacobian[n, 0, 0], jacobian[n, 0, 1] = xx / z, xy / z
        jacobian[n, 1, 0], jacobian[n, 1, 1] = yx / z, yy / z
        jacobian[n, 0, 2] = -(xx * x + xy * y) / z
        jacobian[n, 1, 2] = -(yx * x + yy * y) / z
        valid[n] = good and np.isfinite(x_d + y_d)
