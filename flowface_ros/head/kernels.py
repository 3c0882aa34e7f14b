# mypy: disable-error-code="no-untyped-def"
"""Compiled inner loops of the head's forward pass and its Jacobian.

A surface point is a sum of elements. Element e of point n follows one fixed blend of joints,
`weights[e]` (J,) summing to 1, and holds `mass[e]` of the point: with m the element's neutral
position times its mass, x_n = sum_e sum_j weights[e, j] (G_j m_e + mass[e] t_j).
"""

from __future__ import annotations

import numpy as np
from numba import njit

_FAST = {"reassoc", "contract", "nsz"}
"""Sums may be reordered for SIMD; NaN and infinity keep their meaning."""


_SMALL_ANGLE = 1e-5
"""Below this angle (rad) the Taylor series is more precise than the closed form."""


@njit(cache=True)
def rotation_matrix(rotvec, out):
    """out (3, 3): Rodrigues' formula, as `rigid.rotation_from_rotvec`."""
    x, y, z = rotvec[0], rotvec[1], rotvec[2]
    squared = x * x + y * y + z * z
    angle = np.sqrt(squared)
    if angle < _SMALL_ANGLE:
        sine, cosine = 1 - squared / 6, 0.5 - squared / 24
    else:
        sine, cosine = np.sin(angle) / angle, (1 - np.cos(angle)) / squared
    out[0, 0] = 1 - cosine * (y * y + z * z)
    out[1, 1] = 1 - cosine * (x * x + z * z)
    out[2, 2] = 1 - cosine * (x * x + y * y)
    out[0, 1], out[1, 0] = cosine * x * y - sine * z, cosine * x * y + sine * z
    out[0, 2], out[2, 0] = cosine * x * z + sine * y, cosine * x * z - sine * y
    out[1, 2], out[2, 1] = cosine * y * z - sine * x, cosine * y * z + sine * x


@njit(cache=True)
def forward_kinematics(
    rotvecs, rotation, translation, parents, joints, local, linear, posed, shift
):
    """Fills local, linear (J, 3, 3), posed, shift (J, 3) from rotation vectors (J, 3) of the
    joints, the head's pose, and neutral joints (J, 3). The root takes the head's rotation."""
    for j in range(len(parents)):
        rotation_matrix(rotvecs[j], local[j])
        if j == 0:
            rotation_matrix(rotation, linear[0])
            for i in range(3):
                posed[0, i] = translation[i]
                for k in range(3):
                    posed[0, i] += linear[0, i, k] * joints[0, k]
        else:
            p = parents[j]
            for i in range(3):
                posed[j, i] = posed[p, i]
                for k in range(3):
                    posed[j, i] += linear[p, i, k] * (joints[j, k] - joints[p, k])
                    linear[j, i, k] = 0.0
                    for m in range(3):
                        linear[j, i, k] += linear[p, i, m] * local[j, m, k]
        for i in range(3):
            shift[j, i] = posed[j, i]
            for k in range(3):
                shift[j, i] -= linear[j, i, k] * joints[j, k]


@njit(cache=True, fastmath=_FAST)
def add_linear(out, basis, coefficients):
    """out (M, 3) += basis (M, 3, C) @ coefficients (C,)."""
    for e in range(out.shape[0]):
        for i in range(3):
            total = 0.0
            for c in range(coefficients.shape[0]):
                total += basis[e, i, c] * coefficients[c]
            out[e, i] += total


@njit(cache=True, fastmath=_FAST)
def add_pose_correctives(out, basis, features, active):
    """out (M, 3) += basis (M, 3, 9 K) @ features (9 K,), where active (M, K) says it is not 0."""
    for k in range(active.shape[1]):
        start = 9 * k
        if not np.any(features[start : start + 9]):
            continue
        for e in range(out.shape[0]):
            if active[e, k]:
                for i in range(3):
                    total = 0.0
                    for c in range(start, start + 9):
                        total += basis[e, i, c] * features[c]
                    out[e, i] += total


@njit(cache=True, fastmath=_FAST)
def skin(points, neutral, mass, weights, point_of, linear, shift):
    """points (N, 3) += the elements' neutral (M, 3), moved by linear (J, 3, 3), shift (J, 3)."""
    for e in range(neutral.shape[0]):
        n = point_of[e]
        for j in range(weights.shape[1]):
            w = weights[e, j]
            if w == 0.0:
                continue
            for i in range(3):
                moved = mass[e] * shift[j, i]
                for k in range(3):
                    moved += linear[j, i, k] * neutral[e, k]
                points[n, i] += w * moved


@njit(cache=True, fastmath=_FAST)
def blend(weights, linear, out):
    """out (3, 3) = sum_j weights[j] linear[j]."""
    out[:] = 0.0
    for j in range(weights.shape[0]):
        if weights[j] != 0.0:
            for i in range(3):
                for k in range(3):
                    out[i, k] += weights[j] * linear[j, i, k]


@njit(cache=True, fastmath=_FAST)
def linear_columns(jacobian, start, basis, mass, weights, point_of, linear, joint_motion):
    """Adds d x / d coefficient in columns start.. of jacobian (N, 3, n).

    basis: (M, 3, C). joint_motion: (J, 3, C) change of the shift of each joint.
    """
    matrix = np.empty((3, 3))
    count = basis.shape[2]
    for e in range(basis.shape[0]):
        blend(weights[e], linear, matrix)
        # Elements seldom follow more than two joints beside the root: one pass over their columns.
        first, second, u, v = 0, 0, 0.0, 0.0
        for j in range(1, weights.shape[1]):
            w = mass[e] * weights[e, j]
            if w != 0.0:
                if first == 0:
                    first, u = j, w
                elif second == 0:
                    second, v = j, w
                else:
                    jacobian[point_of[e], :, start : start + count] += w * joint_motion[j]
        x, y, z = basis[e, 0], basis[e, 1], basis[e, 2]
        for i in range(3):
            a, b, c = matrix[i, 0], matrix[i, 1], matrix[i, 2]
            p, q = joint_motion[first, i], joint_motion[second, i]
            out = jacobian[point_of[e], i, start : start + count]
            for k in range(count):
                out[k] += a * x[k] + b * y[k] + c * z[k] + u * p[k] + v * q[k]


@njit(cache=True, fastmath=_FAST)
def joint_columns(
    jacobian, start, neutral, mass, weights, point_of, linear, shift, moves, pivot, axes
):
    """Adds d x / d rotation vector of one joint in columns start..start + 2: the rigid part.

    moves: (J,) bool, the joints that it carries. pivot: (3,). axes: (3, 3), rotation of the rig
    frame per unit of the rotation vector.
    """
    lever = np.empty(3)
    for e in range(neutral.shape[0]):
        lever[:] = 0.0
        carried = False
        for j in range(weights.shape[1]):
            w = weights[e, j]
            if w == 0.0 or not moves[j]:
                continue
            carried = True
            for i in range(3):
                moved = mass[e] * (shift[j, i] - pivot[i])
                for k in range(3):
                    moved += linear[j, i, k] * neutral[e, k]
                lever[i] += w * moved
        if carried:
            n = point_of[e]
            for c in range(3):
                for i in range(3):
                    j, k = (i + 1) % 3, (i + 2) % 3
                    jacobian[n, i, start + c] += axes[j, c] * lever[k] - axes[k, c] * lever[j]


@njit(cache=True, fastmath=_FAST)
def corrective_columns(
    jacobian, start, basis, first, features_per_axis, active, weights, point_of, linear
):
    """Adds what the pose correctives of one joint add to its three columns.

    basis: (M, 3, 9 K), of which the columns first..first + 8 are the joint's. features_per_axis:
    (9, 3), change of R - I per unit of the rotation vector. active: (M,) bool, basis is not 0.
    """
    matrix = np.empty((3, 3))
    change = np.empty((3, 3))
    for e in range(basis.shape[0]):
        if not active[e]:
            continue
        change[:] = 0.0
        for i in range(3):
            for f in range(9):
                value = basis[e, i, first + f]
                for c in range(3):
                    change[i, c] += value * features_per_axis[f, c]
        blend(weights[e], linear, matrix)
        n = point_of[e]
        for i in range(3):
            for c in range(3):
                for k in range(3):
                    jacobian[n, i, start + c] += matrix[i, k] * change[k, c]


@njit(cache=True, fastmath=_FAST)
def pose_columns(jacobian, start, points, origin):
    """Writes d x / d translation and d x / d left rotation about origin (3,) in columns start.."""
    for n in range(points.shape[0]):
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            jacobian[n, i, start + i] = 1.0
            jacobian[n, i, start + 3 + j] = points[n, k] - origin[k]
            jacobian[n, i, start + 3 + k] = origin[j] - points[n, j]
