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
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from flowface_ros.head.model import JOINT_NAMES, HeadModel
from flowface_ros.head.skinning import neutral_joints
from flowface_ros.head.state import HeadState, Unknowns, retract
from flowface_ros.rigid import left_jacobian, rotation_from_rotvec

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
    pivot, lever = joints[_NECK], joints[_EYES].mean(axis=0) - joints[_NECK]
    head = rotation_from_rotvec(state.rotation)
    skull = head @ rotation_from_rotvec(state.neck)
    before_pivot, before_lever = head @ pivot, skull @ lever
    turn = step[slices["rotation"]]
    neck_turn = head @ (left_jacobian(state.neck) @ step[slices["neck"]])
    place = (
        state.translation
        + before_pivot
        + before_lever
        + step[slices["translation"]]
        + np.cross(turn, before_pivot + before_lever)
        + np.cross(neck_turn, before_lever)
    )
    new_skull = rotation_from_rotvec(turn + neck_turn) @ skull
    new_head = new_skull @ rotation_from_rotvec(moved.neck).T
    return replace(
        moved,
        rotation=Rotation.from_matrix(new_head).as_rotvec(),
        translation=place - new_skull @ lever - new_head @ pivot,
    )
