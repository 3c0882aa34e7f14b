"""Gaussian priors on a head's state, and the box that it must lie in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowface_ros.fit.config import PriorConfig
from flowface_ros.head.model import HeadModel
from flowface_ros.head.state import (
    VECTOR_BLOCKS,
    HeadState,
    Unknowns,
    neutral_state,
    step_between,
    vector_size,
)
from flowface_ros.rigid import left_jacobian

Array = NDArray[np.float64]

JOINT_BLOCKS = VECTOR_BLOCKS[2:]
"""Blocks of the state vector that are joints: all but the pose."""


@dataclass(frozen=True, eq=False)
class StatePrior:
    """A Gaussian over the full state vector, in information form: energy d^T information d / 2.

    mean: d = step_between(mean, state), so that rotation is a left perturbation.
    information: (18 + E + S squared); zero rows and columns where nothing is known.
    """

    mean: HeadState
    information: Array


@dataclass(frozen=True, eq=False)
class ShapeBelief:
    """What is known of a person's shape: a Gaussian over the S coefficients.

    mean: (S,). information: (S, S) of the energy. covariance: (S, S), larger than the inverse of
    the information where errors were found to be correlated.
    """

    mean: Array
    information: Array
    covariance: Array


def unit_shape_belief(model: HeadModel) -> ShapeBelief:
    """What is known of a person never seen: the head's coefficients are standard deviations."""
    eye = np.eye(model.shape_count)
    return ShapeBelief(np.zeros(model.shape_count), eye, eye)


def prior_of(
    model: HeadModel, state: HeadState, unknowns: Unknowns, covariance: Array
) -> StatePrior:
    """The prior that says state, with covariance (size, size) of the unknowns, nothing of others.

    ValueError when the covariance is not symmetric positive definite.
    """
    matrix = np.asarray(covariance, np.float64)
    if matrix.shape != (unknowns.size,) * 2 or not np.isfinite(matrix).all():
        raise ValueError(f"covariance must be finite and {unknowns.size} squared")
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        raise ValueError("covariance is not positive definite") from None
    information = np.zeros((vector_size(model),) * 2)
    rows = unknowns.vector_indices(model)
    information[np.ix_(rows, rows)] = np.linalg.inv(matrix)
    return StatePrior(state, information)


def static_prior(model: HeadModel, config: PriorConfig, shape: ShapeBelief) -> StatePrior:
    """What is known of any face at any moment, and of this person's shape."""
    information = np.zeros((vector_size(model),) * 2)
    sigmas = static_sigmas(model, config)
    start = 3 * len(VECTOR_BLOCKS)
    known = np.arange(6, start + model.expression_count)
    information[known, known] = sigmas[known] ** -2.0
    rows = slice(start + model.expression_count, None)
    information[rows, rows] = shape.information
    return StatePrior(replace(neutral_state(model), shape=shape.mean), information)


def static_sigmas(model: HeadModel, config: PriorConfig) -> Array:
    """Standard deviations (18 + E + S,) of any face; infinite for the pose, 1 for the shape."""
    joints = {
        "neck": config.neck_sigma,
        "jaw": config.jaw_sigma,
        "left_eye": config.eye_sigma,
        "right_eye": config.eye_sigma,
    }
    blocks = [np.full(6, np.inf), *(np.full(3, joints[name]) for name in JOINT_BLOCKS)]
    blinks = [name.startswith("eyeBlink") for name in model.expression_names]
    expression = np.where(blinks, config.blink_sigma, config.expression_sigma)
    return np.concatenate([*blocks, expression, np.ones(model.shape_count)])


@dataclass(frozen=True, eq=False)
class PriorTerm:
    """A prior's share in the energy of some unknowns; all others are taken to be at its mean.

    unknowns: the blocks that it acts on. rows: (m,) where they are among those that are solved
    for. information: (m, m).
    """

    mean: HeadState
    unknowns: Unknowns
    rows: NDArray[np.int64]
    information: Array

    def energy(self, state: HeadState) -> float:
        """d^T information d / 2."""
        d = self._difference(state)
        return 0.5 * float(d @ self.information @ d)

    def force(self, state: HeadState) -> tuple[Array, float]:
        """Gradient (m,) and energy in a step of its own unknowns."""
        force, energy, _ = self._force(state)
        return force, energy

    def equations(self, state: HeadState) -> tuple[Array, Array, float]:
        """Hessian (m, m), gradient (m,) and energy in a step of its own unknowns."""
        force, energy, turn = self._force(state)
        information, rotation = self.information, self._rotation
        if rotation is not None and turn is not None:
            information = information.copy()
            information[rotation] = turn.T @ information[rotation]
            information[:, rotation] = information[:, rotation] @ turn
        return information, force, energy

    def _force(self, state: HeadState) -> tuple[Array, float, Array | None]:
        """Gradient, energy, and what turns a step into one of the difference of rotations."""
        d = self._difference(state)
        force, turn = self.information @ d, None
        energy = 0.5 * float(d @ force)
        if self._rotation is not None:
            # log(exp(step) exp(d)) = d + left_jacobian(d)^-1 step to first order
            turn = np.asarray(np.linalg.inv(left_jacobian(d[self._rotation])), np.float64)
            force[self._rotation] = turn.T @ force[self._rotation]
        return force, energy, turn

    def _difference(self, state: HeadState) -> Array:
        """The step (m,) from the mean; that of the last state is kept."""
        if not self._last or self._last[0][0] is not state:
            self._last[:] = [(state, step_between(self.mean, state, self.unknowns))]
        return self._last[0][1]

    @cached_property
    def _last(self) -> list[tuple[HeadState, Array]]:
        return []

    @cached_property
    def block(self) -> tuple[Any, ...]:
        """Index of its own rows and columns in a matrix of all unknowns; slices if they are
        neighbours, which cost less."""
        first, last = int(self.rows[0]), int(self.rows[-1]) + 1
        if last - first == len(self.rows):
            return slice(first, last), slice(first, last)
        return np.ix_(self.rows, self.rows)

    @cached_property
    def _rotation(self) -> slice | None:
        """Where the head's rotation is, if the prior says anything of it."""
        rotation = self.unknowns.slices.get("rotation")
        known = rotation is not None and self.information[rotation].any()
        return rotation if known else None


def prior_term(model: HeadModel, prior: StatePrior, unknowns: Unknowns) -> PriorTerm:
    """The part of a prior that acts on the unknowns."""
    acts = np.any(prior.information != 0, axis=1)
    solved = unknowns.vector_indices(model)
    start = np.cumsum([0, *(3 for _ in VECTOR_BLOCKS), model.expression_count])
    block = {name: acts[start[i] : start[i] + 3].any() for i, name in enumerate(VECTOR_BLOCKS)}
    expression = acts[start[-2] : start[-1]].any()
    own = Unknowns(
        pose=unknowns.pose and bool(block["translation"] or block["rotation"]),
        neck=unknowns.neck and bool(block["neck"]),
        jaw=unknowns.jaw and bool(block["jaw"]),
        left_eye=unknowns.left_eye and bool(block["left_eye"]),
        right_eye=unknowns.right_eye and bool(block["right_eye"]),
        expression=unknowns.expression if expression else (),
        shape=unknowns.shape if acts[start[-1] :].any() else (),
    )
    indices = own.vector_indices(model)
    rows = np.searchsorted(solved, indices)
    return PriorTerm(prior.mean, own, rows, prior.information[np.ix_(indices, indices)])


def box(model: HeadModel, unknowns: Unknowns) -> tuple[Array, Array]:
    """Lowest and highest value (n,) of each unknown; the pose and the shape are free."""
    low, high = np.full(unknowns.size, -np.inf), np.full(unknowns.size, np.inf)
    for j, name in enumerate(JOINT_BLOCKS, start=1):
        if name in unknowns.slices:
            low[unknowns.slices[name]], high[unknowns.slices[name]] = model.joint_bounds[j].T
    if "expression" in unknowns.slices:
        bounds = model.expression_bounds[unknowns.expression]
        low[unknowns.slices["expression"]], high[unknowns.slices["expression"]] = bounds.T
    return low, high


def values(state: HeadState, unknowns: Unknowns) -> Array:
    """The state's entries (n,) at the unknowns, to be compared with the box."""
    parts = [
        np.asarray(getattr(state, name), np.float64)[getattr(unknowns, name)]
        if name in ("expression", "shape")
        else np.asarray(getattr(state, name), np.float64)
        for name in unknowns.slices
    ]
    return np.concatenate(parts)
