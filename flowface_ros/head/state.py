"""The unknowns of a head: pose, joints, expression, shape, and which of them are solved for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flowface_ros import rigid
from flowface_ros.head.model import HeadModel

VECTOR_BLOCKS = ("translation", "rotation", "neck", "jaw", "left_eye", "right_eye")
"""Blocks of 3 that the full vector starts with; expression and shape follow."""

Indices = Sequence[int] | NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class HeadState:
    """One head at one moment. The full vector's order is that of the fields.

    translation: (3,) metres, origin of the head's frame in the rig frame.
    rotation: (3,) rotation vector of rig_from_head.
    neck, jaw, left_eye, right_eye: (3,) rotation vectors of the joints, radians.
    expression: (E,) coefficients.
    shape: (S,) coefficients, standard deviations.
    offsets: (V, 3) metres added to the neutral vertices, or None.
    covariance: (n, n) of the vector [translation, rotation, neck, jaw, left_eye, right_eye,
        expression, shape], n = 18 + E + S; the rotation block is of the left perturbation
        exp(d) @ R (rig axes). None when unknown.
    """

    translation: NDArray[np.float64]
    rotation: NDArray[np.float64]
    neck: NDArray[np.float64]
    jaw: NDArray[np.float64]
    left_eye: NDArray[np.float64]
    right_eye: NDArray[np.float64]
    expression: NDArray[np.float64]
    shape: NDArray[np.float64]
    offsets: NDArray[np.float64] | None = None
    covariance: NDArray[np.float64] | None = None

    @property
    def rig_from_head(self) -> NDArray[np.float64]:
        """(4, 4) pose of the head's frame in the rig frame."""
        return rigid.transform(rigid.rotation_from_rotvec(self.rotation), self.translation)


@dataclass(frozen=True, eq=False)
class Unknowns:
    """A subset of the state's vector, in the vector's order.

    pose: translation and rotation. neck, jaw, left_eye, right_eye: that joint's rotation vector.
    expression, shape: (n,) indices of the coefficients.
    """

    pose: bool = True
    neck: bool = False
    jaw: bool = False
    left_eye: bool = False
    right_eye: bool = False
    expression: Indices = ()
    shape: Indices = ()

    def __post_init__(self) -> None:
        for name in ("expression", "shape"):
            indices = np.array(getattr(self, name), np.int64).reshape(-1)
            if len(np.unique(indices)) != len(indices) or np.any(indices < 0):
                raise ValueError(f"{name} indices must be distinct and >= 0, are {indices}")
            indices.flags.writeable = False
            object.__setattr__(self, name, indices)

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Where each block that is solved for lies in a step or a Jacobian's last axis."""
        slices, start = {}, 0
        for name in (*VECTOR_BLOCKS, "expression", "shape"):
            length = self._length(name)
            if length:
                slices[name] = slice(start, start + length)
                start += length
        return slices

    @cached_property
    def size(self) -> int:
        """How many unknowns there are."""
        return max((s.stop for s in self.slices.values()), default=0)

    def vector_indices(self, model: HeadModel) -> NDArray[np.int64]:
        """Rows (size,) of the full vector that are solved for."""
        parts = [np.zeros(0, np.int64)]
        for block, name in enumerate(VECTOR_BLOCKS):
            if name in self.slices:
                parts.append(np.arange(3 * block, 3 * block + 3))
        start = 3 * len(VECTOR_BLOCKS)
        parts += [start + np.asarray(self.expression)]
        parts += [start + model.expression_count + np.asarray(self.shape)]
        return np.concatenate(parts)

    def _length(self, name: str) -> int:
        if name in ("expression", "shape"):
            return len(getattr(self, name))
        flag = "pose" if name in ("translation", "rotation") else name
        return 3 if getattr(self, flag) else 0


def all_unknowns(model: HeadModel) -> Unknowns:
    """Every entry of the model's vector."""
    return Unknowns(
        pose=True,
        neck=True,
        jaw=True,
        left_eye=True,
        right_eye=True,
        expression=np.arange(model.expression_count),
        shape=np.arange(model.shape_count),
    )


def vector_size(model: HeadModel) -> int:
    """Length of the full vector, 18 + E + S."""
    return 3 * len(VECTOR_BLOCKS) + model.expression_count + model.shape_count


def neutral_state(model: HeadModel) -> HeadState:
    """The mean head without expression, its frame on the rig frame."""
    zeros = {name: np.zeros(3) for name in VECTOR_BLOCKS}
    return HeadState(
        **zeros, expression=np.zeros(model.expression_count), shape=np.zeros(model.shape_count)
    )


def check_state(model: HeadModel, state: HeadState) -> None:
    """ValueError that names the field unless the state fits the model and is finite."""
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(VECTOR_BLOCKS, (3,))
    shapes |= {"expression": (model.expression_count,), "shape": (model.shape_count,)}
    if state.offsets is not None:
        shapes["offsets"] = (model.vertex_count, 3)
    if state.covariance is not None:
        shapes["covariance"] = (vector_size(model),) * 2
    for name, shape in shapes.items():
        array = np.asarray(getattr(state, name))
        if array.shape != shape:
            raise ValueError(f"{name} has shape {array.shape}, must be {shape} for {model.name}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds values that are not finite")


def retract(state: HeadState, unknowns: Unknowns, step: NDArray[np.float64]) -> HeadState:
    """The state moved by a step (unknowns.size,); its covariance is dropped.

    The rotation becomes exp(d) @ R, everything else is added to.
    """
    if np.shape(step) != (unknowns.size,):
        raise ValueError(f"step has shape {np.shape(step)}, must be ({unknowns.size},)")
    changed: dict[str, NDArray[np.float64]] = {}
    for name, block in unknowns.slices.items():
        value = np.array(getattr(state, name), np.float64)
        if name == "rotation":
            value = compose_rotvecs(step[block], value)
        elif name in ("expression", "shape"):
            value[getattr(unknowns, name)] += step[block]
        else:
            value += step[block]
        changed[name] = value
    return replace(state, covariance=None, **changed)


def step_between(start: HeadState, end: HeadState, unknowns: Unknowns) -> NDArray[np.float64]:
    """The step (unknowns.size,) with `retract(start, unknowns, step)` equal to end in these."""
    step = np.zeros(unknowns.size)
    for name, block in unknowns.slices.items():
        before, after = np.asarray(getattr(start, name)), np.asarray(getattr(end, name))
        if name == "rotation":
            step[block] = compose_rotvecs(after, -before)
        elif name in ("expression", "shape"):
            step[block] = (after - before)[getattr(unknowns, name)]
        else:
            step[block] = after - before
    return step


def compose_rotvecs(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation vector (3,) of exp(left) @ exp(right), at most pi long."""
    a, b = _quaternion(left), _quaternion(right)
    w = a[0] * b[0] - a[1:] @ b[1:]
    cross = (a[2] * b[3] - a[3] * b[2], a[3] * b[1] - a[1] * b[3], a[1] * b[2] - a[2] * b[1])
    xyz = a[0] * b[1:] + b[0] * a[1:] + cross
    if w < 0:
        w, xyz = -w, -xyz
    sine = float(np.linalg.norm(xyz))
    angle_over_sine = 2.0 if sine == 0 else 2 * np.arctan2(sine, w) / sine
    return angle_over_sine * xyz


def _quaternion(rotvec: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit quaternion wxyz of a rotation vector."""
    v = np.asarray(rotvec, np.float64)
    half = 0.5 * float(np.linalg.norm(v))
    return np.concatenate([[np.cos(half)], 0.5 * np.sinc(half / np.pi) * v])


def state_vector(state: HeadState) -> NDArray[np.float64]:
    """The full vector (18 + E + S,) of a state."""
    blocks = [np.asarray(getattr(state, name), np.float64) for name in VECTOR_BLOCKS]
    return np.concatenate([*blocks, state.expression, state.shape])


def state_from_vector(model: HeadModel, vector: NDArray[np.float64]) -> HeadState:
    """The state whose full vector (18 + E + S,) this is; without offsets and covariance."""
    if np.shape(vector) != (vector_size(model),):
        raise ValueError(f"vector has shape {np.shape(vector)}, must be ({vector_size(model)},)")
    values = np.array(vector, np.float64)
    blocks = {name: values[3 * i : 3 * i + 3] for i, name in enumerate(VECTOR_BLOCKS)}
    rest = values[3 * len(VECTOR_BLOCKS) :]
    expression, shape = rest[: model.expression_count], rest[model.expression_count :]
    return HeadState(**blocks, expression=expression, shape=shape)


def full_covariance(
    model: HeadModel, unknowns: Unknowns, covariance: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Covariance (18 + E + S squared) with the unknowns' (size, size) in place, zero elsewhere."""
    full = np.zeros((vector_size(model),) * 2)
    rows = unknowns.vector_indices(model)
    full[np.ix_(rows, rows)] = covariance
    return full
