"""Which faces in different views are one new person: rays that meet at a head-sized object."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from flowface_ros.camera.rig import Rig
from flowface_ros.fit.views import union
from flowface_ros.head.model import HeadModel
from flowface_ros.head.state import neutral_state
from flowface_ros.track.association import EvaluatorOf, face_size
from flowface_ros.track.frames import ViewAlignment

Array = NDArray[np.float64]

_POINTS = 80
"""Of the surest common points; their rays are triangulated."""
_FEWEST_POINTS = 6
"""That must be triangulated: a similarity of fewer says little."""
_OFF_RAYS = 0.25
"""Faces' sizes by which rays may miss each other: features of two people differ by as much."""
_SCALE = 0.35
"""Logarithm of the triangulated head's size over the mean head's: people's differ by 0.1, and the
points of rays from two people triangulate at a wrong depth."""
_SHAPE = 0.35
"""Residual of the triangulated points from the mean head, over the head's size."""
_LEAST_ANGLE = np.deg2rad(3.0)
"""Between rays; below it depth, and with it the size, is not determined."""
_FARTHEST = 1.25
"""Sum of the three, each over its limit, up to which two faces may be one: views of one person
give 0.2 to 0.7, of two who stand beside each other 1.5 and more where anything at all."""


def pair_cost(
    a: ViewAlignment, b: ViewAlignment, model: HeadModel, evaluator_of: EvaluatorOf
) -> float:
    """How badly two faces in two views agree on one head; infinite when they cannot be one."""
    (points, (rows_a, rows_b)) = union([a.observation.points, b.observation.points])
    common, in_a, in_b = np.intersect1d(rows_a, rows_b, return_indices=True)
    sigma = np.hypot(
        a.observation.sigma[in_a] / face_size(a.observation.pixels),
        b.observation.sigma[in_b] / face_size(b.observation.pixels),
    )
    best = np.argsort(sigma, kind="stable")[:_POINTS]
    seen_a, seen_b = a.observation.pixels[in_a[best]], b.observation.pixels[in_b[best]]
    rig = Rig((a.camera, b.camera))
    places = rig.triangulate({a.camera.name: seen_a, b.camera.name: seen_b})
    met = np.isfinite(places).all(axis=1)
    if met.sum() < len(best) / 2 or met.sum() < _FEWEST_POINTS:
        return np.inf
    mean = evaluator_of(points).positions(neutral_state(model))[common[best]]
    return _disagreement(rig, places[met], (seen_a[met], seen_b[met]), mean[met])


def group(
    alignments: Sequence[ViewAlignment], model: HeadModel, evaluator_of: EvaluatorOf
) -> list[list[ViewAlignment]]:
    """Faces by person, at most one of each view; largest groups first.

    The pairs that agree best are joined first, and two groups only if all of their faces agree:
    what looks possible for two views alone gives way to what three views are sure of.
    """
    costs: dict[tuple[int, int], float] = {}
    for (i, x), (j, y) in combinations(enumerate(alignments), 2):
        if x.camera.name != y.camera.name:
            cost = pair_cost(x, y, model, evaluator_of)
            if cost < _FARTHEST:
                costs[i, j] = cost
    members = {i: [i] for i in range(len(alignments))}
    group_of = {i: i for i in members}
    for i, j in sorted(costs, key=costs.__getitem__):
        a, b = group_of[i], group_of[j]
        pairs = [(min(k, m), max(k, m)) for k in members[a] for m in members[b]]
        if a != b and all(pair in costs for pair in pairs):
            members[a] += members[b]
            for k in members.pop(b):
                group_of[k] = a
    groups = [[alignments[i] for i in sorted(rows)] for rows in members.values()]
    return sorted(groups, key=len, reverse=True)


def _disagreement(rig: Rig, places: Array, seen: tuple[Array, Array], mean: Array) -> float:
    """places: (N, 3) triangulated, seen: (N, 2) pixels in both views, mean: (N, 3) mean head."""
    off = 0.0
    directions = []
    for camera, pixels in zip(rig, seen, strict=True):
        in_camera = places @ camera.camera_from_rig[:3, :3].T + camera.camera_from_rig[:3, 3]
        projected, valid = camera.project(in_camera)
        if not valid.all() or (in_camera[:, 2] <= 0).any():
            return np.inf
        distance = np.linalg.norm(projected - pixels, axis=1)
        off = max(off, float(np.median(distance)) / face_size(pixels))
        towards = places.mean(axis=0) - camera.rig_from_camera[:3, 3]
        directions.append(towards / np.linalg.norm(towards))
    angle = np.arccos(np.clip(directions[0] @ directions[1], -1, 1))
    if off > _OFF_RAYS:
        return np.inf
    if angle < _LEAST_ANGLE:
        return off / _OFF_RAYS
    log_scale, residual = _similarity(mean, places)
    if abs(log_scale) > _SCALE or residual > _SHAPE:
        return np.inf
    return off / _OFF_RAYS + abs(log_scale) / _SCALE + residual / _SHAPE


def _similarity(source: Array, target: Array) -> tuple[float, float]:
    """Logarithm of the scale from source to target (N, 3), and what then remains, over the size
    (Umeyama 1991)."""
    a, b = source - source.mean(axis=0), target - target.mean(axis=0)
    left, singular, right = np.linalg.svd(b.T @ a)
    flip = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    scale = float((singular * flip).sum() / (a**2).sum())
    if scale <= 0:
        return np.inf, np.inf
    moved = scale * a @ (left * flip @ right).T
    return float(np.log(scale)), float(np.sqrt(((b - moved) ** 2).sum() / (b**2).sum()))
