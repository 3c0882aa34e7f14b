"""ARKit's 52 blendshapes: what a state means in them, and the state that they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import nnls

from flowface_ros.head.model import JOINT_NAMES, HeadModel, JointBlendshapes
from flowface_ros.head.state import HeadState

ARKIT_NAMES = (
    "eyeBlinkLeft",
    "eyeLookDownLeft",
    "eyeLookInLeft",
    "eyeLookOutLeft",
    "eyeLookUpLeft",
    "eyeSquintLeft",
    "eyeWideLeft",
    "eyeBlinkRight",
    "eyeLookDownRight",
    "eyeLookInRight",
    "eyeLookOutRight",
    "eyeLookUpRight",
    "eyeSquintRight",
    "eyeWideRight",
    "jawForward",
    "jawLeft",
    "jawRight",
    "jawOpen",
    "mouthClose",
    "mouthFunnel",
    "mouthPucker",
    "mouthLeft",
    "mouthRight",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthFrownLeft",
    "mouthFrownRight",
    "mouthDimpleLeft",
    "mouthDimpleRight",
    "mouthStretchLeft",
    "mouthStretchRight",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    "mouthPressLeft",
    "mouthPressRight",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
    "browDownLeft",
    "browDownRight",
    "browInnerUp",
    "browOuterUpLeft",
    "browOuterUpRight",
    "cheekPuff",
    "cheekSquintLeft",
    "cheekSquintRight",
    "noseSneerLeft",
    "noseSneerRight",
    "tongueOut",
)
"""Apple's names in the order of its documentation (ARFaceAnchor.BlendShapeLocation)."""

_INDEX = {name: i for i, name in enumerate(ARKIT_NAMES)}


def blendshapes_from_state(model: HeadModel, state: HeadState) -> NDArray[np.float64]:
    """Weights (52,) in [0, 1] in the order of `ARKIT_NAMES`.

    Expression coefficients with an ARKit name are taken as they are; the rotation of a joint is
    split into the model's joint blendshapes by non-negative least squares. What the model cannot do
    is 0. ValueError when the model has no ARKit mapping.
    """
    table = _table(model)
    weights = np.zeros(len(ARKIT_NAMES))
    for name, value in zip(model.expression_names, state.expression, strict=True):
        if name in _INDEX:
            weights[_INDEX[name]] = value
    for joint in np.unique(table.joints):
        rows = np.flatnonzero(table.joints == joint)
        rotation = np.asarray(getattr(state, JOINT_NAMES[joint]), np.float64)
        values, _ = nnls(table.rotations[rows].T, rotation)
        for row, value in zip(rows, values, strict=True):
            weights[_INDEX[table.names[row]]] = value
    return np.clip(weights, 0, 1)


def state_from_blendshapes(
    model: HeadModel, weights: ArrayLike | Mapping[str, float], base: HeadState
) -> HeadState:
    """The base state with the expression and joints that ARKit weights ask for.

    weights: (52,) in the order of `ARKIT_NAMES`, or values by name, where absent ones are 0. Pose,
    neck, shape, offsets and coefficients without an ARKit name stay; the covariance is dropped.
    ValueError for an unknown name, a wrong length, or a model without ARKit mapping.
    """
    table = _table(model)
    values = _values(weights)
    expression = np.array(base.expression, np.float64)
    for i, name in enumerate(model.expression_names):
        if name in _INDEX:
            expression[i] = values[_INDEX[name]]
    rotations = {JOINT_NAMES[joint]: np.zeros(3) for joint in table.joints}
    for name, joint, rotation in zip(table.names, table.joints, table.rotations, strict=True):
        rotations[JOINT_NAMES[joint]] += values[_INDEX[name]] * rotation
    return replace(base, expression=expression, covariance=None, **rotations)


def _table(model: HeadModel) -> JointBlendshapes:
    table = model.blendshapes
    if table is None:
        raise ValueError(f"the head {model.name!r} has no mapping to ARKit blendshapes")
    unknown = set(table.names) - set(ARKIT_NAMES)
    if unknown:
        raise ValueError(f"blendshapes of {model.name!r} has unknown names {sorted(unknown)}")
    return table


def _values(weights: ArrayLike | Mapping[str, float]) -> NDArray[np.float64]:
    if isinstance(weights, Mapping):
        unknown = set(weights) - set(ARKIT_NAMES)
        if unknown:
            raise ValueError(f"weights has unknown names {sorted(unknown)}")
        return np.array([weights.get(name, 0.0) for name in ARKIT_NAMES], np.float64)
    values = np.asarray(weights, np.float64)
    if values.shape != (len(ARKIT_NAMES),):
        raise ValueError(f"weights has shape {values.shape}, must be ({len(ARKIT_NAMES)},)")
    return values
