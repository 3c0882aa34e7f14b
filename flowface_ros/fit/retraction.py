# mypy: disable-error-code="no-untyped-def"
"""Where a step leads: joints and coefficients add, the skull goes straight.

Head pose and neck nearly cancel each other: turned against one another about the neck's joint they
leave the face where it is, and only the shoulders tell them apart. Were the pose and the neck each
to move on their own, the face would leave that valley by a second-order term, lever times angle
squared, and a solver with precise observations could only creep along it. So the step is taken by
the skull, whose motion is what the linear model says, and the head's pose follows from it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from flowface_ros.head.kernels import rotation_matrix
from flowface_ros.head.model import JOINT_NAMES, HeadModel
from flowface_ros.head.skinning import neutral_joints
from flowface_ros.head.state import HeadState, Unknowns, retract

Array = NDArray[np.float64]

_NECK = JOINT_NAMES.index("neck")
_EYES = [JOINT_NAMES.index(name) for name in ("left_eye", "right_eye")]


def moved_head(model: HeadModel, state: HeadState, unknowns: Unknowns, step: Array) -> HeadState:
    """The state after a step (unknowns.size,), equal to `retract` to first order.

    The point between the eyes moves by its Jacobian, the skull turns by the sum of the turns of
    head and neck.
    """
    moved = retract(state, unknowns, step)
    slices = unknowns.slices
    if "neck" not in slices or "rotation" not in slices:
        return moved
    joints = neutral_joints(model, moved)
    pivot, eyes = joints[_NECK], joints[_EYES].mean(axis=0)
    rotation = np.empty(3)
    shift = _skull_step(
        np.asarray(state.rotation, np.float64),
        np.asarray(state.neck, np.float64),
        moved.neck,
        pivot,
        eyes - pivot,
        *(step[slices[name]] for name in ("translation", "rotation", "neck")),
        rotation,
    )
    return replace(moved, rotation=rotation, translation=state.translation + shift)


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
def _skull_step(rotation, neck, new_neck, pivot, lever, shift, turn, neck_step, new_rotation):
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
