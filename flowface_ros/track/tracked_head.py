"""A tracked head, and the frame `face_<id>` that moves with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.model import HeadModel
from flowface_ros.head.state import HeadState, Unknowns, all_unknowns
from flowface_ros.rigid import left_jacobian, rotation_from_rotvec, transform

Array = NDArray[np.float64]

HEAD_FROM_FACE = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
"""Rotation from the axes of `face_<id>` (REP-155: x out of the face, y to the subject's left, z up)
to the head's (x to the subject's left, y up, z out of the face)."""


class Status(IntEnum):
    """Life cycle of a tracked head; the values are those of Face.msg."""

    TENTATIVE = 1
    TRACKED = 2
    COASTING = 3


@dataclass(frozen=True, eq=False)
class TrackedHead:
    """One person's head in one synchronized set of images.

    id: starts with a letter, never reused within a run.
    confidence: [0, 1].
    views: names of the cameras that took part.
    view_rmse_px: root mean square reprojection error of each of them, pixels.
    stamp_spread_s: latest minus earliest image stamp of the set.
    """

    id: str
    status: Status
    state: HeadState
    confidence: float = 1.0
    views: tuple[str, ...] = ()
    view_rmse_px: tuple[float, ...] = ()
    stamp_spread_s: float = 0.0


@lru_cache(maxsize=4)
def _sellion(model: HeadModel) -> tuple[SurfaceEvaluator, Unknowns]:
    """Made once: that takes longer than all that follows."""
    return SurfaceEvaluator(model, model.landmarks["sellion"]), all_unknowns(model)


def as_sent(values: ArrayLike) -> Array:
    """With the precision of a message, float32: who reads it has the very same numbers."""
    return np.asarray(values, np.float32).astype(np.float64)


def as_published(head: TrackedHead) -> TrackedHead:
    """With joints and coefficients as a Face message has them; it has the pose in full."""
    state = head.state
    names = ("neck", "jaw", "left_eye", "right_eye", "expression", "shape")
    return replace(head, state=replace(state, **{n: as_sent(getattr(state, n)) for n in names}))


def face_pose(model: HeadModel, state: HeadState) -> Array:
    """rig_from_face (4, 4): the frame `face_<id>` of REP-155.

    The axes are those of the skull, the head's rotation with the neck joint's, so they do not feel
    the expression. The origin is the sellion's point on the posed surface, where there is hardly
    any: a frown moves it by a millimetre.
    """
    origin = _sellion(model)[0].positions(state)[0]
    skull = rotation_from_rotvec(state.rotation) @ rotation_from_rotvec(state.neck)
    return transform(skull @ HEAD_FROM_FACE, origin)


def face_pose_covariance(model: HeadModel, state: HeadState) -> Array | None:
    """Covariance (6, 6) of `face_pose` in rig axes: position (m), then rotation (rad).

    The rotation's is of the left perturbation exp(d) @ R, as ROS has it. None when the state has
    no covariance.
    """
    if state.covariance is None:
        return None
    sellion, unknowns = _sellion(model)
    jacobian = np.zeros((6, unknowns.size))
    jacobian[:3] = sellion.positions_and_jacobian(state, unknowns)[1][0]
    jacobian[3:, unknowns.slices["rotation"]] = np.eye(3)
    neck_axes = rotation_from_rotvec(state.rotation) @ left_jacobian(state.neck)
    jacobian[3:, unknowns.slices["neck"]] = neck_axes
    return jacobian @ state.covariance @ jacobian.T
