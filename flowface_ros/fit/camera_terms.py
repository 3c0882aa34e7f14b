"""What observations say about a camera: its focal length and where it stands.

These cross with the head's unknowns through the points: H_xq = sum_v B_v^T C_v with C_v (3, q).
"""

from __future__ import annotations

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


def extrinsic_terms(
    views: Views, points: Array, index: int, nu: float, scale: float
) -> tuple[Array, Array, Array, Array]:
    """Of camera `index`'s pose: C (N, 3, 6), H_qq (6, 6), b_q (6,) and d place / d pose (k, 2, 6)
    of the camera's k observations."""
    part = views.of(index)
    _, slope, residual, weight, camera_points = _project(views, points, part, index, nu, scale)
    in_camera = slope @ views.rotation[index].T
    derivative = np.concatenate([in_camera @ -skew(camera_points), in_camera], axis=2)
    cross = np.zeros((len(points), 3, EXTRINSICS))
    np.add.at(cross, views.row[part], _cross(slope, weight, derivative))
    square = np.einsum("kia,kil,klb->ab", derivative, weight, derivative)
    return cross, square, np.einsum("kia,kil,kl->a", derivative, weight, residual), derivative


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
    xx, xy, yy = views.weight[part].T / scale**2
    weight = np.stack([np.stack([xx, xy], -1), np.stack([xy, yy], -1)], -2)
    squared = np.einsum("ki,kij,kj->k", residual, weight, residual)
    weight *= (front * (nu + 2) / (nu + squared))[:, None, None]
    return place, slope @ rotation, residual, weight, camera_points


def _cross(slope: Array, weight: Array, derivative: Array) -> Array:
    """P^T W d (k, 3, q)."""
    return np.swapaxes(slope, 1, 2) @ weight @ derivative
