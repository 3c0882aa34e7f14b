"""A first pose from nothing: PnP in each view, triangulation over the views, the best of them."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from flowface_ros.fit import robust
from flowface_ros.fit.views import Views
from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.model import HeadModel
from flowface_ros.head.state import HeadState

Array = NDArray[np.float64]

_MODEL_ERROR = 4e-3
"""How far (m) a point of the mean head is from a person's, per axis: what coarse stages add."""
_BEST_SHARE = 0.5
"""Points whose sigma is below this quantile of the view's: hidden ones have large sigmas."""
_MOST_POINTS = 300
"""Per view; more do not make a first pose better."""
_FEWEST_POINTS = 6
"""That PnP is tried with."""
_REPROJECTION = 0.15
"""A point agrees with a pose within this share of the face's spread in the image."""
_RANSAC_ITERATIONS = 200
_TRIANGULATED = 0.012
"""A triangulated point agrees with a pose within this distance (m)."""
_LEAST_ANGLE = np.deg2rad(4.0)
"""Between two rays, below which their meeting point says little about depth."""


def first_pose(
    model: HeadModel, evaluator: SurfaceEvaluator, views: Views, guess: HeadState, nu: float
) -> HeadState | None:
    """guess with a pose found from the views; None when no view yields one.

    Every candidate is judged by its robust energy over all views, so that one bad view cannot win.
    """
    at_origin = replace(
        guess, translation=np.zeros(3), rotation=np.zeros(3), offsets=None, covariance=None
    )
    points = evaluator.positions(at_origin)
    poses = [_pnp(points, views, c) for c in range(len(views.cameras))]
    if len(views.cameras) > 1:
        poses.append(_from_triangulation(points, views))
    best, least = None, np.inf
    for pose in poses:
        if pose is None:
            continue
        state = replace(at_origin, rotation=pose[0], translation=pose[1])
        energy = _energy(points, views, state, nu)
        if energy < least:
            best, least = state, energy
    return best


def coarse_variance(views: Views, state: HeadState) -> Array:
    """What a person's difference from the mean head adds to the variance (K,) of seen places."""
    depth = views.rotation[:, 2] @ np.asarray(state.translation) + views.translation[:, 2]
    spread = _MODEL_ERROR / np.maximum(depth, 0.05)
    return spread[views.view] ** 2


def _energy(points: Array, views: Views, state: HeadState, nu: float) -> float:
    """Robust energy of the mean head at a pose; infinite when it is behind most of the points."""
    rotation = Rotation.from_rotvec(state.rotation).as_matrix()
    softened = views.softened(coarse_variance(views, state))
    squared, behind = softened.squared_residuals(points @ rotation.T + state.translation)
    if behind > 0.5 * len(squared):
        return np.inf
    worst = robust.loss(np.array(1e4), nu)
    energy = np.minimum(robust.loss(np.nan_to_num(squared, nan=1e4), nu), worst)
    return float(energy.sum())


def _pnp(points: Array, views: Views, camera: int) -> tuple[Array, Array] | None:
    """rig_from_head of one view, as rotation vector and translation."""
    chosen = _surest(views, camera)
    if len(chosen) < _FEWEST_POINTS:
        return None
    head = np.ascontiguousarray(points[views.row[chosen]])
    seen = np.ascontiguousarray(views.seen[chosen]) / views.zoom[camera]
    spread = np.median(np.abs(seen - np.median(seen, axis=0))) / 0.6745
    if not spread > 0:
        return None
    try:
        found, rotvec, translation, _ = cv2.solvePnPRansac(
            head,
            seen,
            np.eye(3),
            None,
            iterationsCount=_RANSAC_ITERATIONS,
            reprojectionError=float(_REPROJECTION * spread),
            confidence=0.9999,
            flags=cv2.SOLVEPNP_SQPNP,
        )
    except cv2.error:
        return None
    if not found or not np.isfinite(rotvec).all() or not np.isfinite(translation).all():
        return None
    camera_from_head = Rotation.from_rotvec(rotvec[:, 0])
    rotation = Rotation.from_matrix(views.rotation[camera].T) * camera_from_head
    shift = views.rotation[camera].T @ (translation[:, 0] - views.translation[camera])
    return rotation.as_rotvec(), shift


def _surest(views: Views, camera: int) -> NDArray[np.intp]:
    """Rows of the view's points with the least uncertainty, evenly thinned."""
    part = views.of(camera)
    sigma = views.sigma[part]
    if not len(sigma):
        return np.zeros(0, np.intp)
    good = np.flatnonzero(sigma <= np.quantile(sigma, _BEST_SHARE))
    stride = max(1, len(good) // _MOST_POINTS)
    return good[::stride] + part.start


def _from_triangulation(points: Array, views: Views) -> tuple[Array, Array] | None:
    """rig_from_head from points that meet in several views."""
    places, usable = _meet(views, len(points))
    if usable.sum() < _FEWEST_POINTS:
        return None
    return _rigid_ransac(points[usable], places[usable])


def _meet(views: Views, count: int) -> tuple[Array, NDArray[np.bool_]]:
    """Points (N, 3) of the rig nearest to their rays, and whether (N,) these meet well."""
    rays = np.concatenate([views.seen / views.zoom[views.view, None], np.ones((len(views), 1))], 1)
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    turned = np.einsum("kij,ki->kj", views.rotation[views.view], rays)
    centres = -np.einsum("cij,ci->cj", views.rotation, views.translation)[views.view]
    # sigma at unit distance is weight^-1/2: far views and unsure points count less
    sure = views.weight[:, 0] + views.weight[:, 2]
    across = sure[:, None, None] * (np.eye(3) - turned[:, :, None] * turned[:, None, :])
    normal, right = np.zeros((count, 3, 3)), np.zeros((count, 3))
    np.add.at(normal, views.row, across)
    np.add.at(right, views.row, np.einsum("kij,kj->ki", across, centres))
    eigenvalues = np.linalg.eigvalsh(normal)
    # two equal rays at angle a give a smallest eigenvalue of 1 - cos a
    usable = eigenvalues[:, 0] > (1 - np.cos(_LEAST_ANGLE)) * 0.5 * eigenvalues[:, 2]
    places = np.zeros((count, 3))
    places[usable] = np.linalg.solve(normal[usable], right[usable][:, :, None])[:, :, 0]
    return places, usable


def _rigid_ransac(head: Array, places: Array) -> tuple[Array, Array] | None:
    """The rotation vector and translation that most points agree with."""
    rng = np.random.default_rng(0)
    best: NDArray[np.bool_] | None = None
    for _ in range(_RANSAC_ITERATIONS):
        sample = rng.choice(len(head), 4, replace=False)
        agree = _agreeing(head, places, *_align(head[sample], places[sample]))
        if best is None or agree.sum() > best.sum():
            best = agree
    if best is None or best.sum() < _FEWEST_POINTS:
        return None
    rotation, shift = _align(head[best], places[best])
    return Rotation.from_matrix(rotation).as_rotvec(), shift


def _agreeing(head: Array, places: Array, rotation: Array, shift: Array) -> NDArray[np.bool_]:
    error = np.linalg.norm(head @ rotation.T + shift - places, axis=1)
    return error < _TRIANGULATED


def _align(source: Array, target: Array) -> tuple[Array, Array]:
    """Rotation (3, 3) and translation of least squared distance (Umeyama 1991, no scale)."""
    a, b = source.mean(axis=0), target.mean(axis=0)
    left, _, right = np.linalg.svd((target - b).T @ (source - a))
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    rotation = left @ flip @ right
    return rotation, b - rotation @ a
