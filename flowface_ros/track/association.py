"""Which alignment of a view is of which known head.

Distances in an image are given in units of the face's size there, so that near and far faces, and
coarse and fine images, are judged alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from flowface_ros import rigid
from flowface_ros.align.observation import Observation
from flowface_ros.camera.camera import Camera
from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.state import HeadState
from flowface_ros.head.surface import SurfacePoints
from flowface_ros.track.frames import ViewAlignment

Array = NDArray[np.float64]

EvaluatorOf = Callable[[SurfacePoints], SurfaceEvaluator]
"""Gives the evaluator of surface points, kept from call to call."""

GATE = 1.0
"""Sizes that a face may be off its head's prediction; a size is some 7 cm, and a head that starts
to move quickly is 3 cm off after one image."""
_WIDEST_GATE = 2.5
"""Sizes; beyond this two people side by side could be mistaken for each other."""
_SIGMAS = 3.0
"""Standard deviations of the prediction that widen the gate."""
SAME_FACE = 0.25
"""Sizes by which two alignments of one face in one view may differ: two looks through different
crops differ by a tenth of this, two faces by ten times as much."""
_FORBIDDEN = 1e6


@dataclass(frozen=True, eq=False)
class Expected:
    """A head as it is predicted. position_sigma: standard deviation of its place, metres."""

    state: HeadState
    position_sigma: float


@dataclass(frozen=True, eq=False)
class Assigned:
    """of_head: alignments by head id. free: those of no known head. duplicates: how many looks
    were at a face that another look shows too."""

    of_head: dict[str, list[ViewAlignment]]
    free: list[ViewAlignment]
    duplicates: int


def surest(observation: Observation) -> NDArray[np.bool_]:
    """The half of the points (N,) with the least sigma."""
    return observation.sigma <= np.median(observation.sigma)


def face_size(pixels: Array) -> float:
    """Root mean square distance of points (N, 2) from their middle, pixels."""
    return float(max(np.sqrt(np.var(pixels, axis=0).sum()), 1e-6))


def misfit(
    camera: Camera, observation: Observation, state: HeadState, evaluator_of: EvaluatorOf
) -> float:
    """Median distance between observed and projected points, in sizes; infinite if not in view."""
    chosen = surest(observation)
    points = evaluator_of(observation.points).positions(state)[chosen]
    pixels, seen = camera.project(rigid.apply(camera.camera_from_rig, points))
    if not seen.all():
        return np.inf
    observed = observation.pixels[chosen]
    return float(np.median(np.linalg.norm(pixels - observed, axis=1))) / face_size(observed)


def assign(
    alignments: Sequence[ViewAlignment],
    heads: Mapping[str, Expected],
    evaluator_of: EvaluatorOf,
) -> Assigned:
    """The assignment of least total misfit in each view; what is too far off stays free."""
    of_head: dict[str, list[ViewAlignment]] = {id: [] for id in heads}
    free: list[ViewAlignment] = []
    duplicates = 0
    for name in dict.fromkeys(a.camera.name for a in alignments):
        view = [a for a in alignments if a.camera.name == name]
        costs = np.array([[_cost(a, head, evaluator_of) for head in heads.values()] for a in view])
        kept = _distinct(view, costs)
        duplicates += len(view) - len(kept)
        costs = costs.reshape(len(view), len(heads))[kept]
        rows, columns = linear_sum_assignment(costs)
        good = costs[rows, columns] < _FORBIDDEN
        for row, column in zip(rows[good], columns[good], strict=True):
            of_head[list(heads)[column]].append(view[kept[row]])
        free += [view[k] for i, k in enumerate(kept) if i not in rows[good]]
    return Assigned(of_head, free, duplicates)


def are_one_face(a: ViewAlignment, b: ViewAlignment) -> bool:
    """Whether two alignments in one view show the same face."""
    if len(a.observation) != len(b.observation):
        x, y = (np.median(o.observation.pixels, axis=0) for o in (a, b))
        return float(np.linalg.norm(x - y)) < SAME_FACE * face_size(a.observation.pixels)
    chosen = surest(a.observation)
    x, y = a.observation.pixels[chosen], b.observation.pixels[chosen]
    return float(np.median(np.linalg.norm(x - y, axis=1))) < SAME_FACE * face_size(x)


def _cost(alignment: ViewAlignment, head: Expected, evaluator_of: EvaluatorOf) -> float:
    camera = alignment.camera
    cost = misfit(camera, alignment.observation, head.state, evaluator_of)
    in_camera = rigid.apply(camera.camera_from_rig, np.asarray(head.state.translation))
    if not np.isfinite(cost) or in_camera[2] <= 0:
        return _FORBIDDEN
    size = face_size(alignment.observation.pixels[surest(alignment.observation)])
    focal = np.sqrt(camera.intrinsics[0, 0] * camera.intrinsics[1, 1])
    unsure = focal * head.position_sigma / in_camera[2] / size
    return cost if cost < min(GATE + _SIGMAS * unsure, _WIDEST_GATE) else _FORBIDDEN


def _distinct(view: Sequence[ViewAlignment], costs: Array) -> list[int]:
    """Rows of one alignment per face: the one that fits a known head best."""
    best = costs.min(axis=1) if costs.size else -np.array([a.presence for a in view])
    kept: list[int] = []
    for row in np.argsort(best, kind="stable"):
        if not any(are_one_face(view[row], view[k]) for k in kept):
            kept.append(int(row))
    return sorted(kept)
