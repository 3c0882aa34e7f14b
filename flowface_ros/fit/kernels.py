# mypy: disable-error-code="no-untyped-def"
"""Compiled inner loops over observations: residuals, and what they say about each point.

K observations are stacked over C cameras. Those of camera c are k = start[c] to start[c + 1]; each
is of point `row[k]`, its undistorted place on the z = 1 plane is `seen[:, k]` (2,), the information
(inverse covariance) of that place is `weight[:, k]` (3,): xx, xy, yy.

Loops run over blocks whose inputs and outputs lie in rows, one number after the other: eight
observations then go through the processor at once.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_FAST = {"reassoc", "contract", "nsz"}
"""Sums may be reordered for SIMD; NaN and infinity keep their meaning."""
# Python's check of every division for zero would keep loops from SIMD.
simd = njit(cache=True, fastmath=_FAST, error_model="numpy")

_BLOCK = 256
"""Observations whose intermediate results stay in the nearest cache."""
_LANES = 64
"""Products that are kept side by side."""
_FLUSH = 1e100
"""Products are taken the logarithm of before one can overflow."""
_FIRM = 0.01
"""Share of the largest pivot that the usual one must have to be taken."""
NEAREST = 0.02
"""Points closer than this to a camera's plane (m), or behind it, are not seen by it."""


@simd
def residuals(points, row, start, seen, weight, rotation, translation, zoom, squared):
    """Fills squared (K,) with r^T W r, NaN where the point is behind; returns how many are."""
    at, behind = np.empty((3, _BLOCK)), 0
    for c in range(len(start) - 1):
        for a in range(start[c], start[c + 1], _BLOCK):
            b = min(a + _BLOCK, start[c + 1])
            _gather(points, row[a:b], at)
            behind += _squared(
                at[0],
                at[1],
                at[2],
                seen[0, a:b],
                seen[1, a:b],
                weight[0, a:b],
                weight[1, a:b],
                weight[2, a:b],
                rotation[c],
                translation[c],
                zoom[c],
                squared[a:b],
            )
    return behind


@simd
def accumulate(
    points, row, start, seen, weight, rotation, translation, zoom, nu, scale, information, vector
):
    """Adds sum w P^T W P to information (N, 6: xx, xy, xz, yy, yz, zz) and sum w P^T W r to vector
    (N, 3), both over scale^2. w is the Student-t weight of r^T W r / scale^2. With information
    (0, 6) the vector alone."""
    at, terms = np.empty((3, _BLOCK)), np.empty((9, _BLOCK))
    shrink = 1.0 / (scale * scale)
    for c in range(len(start) - 1):
        for a in range(start[c], start[c + 1], _BLOCK):
            b = min(a + _BLOCK, start[c + 1])
            _gather(points, row[a:b], at)
            _terms(
                at,
                seen[0, a:b],
                seen[1, a:b],
                weight[0, a:b],
                weight[1, a:b],
                weight[2, a:b],
                rotation[c],
                translation[c],
                zoom[c],
                nu,
                shrink,
                terms,
            )
            if len(information):
                _scatter(row[a:b], terms[:6], information)
            _scatter(row[a:b], terms[6:], vector)


@simd
def _gather(points, row, at):
    for k in range(len(row)):
        n = row[k]
        at[0, k], at[1, k], at[2, k] = points[n, 0], points[n, 1], points[n, 2]


@simd
def _scatter(row, terms, out):
    for k in range(len(row)):
        n = row[k]
        for i in range(len(terms)):
            out[n, i] += terms[i, k]


@simd
def _squared(px, py, pz, sx, sy, xx, xy, yy, r, t, zoom, out):
    """Fills out with r^T W r of one camera's points; returns how many are behind it."""
    r00, r01, r02, r10, r11, r12 = r[0, 0], r[0, 1], r[0, 2], r[1, 0], r[1, 1], r[1, 2]
    r20, r21, r22 = r[2, 0], r[2, 1], r[2, 2]
    t0, t1, t2 = t[0], t[1], t[2]
    behind = 0
    for k in range(len(sx)):
        x, y, z = px[k], py[k], pz[k]
        depth = t2 + r20 * x + r21 * y + r22 * z
        a = zoom / depth
        rx = sx[k] - a * (t0 + r00 * x + r01 * y + r02 * z)
        ry = sy[k] - a * (t1 + r10 * x + r11 * y + r12 * z)
        s = xx[k] * rx * rx + 2 * xy[k] * rx * ry + yy[k] * ry * ry
        behind += depth < NEAREST
        out[k] = s if depth >= NEAREST else np.nan
    return behind


@simd
def _terms(at, sx, sy, xx, xy, yy, r, t, zoom, nu, shrink, out):
    """Fills out (9, n) with each observation's six terms of the information and three of the
    vector; zero behind the camera."""
    r00, r01, r02, r10, r11, r12 = r[0, 0], r[0, 1], r[0, 2], r[1, 0], r[1, 1], r[1, 2]
    r20, r21, r22 = r[2, 0], r[2, 1], r[2, 2]
    t0, t1, t2 = t[0], t[1], t[2]
    for k in range(len(sx)):
        x, y, z = at[0, k], at[1, k], at[2, k]
        depth = t2 + r20 * x + r21 * y + r22 * z
        near = 1.0 / depth if depth >= NEAREST else 0.0
        a = zoom * near
        u = a * (t0 + r00 * x + r01 * y + r02 * z)
        v = a * (t1 + r10 * x + r11 * y + r12 * z)
        rx, ry = sx[k] - u, sy[k] - v
        p0, p1, p2 = xx[k] * shrink, xy[k] * shrink, yy[k] * shrink
        w = (nu + 2.0) / (nu + p0 * rx * rx + 2 * p1 * rx * ry + p2 * ry * ry)
        p0, p1, p2 = p0 * w, p1 * w, p2 * w
        u, v = u * near, v * near
        ux, uy, uz = a * r00 - u * r20, a * r01 - u * r21, a * r02 - u * r22
        vx, vy, vz = a * r10 - v * r20, a * r11 - v * r21, a * r12 - v * r22
        ax, bx = p0 * ux + p1 * vx, p1 * ux + p2 * vx
        ay, by = p0 * uy + p1 * vy, p1 * uy + p2 * vy
        az, bz = p0 * uz + p1 * vz, p1 * uz + p2 * vz
        out[0, k], out[1, k], out[2, k] = ax * ux + bx * vx, ax * uy + bx * vy, ax * uz + bx * vz
        out[3, k], out[4, k], out[5, k] = ay * uy + by * vy, ay * uz + by * vz, az * uz + bz * vz
        out[6, k], out[7, k], out[8, k] = ax * rx + bx * ry, ay * rx + by * ry, az * rx + bz * ry


@simd
def robust_sums(squared, scale, nu, out):
    """Sums over rows in front of their camera, at s = squared / scale^2, into out (7,): rows, loss,
    largest loss, weight w, curvature w + w' s, score variance w^2 s / 2, squared curvature."""
    shrink = 1.0 / (scale * scale)
    count, total, curvature, variance, square = 0, 0.0, 0.0, 0.0, 0.0
    for k in range(len(squared)):
        s = squared[k] * shrink
        seen = s == s
        count += seen
        inverse = 1.0 / (nu + s) if seen else 0.0
        s = s if seen else 0.0
        weight = (nu + 2.0) * inverse
        total += weight
        curvature += weight * nu * inverse
        variance += 0.5 * s * weight * weight
        along = (nu - s) * inverse
        square += 0.5 * weight * weight * (1.0 + along * along)
    largest = 0.0
    if count < len(squared):
        for k in range(len(squared)):
            if squared[k] * shrink > largest:
                largest = squared[k] * shrink
    half = 0.5 * (nu + 2.0)
    out[0], out[1] = count, half * _sum_of_logs(squared, shrink / nu)
    out[2] = half * np.log1p(largest / nu)
    out[3], out[4], out[5], out[6] = total, curvature, variance, square


@simd
def _sum_of_logs(values, factor):
    """Sum of log(1 + factor * value), NaN left out: logarithms of products of many, for they would
    take most of the time."""
    products, total = np.ones(_LANES), 0.0
    for a in range(0, len(values), _LANES):
        part, size = values[a : a + _LANES], 0.0
        for j in range(len(part)):
            s = factor * part[j]
            products[j] *= 1.0 + (s if s == s else 0.0)
            size += products[j]
        if size > _FLUSH:
            total += np.log(products).sum()
            products[:] = 1.0
    return total + np.log(products).sum()


@simd
def agreement(squared, sigma, start, nu, out):
    """Fills out (C, 5) with each camera's rows in front of it, their r^T W r, their 1 / sigma^2,
    of it the share nu / (nu + r^T W r) that the loss keeps, and all rows' 1 / sigma^2."""
    for c in range(len(start) - 1):
        part, deviation = squared[start[c] : start[c + 1]], sigma[start[c] : start[c + 1]]
        count, total, stated, kept, every = 0, 0.0, 0.0, 0.0, 0.0
        for k in range(len(part)):
            s, information = part[k], 1.0 / (deviation[k] * deviation[k])
            seen = s == s
            every += information
            count += seen
            total += s if seen else 0.0
            stated += information if seen else 0.0
            kept += information * nu / (nu + s) if seen else 0.0
        out[c, 0], out[c, 1], out[c, 2], out[c, 3], out[c, 4] = count, total, stated, kept, every


@simd
def whiten(information, jacobian, out):
    """out (N, r, n) = L_v^T B_v with M_v = L_v L_v^T of information (N, 6), jacobian (N, 3, n).

    r is 3, or 2 where every M_v has rank two, as one view gives. All points take their pivots in
    the same order, so that neighbours' rows are of the same kind and can be added up; only where
    that pivot is nearly lost does the largest go first.
    """
    count, rows = jacobian.shape[2], out.shape[1]
    m, factor, order = np.empty((3, 3)), np.empty(3), np.empty(3, np.int64)
    mean = np.zeros(6)
    for v in range(len(information)):
        for i in range(6):
            mean[i] += information[v, i]
    _symmetric(mean, m)
    for r in range(3):
        order[r] = _largest(m)
        _eliminate(m, order[r], 0.0, factor)
    for v in range(jacobian.shape[0]):
        _symmetric(information[v], m)
        tiny = 1e-14 * (m[0, 0] + m[1, 1] + m[2, 2])
        for r in range(rows):
            p, largest = order[r], _largest(m)
            if m[p, p] < _FIRM * m[largest, largest]:
                p = largest
            _eliminate(m, p, tiny, factor)
            a, b, c = factor[0], factor[1], factor[2]
            for k in range(count):
                out[v, r, k] = a * jacobian[v, 0, k] + b * jacobian[v, 1, k] + c * jacobian[v, 2, k]


@simd
def _symmetric(upper, m):
    m[0, 0], m[0, 1], m[0, 2] = upper[0], upper[1], upper[2]
    m[1, 1], m[1, 2], m[2, 2] = upper[3], upper[4], upper[5]
    m[1, 0], m[2, 0], m[2, 1] = upper[1], upper[2], upper[4]


@simd
def _largest(m):
    """Index of the largest entry of m's diagonal."""
    p = 0
    for i in range(1, 3):
        if m[i, i] > m[p, p]:
            p = i
    return p


@simd
def _eliminate(m, p, tiny, factor):
    """Takes pivot p out of m (3, 3); factor (3,) is its column of the root, zero for a pivot that
    is not above tiny."""
    pivot = m[p, p]
    root = np.sqrt(pivot) if pivot > tiny else np.inf
    for i in range(3):
        factor[i] = m[p, i] / root
    for i in range(3):
        for j in range(3):
            m[i, j] -= factor[i] * factor[j]
    # a pivot that was taken is done: rounding must not bring it back
    m[p, p] = 0.0
