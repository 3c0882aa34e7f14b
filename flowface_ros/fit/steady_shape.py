"""How far an aligner takes a face for another's, from people whose heads are known.

One view tells a head's size by its proportions alone, so what is wrong about these is wrong about
its depth. The size that a view tells is off by w^T g with g the gradient of the observations'
energy at the truth, w = H^-1 times the size's derivative by the unknowns. What of its square the
errors of the moment and the other steady ones leave unexplained is the shape's.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.observation import Observation
from flowface_ros.camera.rig import Rig
from flowface_ros.fit.config import FitConfig
from flowface_ros.fit.frame_fit import FrameFitter
from flowface_ros.fit.priors import unit_shape_belief
from flowface_ros.fit.problem import Estimate
from flowface_ros.fit.views import stack_views
from flowface_ros.head.model import HeadModel
from flowface_ros.head.state import HeadState

Array = NDArray[np.float64]

_AT_BOUND = 1e-6
"""From its bound (rad or a weight) an unknown of the truth is on it."""
_PASSES = 4
"""Of the weights, which hold the result."""


def measure_shape(
    model: HeadModel,
    config: FitConfig,
    samples: Iterable[tuple[HeadState, Rig, Observation]],
) -> float:
    """`SteadyConfig.shape`, in units of the head's coefficients, from single views of known heads.

    config: with all other steady errors in `noise.steady`. ValueError without them or samples.
    """
    if config.noise.steady is None:
        raise ValueError("config.noise.steady is None, must hold the other steady errors")
    fitter: FrameFitter | None = None
    size, rows = size_by_shape(model), []
    for truth, rig, observation in samples:
        fitter = fitter or FrameFitter(model, rig, config)
        fitter.rig = rig
        rows.append(_size_error(fitter, truth, observation, size))
    if not rows:
        raise ValueError("samples is empty, must hold views of known heads")
    squared, expected, unit = np.transpose(rows)
    variance = 0.0
    for _ in range(_PASSES):
        weight = unit / (expected + variance * unit) ** 2
        variance = max(float(weight @ (squared - expected) / (weight @ unit)), 0.0)
    return float(np.sqrt(variance))


def size_by_shape(model: HeadModel) -> Array:
    """(S,) by which each coefficient makes the neutral face larger, relative."""
    face = model.vertex_groups["face"]
    places = model.template[face].astype(np.float64)
    places -= places.mean(axis=0)
    moves = np.einsum("va,vas->s", places, model.shape_basis[face].astype(np.float64))
    return np.asarray(moves / np.square(places).sum(), np.float64)


def _size_error(
    fitter: FrameFitter, truth: HeadState, observation: Observation, size: Array
) -> tuple[float, float, float]:
    """Square of the relative error of the size that a view tells, what is expected of it, and what
    a unit of `SteadyConfig.shape` adds."""
    views = stack_views([observation], fitter.rig)
    problem = fitter.problem(views, None, unit_shape_belief(fitter.model), True)
    estimate = Estimate(truth)
    equations = problem.linearise(estimate, problem.squared_residuals(estimate)[0], 1.0)
    gradient = equations.gradient - problem.prior_force(estimate)
    low, high = problem.room(estimate)
    free = np.flatnonzero((low < -_AT_BOUND) & (high > _AT_BOUND))
    target = np.zeros(problem.size)
    target[problem.unknowns.slices["shape"]] = size[np.asarray(problem.unknowns.shape)]
    told = np.zeros(problem.size)
    told[free] = np.linalg.solve(equations.hessian[np.ix_(free, free)], target[free])
    kept, sums = fitter.points(views.points), equations.sums
    assert kept.steady is not None
    data = (equations.hessian - equations.prior) / equations.curvature / problem.tempering
    score = kept.correlation.score_covariance(equations.whitened, data)
    noise = problem.tempering**2 * sums.score_variance / sums.weight * score
    noise += kept.steady.effect(problem, truth, equations).meat
    unit = told @ kept.steady.shape_forces(problem, truth, equations)
    return float(told @ gradient) ** 2, float(told @ noise @ told), float(unit @ unit)
