"""Covariance of a fit whose observation errors are correlated and may be larger than stated.

With A the whitened Jacobian, t the tempering and c the loss's curvature, the fit solves
H d = t A^T e with H = t c A^T A + P. Its error therefore has the covariance

    H^-1 (t^2 m S + P) H^-1

where S is the covariance of A^T e for correlated errors of unit variance, m the variance of the
loss's score found in the residuals over the mean weight, and P the information of the priors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from flowface_ros.fit.correlation import Patches
from flowface_ros.fit.problem import NormalEquations, Problem

Array = NDArray[np.float64]

_LEAST_FREEDOM = 0.05
"""Of residual variance that must be left by the fit, or it says nothing about the noise."""
_LEAST_VARIANCE = 0.18
"""A quarter of what errors as large as their sigmas give: residuals far below their sigmas do not
make a fit surer than the sigmas say, beyond a factor of two."""
_ON_BOUND = 1e-9
"""An unknown this near to its bound is held by it."""


@dataclass(frozen=True, eq=False)
class Posterior:
    """What a fit knows.

    covariance: (n, n) of the error of the unknowns. information: (n, n) Hessian, priors included;
    data: the observations' share of it.
    meat: (n, n) covariance of the energy's gradient at the truth, with
    covariance = information^-1 meat information^-1. score_variance: of the loss's
    score per axis over the mean weight; 0.72 for Gaussian errors of the stated sigmas at nu = 5.
    """

    covariance: Array
    information: Array
    data: Array
    meat: Array
    score_variance: float


def posterior(
    problem: Problem, equations: NormalEquations, patches: Patches, room: tuple[Array, Array]
) -> Posterior:
    """Covariance at the solution. room: lowest and highest step there; where one is zero and the
    energy falls beyond it with slope s, the truth lies about 1 / s inside, which is added as the
    information s^2."""
    n, t = problem.unknowns.size, problem.tempering
    prior = equations.prior + np.diag(_bound_information(equations, room))
    data = equations.hessian - equations.prior
    factor = cho_factor(data + prior)
    score = data / equations.curvature / t
    score[:n, :n] = patches.score_covariance(equations.whitened, score[:n, :n])
    variance = _score_variance(problem, equations, factor, data, prior, score)
    meat = t * t * variance * score + prior
    half = cho_solve(factor, meat)
    covariance = cho_solve(factor, half.T)
    covariance = 0.5 * (covariance + covariance.T)
    return Posterior(covariance, data + prior, data, meat, variance)


def _bound_information(equations: NormalEquations, room: tuple[Array, Array]) -> Array:
    low, high = room
    push_down, push_up = np.maximum(equations.gradient, 0), np.maximum(-equations.gradient, 0)
    slope = np.where(low > -_ON_BOUND, push_down, 0.0) + np.where(high < _ON_BOUND, push_up, 0.0)
    return slope**2


def _score_variance(
    problem: Problem,
    equations: NormalEquations,
    factor: tuple[Array, bool],
    data: Array,
    prior: Array,
    score: Array,
) -> float:
    """Variance of the loss's score over the mean weight, freed from what the fit has absorbed.

    The residuals e' = (I - t A K A^T) e + A K P d, with K = H^-1, errors e and prior errors d,
    are smaller than e; by how much follows from the same matrices, as if weights were alike.
    """
    sums = equations.sums
    if not sums.count:
        return 1.0
    t, c = problem.tempering, equations.curvature
    # score is the covariance of A^T e, and A^T A = data / (t c); both hold the weights.
    k_score, k_data = cho_solve(factor, score), cho_solve(factor, data)
    absorbed = 2 * t * np.trace(k_score) - t / c * np.sum(k_data * k_score.T)
    added = np.sum(k_data * cho_solve(factor, prior).T) / (t * c * sums.weight)
    kept = 1 - (absorbed - added) / (2 * sums.count)
    return max(sums.score_variance / sums.weight / max(kept, _LEAST_FREEDOM), _LEAST_VARIANCE)
