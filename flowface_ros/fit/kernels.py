# mypy: disable-error-code="no-untyped-def"
"""Compiled inner loops over observations: residuals, and what they say about each point.

K observations are stacked over the cameras. Row k is of point `row[k]` in camera `view[k]`; its
undistorted place on the z = 1 plane is `seen[k]` (2,), the information (inverse covariance) of
that place is `weight[k]` (3,): xx, xy, yy.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from flowface_ros.head.kernels import rotation_matrix

_FAST = {"reassoc", "contract", "nsz"}
"""Sums may be reordered for SIMD; NaN and infinity keep their meaning."""

_FLUSH = 1e100
"""A product is taken the logarithm of before it can overflow."""
NEAREST = 0.02
"""Points closer than this to a camera's plane (m), or behind it, are not seen by it."""


@njit(cache=True)
def carried_information(forward, sigma, weight):
    """Fills weight (K, 3): xx, xy, yy of F^T F / sigma^2, forward (K, 2, 2) d pixel / d place."""
    for k in range(len(sigma)):
        f, inverse = forward[k], 1 / (sigma[k] * sigma[k])
        weight[k, 0] = (f[0, 0] * f[0, 0] + f[1, 0] * f[1, 0]) * inverse
        weight[k, 1] = (f[0, 0] * f[0, 1] + f[1, 0] * f[1, 1]) * inverse
        weight[k, 2] = (f[0, 1] * f[0, 1] + f[1, 1] * f[1, 1]) * inverse


@njit(cache=True, fastmath=_FAST)
def residuals(points, row, view, seen, weight, rotation, translation, zoom, squared):
    """Fills squared (K,) with r^T W r, NaN where the point is behind; returns how many are."""
    behind = 0
    for k in range(len(row)):
        c, n = view[k], row[k]
        x, y, z = translation[c, 0], translation[c, 1], translation[c, 2]
        for i in range(3):
            x += rotation[c, 0, i] * points[n, i]
            y += rotation[c, 1, i] * points[n, i]
            z += rotation[c, 2, i] * points[n, i]
        if z < NEAREST:
            squared[k] = np.nan
            behind += 1
            continue
        rx, ry = seen[k, 0] - zoom[c] * x / z, seen[k, 1] - zoom[c] * y / z
        squared[k] = weight[k, 0] * rx * rx + 2 * weight[k, 1] * rx * ry + weight[k, 2] * ry * ry
    return behind


@njit(cache=True)
def robust_sums(squared, scale, nu, out):
    """Sums over rows in front of their camera, at s = squared / scale^2, into out (7,): rows, loss,
    largest loss, weight w, curvature w + w' s, score variance w^2 s / 2, squared curvature."""
    shrink = 1.0 / (scale * scale)
    count, largest, product = 0, 0.0, 1.0
    loss, total, curvature, variance, square = 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(len(squared)):
        s = squared[k] * shrink
        if np.isnan(s):
            continue
        count += 1
        largest = max(largest, s)
        # One logarithm of a product of many: they would take most of the time.
        product *= 1.0 + s / nu
        if product > _FLUSH:
            loss += np.log(product)
            product = 1.0
        inverse = 1.0 / (nu + s)
        weight = (nu + 2.0) * inverse
        total += weight
        curvature += weight * nu * inverse
        variance += 0.5 * s * weight * weight
        along = (nu - s) * inverse
        square += 0.5 * weight * weight * (1.0 + along * along)
    half = 0.5 * (nu + 2.0)
    out[0], out[1], out[2] = count, half * (loss + np.log(product)), half * np.log1p(largest / nu)
    out[3], out[4], out[5], out[6] = total, curvature, variance, square


@njit(cache=True)
def agreement(squared, sigma, nu, out):
    """Sums into out (4,): rows in front of their camera, their r^T W r, their 1 / sigma^2, and of
    it the share nu / (nu + r^T W r) that the loss keeps; returns the sum of all 1 / sigma^2."""
    every = 0.0
    out[:] = 0.0
    for k in range(len(squared)):
        s, information = squared[k], 1 / (sigma[k] * sigma[k])
        every += information
        if not np.isnan(s):
            out[0] += 1
            out[1] += s
            out[2] += information
            out[3] += information * nu / (nu + s)
    return every


@njit(cache=True, fastmath=_FAST)
def accumulate(
    points, row, view, seen, weight, rotation, translation, zoom, nu, scale, information, vector
):
    """Adds sum w P^T W P to information (N, 6: xx, xy, xz, yy, yz, zz) and sum w P^T W r to vector
    (N, 3), both over scale^2. w is the Student-t weight of r^T W r / scale^2."""
    shrink = 1.0 / (scale * scale)
    for k in range(len(row)):
        c, n = view[k], row[k]
        x, y, z = translation[c, 0], translation[c, 1], translation[c, 2]
        for i in range(3):
            x += rotation[c, 0, i] * points[n, i]
            y += rotation[c, 1, i] * points[n, i]
            z += rotation[c, 2, i] * points[n, i]
        if z < NEAREST:
            continue
        u, v, a = zoom[c] * x / z, zoom[c] * y / z, zoom[c] / z
        rx, ry = seen[k, 0] - u, seen[k, 1] - v
        p0, p1, p2 = weight[k, 0] * shrink, weight[k, 1] * shrink, weight[k, 2] * shrink
        w = (nu + 2.0) / (nu + p0 * rx * rx + 2 * p1 * rx * ry + p2 * ry * ry)
        p0, p1, p2 = p0 * w, p1 * w, p2 * w
        ux = (rotation[c, 0, 0] * zoom[c] - u * rotation[c, 2, 0]) / z
        uy = (rotation[c, 0, 1] * zoom[c] - u * rotation[c, 2, 1]) / z
        uz = (rotation[c, 0, 2] * zoom[c] - u * rotation[c, 2, 2]) / z
        vx = a * rotation[c, 1, 0] - v / z * rotation[c, 2, 0]
        vy = a * rotation[c, 1, 1] - v / z * rotation[c, 2, 1]
        vz = a * rotation[c, 1, 2] - v / z * rotation[c, 2, 2]
        ax, bx = p0 * ux + p1 * vx, p1 * ux + p2 * vx
        ay, by = p0 * uy + p1 * vy, p1 * uy + p2 * vy
        az, bz = p0 * uz + p1 * vz, p1 * uz + p2 * vz
        information[n, 0] += ax * ux + bx * vx
        information[n, 1] += ax * uy + bx * vy
        information[n, 2] += ax * uz + bx * vz
        information[n, 3] += ay * uy + by * vy
        information[n, 4] += ay * uz + by * vz
        information[n, 5] += az * uz + bz * vz
        vector[n, 0] += ax * rx + bx * ry
        vector[n, 1] += ay * rx + by * ry
        vector[n, 2] += az * rx + bz * ry


@njit(cache=True, fastmath=_FAST)
def whiten(information, jacobian, out):
    """out (N, r, n) = L_v^T B_v with M_v = L_v L_v^T of information (N, 6), jacobian (N, 3, n).

    r is 3, or 2 where every M_v has rank two, as one view gives. The largest pivot goes first, so
    that the one that is lost in rounding is the last.
    """
    count, rows = jacobian.shape[2], out.shape[1]
    m, factor = np.empty((3, 3)), np.zeros((3, 3))
    for v in range(jacobian.shape[0]):
        m[0, 0], m[0, 1], m[0, 2] = information[v, 0], information[v, 1], information[v, 2]
        m[1, 1], m[1, 2], m[2, 2] = information[v, 3], information[v, 4], information[v, 5]
        m[1, 0], m[2, 0], m[2, 1] = m[0, 1], m[0, 2], m[1, 2]
        tiny = 1e-14 * (m[0, 0] + m[1, 1] + m[2, 2])
        for r in range(rows):
            p = 0
            for i in range(1, 3):
                if m[i, i] > m[p, p]:
                    p = i
            pivot = m[p, p]
            root = np.sqrt(pivot) if pivot > tiny else np.inf
            for i in range(3):
                factor[r, i] = m[p, i] / root
            for i in range(3):
                for j in range(3):
                    m[i, j] -= factor[r, i] * factor[r, j]
            # a pivot that was taken is done: rounding must not bring it back
            m[p, p] = 0.0
            a, b, c = factor[r, 0], factor[r, 1], factor[r, 2]
            for k in range(count):
                out[v, r, k] = a * jacobian[v, 0, k] + b * jacobian[v, 1, k] + c * jacobian[v, 2, k]


@njit(cache=True)
def _quaternion(rotvec, sign, out):
    """out (4,) wxyz of sign * rotvec."""
    angle = np.sqrt(rotvec[0] ** 2 + rotvec[1] ** 2 + rotvec[2] ** 2)
    half = sign * (0.5 - angle * angle / 48 if angle < 1e-5 else np.sin(0.5 * angle) / angle)
    out[0] = np.cos(0.5 * angle)
    for i in range(3):
        out[1 + i] = half * rotvec[i]


@njit(cache=True)
def _product(a, b):
    return np.array(
        [
            a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3],
            a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2],
            a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1],
            a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0],
        ]
    )


@njit(cache=True)
def _cross(a, b):
    return np.array(
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    )


@njit(cache=True)
def skull_step(rotation, neck, new_neck, pivot, lever, shift, turn, neck_step, new_rotation):
    """Returns the head's translation (3,) after a step, less the one before, and fills its rotation
    vector. pivot: (3,) of the neck. lever: from there to the point of the skull that goes straight.
    shift, turn, neck_step: (3,) the step of translation, rotation and neck."""
    head, bend, new_head = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3))
    rotation_matrix(rotation, head)
    rotation_matrix(neck, bend)
    before = head @ pivot
    arm = head @ (bend @ lever)
    # left Jacobian of the neck's rotation vector: v, v x d, v x (v x d)
    angle = np.sqrt(neck[0] ** 2 + neck[1] ** 2 + neck[2] ** 2)
    a = 0.5 if angle < 1e-5 else (1 - np.cos(angle)) / angle**2
    b = 1 / 6 if angle < 1e-3 else (angle - np.sin(angle)) / angle**3
    once = _cross(neck, neck_step)
    neck_turn = head @ (neck_step + a * once + b * _cross(neck, once))
    q = np.empty((4, 4))
    _quaternion(turn + neck_turn, 1.0, q[0])
    _quaternion(rotation, 1.0, q[1])
    _quaternion(neck, 1.0, q[2])
    _quaternion(new_neck, -1.0, q[3])
    total = _product(_product(q[0], q[1]), _product(q[2], q[3]))
    if total[0] < 0:
        total = -total
    sine = np.sqrt(total[1] ** 2 + total[2] ** 2 + total[3] ** 2)
    factor = 2.0 if sine == 0 else 2 * np.arctan2(sine, total[0]) / sine
    new_rotation[:] = factor * total[1:]
    rotation_matrix(new_rotation, new_head)
    rotation_matrix(new_neck, bend)
    straight = before + arm + shift + _cross(turn, before + arm) + _cross(neck_turn, arm)
    return straight - new_head @ (pivot + bend @ lever)
