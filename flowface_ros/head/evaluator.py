"""Positions of surface points of a state and their closed-form Jacobian."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from flowface_ros import rigid
from flowface_ros.head import kernels
from flowface_ros.head.elements import Elements, point_elements, single, vertex_elements
from flowface_ros.head.model import JOINT_NAMES, HeadModel
from flowface_ros.head.skinning import (
    JointTransforms,
    joint_bases,
    joint_rotvecs,
    joint_transforms,
    pose_features,
)
from flowface_ros.head.state import HeadState, Indices, Unknowns
from flowface_ros.head.surface import SurfacePoints

_Array = NDArray[np.float64]

_KEPT_SELECTIONS = 2
"""Sets of unknowns whose columns are kept: those of a fit, and of a shape that is held."""

_KEPT_MODELS = 2
"""Heads whose evaluators are kept: an evaluator holds its head, tens of megabytes, in memory."""


@dataclass(frozen=True, eq=False)
class _Shaped:
    """What stays while a person's shape and offsets stay.

    neutral: (M, 3) elements of template, shape and offsets, metres. joints: (J, 3) metres.
    """

    shape: _Array
    offsets: _Array | None
    neutral: _Array
    joints: _Array

    def fits(self, state: HeadState) -> bool:
        if not np.array_equal(self.shape, state.shape):
            return False
        if self.offsets is None or state.offsets is None:
            return self.offsets is state.offsets
        return np.array_equal(self.offsets, state.offsets)


@dataclass(frozen=True, eq=False)
class Posed:
    """A state's surface before its derivatives: what positions and Jacobian have in common.

    neutral: (M, 3) elements before skinning. points: (N, 3) in the rig frame, metres.
    """

    state: HeadState
    transforms: JointTransforms
    neutral: _Array
    points: _Array


@dataclass(frozen=True, eq=False)
class _Selection:
    """Basis columns (M, 3, C) of the elements and (J, 3, C) of the joints that are solved for."""

    unknowns: Unknowns
    expression: NDArray[np.float32]
    shape: NDArray[np.float32]
    joint_expression: _Array
    joint_shape: _Array


class SurfaceEvaluator:
    """Fixed surface points of a model, evaluated for many states.

    The bases of the points are gathered once. What depends on the shape alone is kept from call to
    call, and so are the columns of the last two unknowns: pass the same `Unknowns` object again.
    """

    def __init__(self, model: HeadModel, points: SurfacePoints, precise: bool = True) -> None:
        """precise: keep bases in float64; in float32, sums are off by some 1e-10 m, in half the
        memory and less time."""
        elements = point_elements(model, points)
        self._init(model, elements if precise else single(elements), len(points))

    @classmethod
    def of_vertices(cls, model: HeadModel) -> SurfaceEvaluator:
        """An evaluator whose points are all the vertices, in the mesh's order."""
        evaluator = cls.__new__(cls)
        evaluator._init(model, vertex_elements(model), model.vertex_count)
        return evaluator

    def _init(self, model: HeadModel, elements: Elements, count: int) -> None:
        self._model, self._elements, self._count = model, elements, count
        self._shaped: _Shaped | None = None
        self._selections: list[_Selection] = []
        parents = model.parents
        self._carries = np.eye(model.joint_count, dtype=bool)
        for j in range(1, model.joint_count):
            self._carries[:, j] |= self._carries[:, parents[j]]

    def __len__(self) -> int:
        return self._count

    def positions(self, state: HeadState) -> _Array:
        """Points (N, 3) in the rig frame, metres."""
        return self.posed(state).points

    def posed(self, state: HeadState) -> Posed:
        """The state's points, with what `jacobian` needs to go on from them."""
        transforms, neutral = self._neutral(state)
        return Posed(state, transforms, neutral, self._skin(transforms, neutral))

    def positions_and_jacobian(self, state: HeadState, unknowns: Unknowns) -> tuple[_Array, _Array]:
        """Points (N, 3) in the rig frame, metres, and their `jacobian`."""
        posed = self.posed(state)
        return posed.points, self.jacobian(posed, unknowns)

    def jacobian(self, posed: Posed, unknowns: Unknowns, out: _Array | None = None) -> _Array:
        """d points / d unknowns (N, 3, size), columns as in `unknowns.slices`.

        Rotation is the left perturbation exp(d) @ R, joints are entries of their rotation vectors.
        out: C-contiguous float64 array of that shape to write it into; a new array of that size
        costs as much as a third of its content.
        """
        state, transforms, neutral = posed.state, posed.transforms, posed.neutral
        selection = self._select(unknowns)
        jacobian = _blank((self._count, 3, unknowns.size), out)
        slices = unknowns.slices
        if unknowns.pose:
            origin = np.asarray(state.translation, np.float64)
            kernels.pose_columns(jacobian, slices["translation"].start, posed.points, origin)
        for j, name in enumerate(JOINT_NAMES):
            if name in slices:
                self._joint(jacobian, slices[name].start, j, state, transforms, neutral)
        if "expression" in slices:
            start = slices["expression"].start
            basis, joints = selection.expression, selection.joint_expression
            self._linear(jacobian, start, basis, joints, transforms)
        if "shape" in slices:
            start = slices["shape"].start
            self._linear(jacobian, start, selection.shape, selection.joint_shape, transforms)
        return jacobian

    def _neutral(self, state: HeadState) -> tuple[JointTransforms, _Array]:
        """Joint transforms, and elements (M, 3) of the neutral mesh of the state."""
        model, elements = self._model, self._elements
        self._check(state)
        shaped = self._shaped
        if shaped is None or not shaped.fits(state):
            shaped = self._shaped = self._shape(state)
        expression = np.asarray(state.expression, np.float64)
        joints = shaped.joints + joint_bases(model).expression @ expression
        transforms = joint_transforms(model, state, joints)
        neutral = shaped.neutral.copy()
        kernels.add_linear(neutral, elements.expression_basis, expression)
        if elements.pose_correctives is not None:
            features = pose_features(transforms.local)
            kernels.add_pose_correctives(
                neutral, elements.pose_correctives, features, elements.corrective_active
            )
        return transforms, neutral

    def _check(self, state: HeadState) -> None:
        for name in ("shape", "expression"):
            have, want = np.shape(getattr(state, name)), getattr(self._model, f"{name}_count")
            if have != (want,):
                raise ValueError(f"{name} has shape {have}, must be ({want},)")
        if state.offsets is not None and state.offsets.shape != self._model.template.shape:
            want = self._model.template.shape
            raise ValueError(f"offsets has shape {state.offsets.shape}, must be {want}")

    def _shape(self, state: HeadState) -> _Shaped:
        elements, bases = self._elements, joint_bases(self._model)
        shape = np.array(state.shape, np.float64)
        offsets = None if state.offsets is None else np.array(state.offsets, np.float64)
        neutral = elements.template.copy()
        kernels.add_linear(neutral, elements.shape_basis, shape)
        if offsets is not None:
            neutral += elements.gather(offsets)
        return _Shaped(shape, offsets, neutral, bases.neutral + bases.shape @ shape)

    def _skin(self, transforms: JointTransforms, neutral: _Array) -> _Array:
        e = self._elements
        points = np.zeros((self._count, 3))
        kernels.skin(
            points, neutral, e.mass, e.weights, e.point, transforms.linear, transforms.shift
        )
        return points

    def _select(self, unknowns: Unknowns) -> _Selection:
        for selection in self._selections:
            if selection.unknowns is unknowns:
                return selection
        e, bases = self._elements, joint_bases(self._model)
        for name in ("expression", "shape"):
            indices, count = getattr(unknowns, name), getattr(self._model, f"{name}_count")
            if len(indices) and indices.max() >= count:
                raise ValueError(f"unknowns.{name} has {indices.max()}, the head has {count}")
        selection = _Selection(
            unknowns,
            _columns(e.expression_basis, unknowns.expression),
            _columns(e.shape_basis, unknowns.shape),
            _columns(bases.expression, unknowns.expression),
            _columns(bases.shape, unknowns.shape),
        )
        self._selections = [selection, *self._selections[: _KEPT_SELECTIONS - 1]]
        return selection

    def _linear(
        self,
        jacobian: _Array,
        start: int,
        basis: NDArray[np.float32],
        joints: _Array,
        transforms: JointTransforms,
    ) -> None:
        """Columns of coefficients that move elements by basis and joints by joints (J, 3, C)."""
        e, linear = self._elements, transforms.linear
        posed = np.empty_like(joints)
        posed[0] = linear[0] @ joints[0]
        for j, parent in enumerate(self._model.parents[1:], start=1):
            posed[j] = posed[parent] + linear[parent] @ (joints[j] - joints[parent])
        motion = posed - linear @ joints
        kernels.linear_columns(jacobian, start, basis, e.mass, e.weights, e.point, linear, motion)

    def _joint(
        self,
        jacobian: _Array,
        start: int,
        joint: int,
        state: HeadState,
        transforms: JointTransforms,
        neutral: _Array,
    ) -> None:
        e, parent = self._elements, self._model.parents[joint]
        local_axes = rigid.left_jacobian(joint_rotvecs(state)[joint])
        axes = transforms.linear[parent] @ local_axes
        kernels.joint_columns(
            jacobian,
            start,
            neutral,
            e.mass,
            e.weights,
            e.point,
            transforms.linear,
            transforms.shift,
            self._carries[joint],
            transforms.posed[joint],
            axes,
        )
        if e.pose_correctives is not None:
            change = rigid.skew(local_axes.T) @ transforms.local[joint]
            kernels.corrective_columns(
                jacobian,
                start,
                e.pose_correctives,
                9 * (joint - 1),
                np.ascontiguousarray(change.reshape(3, 9).T),
                e.corrective_active[:, joint - 1],
                e.weights,
                e.point,
                transforms.linear,
            )


@lru_cache(maxsize=_KEPT_MODELS)
def vertex_evaluator(model: HeadModel) -> SurfaceEvaluator:
    """The evaluator of all vertices; those of the last models asked for are kept."""
    return SurfaceEvaluator.of_vertices(model)


def _blank(shape: tuple[int, ...], out: _Array | None) -> _Array:
    """Zeros of a shape, in `out` if it is given; ValueError if that is of another shape."""
    if out is None:
        return np.zeros(shape)
    if out.shape != shape or out.dtype != np.float64 or not out.flags.c_contiguous:
        raise ValueError(f"out is {out.dtype} {out.shape}, must be contiguous float64 {shape}")
    out[...] = 0.0
    return out


def _columns(basis: NDArray, chosen: Indices) -> NDArray:
    indices = np.asarray(chosen)
    if np.array_equal(indices, np.arange(basis.shape[2])):
        return basis
    return np.ascontiguousarray(basis[:, :, indices])
