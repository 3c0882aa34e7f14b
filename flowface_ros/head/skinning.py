"""Linear blend skinning of the head, as in FLAME: joints, their transforms, posed vertices.

With joint rotations R_j, R = R - I stacked (row-major) in r, and the neutral mesh
v = template + shape_basis b + expression_basis e + offsets + pose_correctives r:

    joints  J = joint_regressor (template + shape_basis b + expression_basis e)
    posed   p_j = p_parent + G_parent (J_j - J_parent),  G_j = G_parent R_j
    vertex  x = sum_j w_j (G_j (v - J_j) + p_j)

(Li et al., Learning a model of facial shape and expression from 4D scans, 2017.) The pose of the
head in the rig frame is applied in the place of the root's own rotation, about the head's origin.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from flowface_ros.head import kernels
from flowface_ros.head.model import JOINT_NAMES, HeadModel
from flowface_ros.head.state import HeadState

_Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class JointBases:
    """Joints as a linear function of the coefficients.

    neutral: (J, 3) metres. shape: (J, 3, S). expression: (J, 3, E).
    """

    neutral: _Array
    shape: _Array
    expression: _Array


@dataclass(frozen=True, eq=False)
class JointTransforms:
    """Where the joints are in the rig frame: joint j maps a neutral point v to G_j v + t_j.

    local: (J, 3, 3) each joint's own rotation. linear: (J, 3, 3) G_j. shift: (J, 3) t_j, metres.
    posed: (J, 3) joints in the rig frame, metres.
    """

    local: _Array
    linear: _Array
    shift: _Array
    posed: _Array


_joint_bases: WeakKeyDictionary[HeadModel, JointBases] = WeakKeyDictionary()


def joint_bases(model: HeadModel) -> JointBases:
    """The model's joints as a function of its coefficients, computed once per model."""
    bases = _joint_bases.get(model)
    if bases is None:
        V, J = model.vertex_count, model.joint_count
        neutral, shape, expression = (
            (model.joint_regressor @ basis.reshape(V, -1).astype(np.float64)).reshape(J, 3, -1)
            for basis in (model.template, model.shape_basis, model.expression_basis)
        )
        bases = JointBases(neutral[..., 0], shape, expression)
        _joint_bases[model] = bases
    return bases


def joint_rotvecs(state: HeadState) -> _Array:
    """Rotation vectors (J, 3) of the joints; the root's is zero."""
    moving = [np.asarray(getattr(state, name), np.float64) for name in JOINT_NAMES[1:]]
    return np.stack([np.zeros(3), *moving])


def joint_transforms(model: HeadModel, state: HeadState, joints: _Array) -> JointTransforms:
    """Forward kinematics of neutral joints (J, 3), metres, with the head's pose included."""
    count = model.joint_count
    local, linear = np.empty((count, 3, 3)), np.empty((count, 3, 3))
    posed, shift = np.empty((count, 3)), np.empty((count, 3))
    root = np.asarray(state.rotation, np.float64), np.asarray(state.translation, np.float64)
    kernels.forward_kinematics(
        joint_rotvecs(state), *root, model.parents, joints, local, linear, posed, shift
    )
    return JointTransforms(local, linear, shift, posed)


def pose_features(local: _Array) -> _Array:
    """Entries (9 (J - 1),) of R - I of the joints after the root, from rotations (J, 3, 3)."""
    return (local[1:] - np.eye(3)).ravel()


def neutral_joints(model: HeadModel, state: HeadState) -> _Array:
    """Joints (J, 3) of the state's shape and expression before any rotation, metres."""
    bases = joint_bases(model)
    return bases.neutral + bases.shape @ state.shape + bases.expression @ state.expression


def posed_joints(model: HeadModel, state: HeadState) -> _Array:
    """Joints (J, 3) in the rig frame, metres, in the order of `JOINT_NAMES`."""
    return joint_transforms(model, state, neutral_joints(model, state)).posed


def pose_vertices(model: HeadModel, state: HeadState) -> _Array:
    """Vertices (V, 3) of the state in the rig frame, metres."""
    from flowface_ros.head.evaluator import vertex_evaluator

    return vertex_evaluator(model).positions(state)
