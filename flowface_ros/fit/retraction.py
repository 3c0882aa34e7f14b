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

from flowface_ros.fit import kernels
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
    shift = kernels.skull_step(
        np.asarray(state.rotation, np.float64),
        np.asarray(state.neck, np.float64),
        moved.neck,
        pivot,
        eyes - pivot,
        *(step[slices[name]] for name in ("translation", "rotation", "neck")),
        rotation,
    )
    return replace(moved, rotation=rotation, translation=state.translation + shift)
