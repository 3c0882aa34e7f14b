"""Rotations and rigid transforms that every room shares.

`a_from_b` is a 4x4 matrix that maps points of frame b into frame a. Rotations in state vectors are
rotation vectors (axis times angle, radians); conversions beyond these are scipy's `Rotation`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

SMALL_ANGLE = 1e-5
"""Below this angle (rad) the Taylor series is more precise than the closed form."""


def skew(vector: ArrayLike) -> Array:
    """Cross product matrices (..., 3, 3) of vectors (..., 3): `skew(a) @ b == cross(a, b)`."""
    v = np.asarray(vector, np.float64)
    matrix = np.zeros((*v.shape[:-1], 3, 3))
    matrix[..., 0, 1], matrix[..., 0, 2] = -v[..., 2], v[..., 1]
    matrix[..., 1, 0], matrix[..., 1, 2] = v[..., 2], -v[..., 0]
    matrix[..., 2, 0], matrix[..., 2, 1] = -v[..., 1], v[..., 0]
    return matrix


def rotation_from_rotvec(rotvec: ArrayLike) -> Array:
    """Rotation matrices (..., 3, 3) of rotation vectors (..., 3), Rodrigues' formula."""
    v = np.asarray(rotvec, np.float64)
    angle = np.linalg.norm(v, axis=-1)[..., None, None]
    small = angle < SMALL_ANGLE
    safe = np.where(small, 1.0, angle)
    sine = np.where(small, 1 - angle**2 / 6, np.sin(safe) / safe)
    cosine = np.where(small, 0.5 - angle**2 / 24, (1 - np.cos(safe)) / safe**2)
    cross = skew(v)
    return np.eye(3) + sine * cross + cosine * (cross @ cross)


def left_jacobian(rotvec: ArrayLike) -> Array:
    """Left Jacobian (3, 3) of SO(3) at a rotation vector (3,).

    exp(v + d) = exp(left_jacobian(v) @ d) @ exp(v) to first order in d.
    """
    v = np.asarray(rotvec, np.float64)
    angle = float(np.linalg.norm(v))
    cross = skew(v)
    if angle < SMALL_ANGLE:
        return np.eye(3) + 0.5 * cross + cross @ cross / 6
    a = (1 - np.cos(angle)) / angle**2
    b = (angle - np.sin(angle)) / angle**3
    return np.eye(3) + a * cross + b * (cross @ cross)


def transform(rotation: ArrayLike, translation: ArrayLike) -> Array:
    """The 4x4 matrix of a rotation (3, 3) and a translation (3,), metres."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = translation
    return matrix


def inverse(a_from_b: ArrayLike) -> Array:
    """`b_from_a` (4, 4) of a rigid `a_from_b` (4, 4)."""
    matrix = np.asarray(a_from_b, np.float64)
    rotation = matrix[:3, :3].T
    return transform(rotation, -rotation @ matrix[:3, 3])


def apply(a_from_b: ArrayLike, points_b: ArrayLike) -> Array:
    """Points (..., 3) of frame b in frame a."""
    matrix = np.asarray(a_from_b, np.float64)
    return np.asarray(points_b, np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
