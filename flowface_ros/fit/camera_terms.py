"""What observations say about a camera: its focal length and where it stands.

These cross with the head's unknowns through the points: H_xq = sum_v B_v^T C_v with C_v (3, q).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowface_ros.fit.kernels import NEAREST
from flowface_ros.fit.views import Views
from flowface_ros.rigid import skew

Array = NDArray[np.float64]

EXTRINSICS = 6
"""A camera's rotation (left perturbation of camera_from_rig, rad) and translation (m)."""


def zoom_terms(
    views: Views, points: Array, camera: str, nu: float, scale: float
) -> tuple[Array, float, float]:
    """Of the logarithm of a camera's focal length: C (N, 3), H_qq and b_q = sum w d^T W r.

    The seen place is zoom * projection, so its derivative by log zoom is itself.
    """
    index = views.cameras.index(camera)
    part = views.of(index)
    place, slope, residual, weight, _ = _project(views, points, part, index, nu, scale)
    derivative = place[:, :, None]
    cross = np.zeros((len(points), 3))
    np.add.at(cross, views.row[part], _cross(slope, weight, derivative)[..., 0])
    square = np.einsum("kij,kil,klj->", derivative, weight, derivative)
    return cross, float(square), float(np.einsum("kij,kil,kl->", derivative, weight, residual))


@dataclass(frozen=True, eq=False)
class WhitenedRows:
    """k observations of one camera, by the root of their robust information.

    jacobian: (k, 2, n + 6) of the place by the head's unknowns and the camera's pose. residual:
    (k, 2). points: (k,) rows of the surface points. squares: sum of normalised squared residuals.
    pixel_motion: (6, 6) mean square of the pixel motion per unit of the pose.
    """

    jacobian: Array
    residual: Array
    points: NDArray[np.int32]
    squares: float
    pixel_motion: Array


def whitened_rows(
    views: Views, points: Array, jacobian: Array, index: int, nu: float, scale: float
) -> WhitenedRows:
    """Of camera `index`, for points (N, 3) and their Jacobian (N, 3, n)."""
    part = views.of(index)
    _, slope, residual, weight, camera_points = _project(views, points, part, index, nu, scale)
    in_camera = slope @ views.rotation[index].T
    by_pose = np.concatenate([in_camera @ -skew(camera_points), in_camera], axis=2)
    root = np.swapaxes(_root(weight), 1, 2)
    row = views.row[part]
    by_all = np.concatenate([slope @ jacobian[row], by_pose], axis=2)
    plain = _matrices(views.weight[part])
    squares = float(np.einsum("ki,kij,kj->", residual, plain, residual)) / scale**2
    # sigma times the root of the stated information is d pixel / d place
    motion = np.swapaxes(_root(plain), 1, 2) @ by_pose * views.sigma[part][:, None, None]
    pixel_motion = np.einsum("kia,kib->ab", motion, motion) / max(len(row), 1)
    return WhitenedRows(
        root @ by_all, (root @ residual[..., None])[..., 0], row, squares, pixel_motion
    )


def _project(
    views: Views, points: Array, part: slice, index: int, nu: float, scale: float
) -> tuple[Array, Array, Array, Array, Array]:
    """Place (k, 2), d place / d rig point (k, 2, 3), residual (k, 2), robust weight matrices
    (k, 2, 2), and points in the camera (k, 3); weights are zero behind the camera."""
    rotation, zoom = views.rotation[index], views.zoom[index]
    camera_points = points[views.row[part]] @ rotation.T + views.translation[index]
    z = camera_points[:, 2]
    front = z >= NEAREST
    z = np.where(front, z, 1.0)
    place = zoom * camera_points[:, :2] / z[:, None]
    slope = np.zeros((len(z), 2, 3))
    slope[:, 0, 0] = slope[:, 1, 1] = zoom / z
    slope[:, :, 2] = -place / z[:, None]
    residual = views.seen[part] - place
    weight = _matrices(views.weight[part]) / scale**2
    squared = np.einsum("ki,kij,kj->k", residual, weight, residual)
    weight *= (front * (nu + 2) / (nu + squared))[:, None, None]
    return place, slope @ rotation, residual, weight, camera_points


def _cross(slope: Array, weight: Array, derivative: Array) -> Array:
    """P^T W d (k, 3, q)."""
    return np.swapaxes(slope, 1, 2) @ weight @ derivative


def _matrices(weight: Array) -> Array:
    """Symmetric matrices (k, 2, 2) of xx, xy, yy (k, 3)."""
    xx, xy, yy = weight.T
    return np.stack([np.stack([xx, xy], -1), np.stack([xy, yy], -1)], -2)


def _root(weight: Array) -> Array:
    """Lower Cholesky factors (k, 2, 2) of matrices that may be zero."""
    a = np.sqrt(weight[:, 0, 0])
    b = np.divide(weight[:, 0, 1], a, out=np.zeros_like(a), where=a > 0)
    root = np.zeros_like(weight)
    root[:, 0, 0], root[:, 1, 0] = a, b
    root[:, 1, 1] = np.sqrt(np.maximum(weight[:, 1, 1] - b * b, 0.0))
    return root
