"""Covariance of a fit whose observation errors are correlated and may be larger than stated.

With A the whitened Jacobian, t the tempering and c the loss's curvature, the fit solves
H d = t A^T e with H = t c A^T A + P. Its error therefore has the covariance

    H^-1 (t^2 m S + P) H^-1

where S is the covariance of A^T e for correlated errors of unit variance, m the variance of the
loss's score found in the residuals over the mean weight, and P the information of the priors and of
the box. The solution is the most probable head; where the truth is to be expected off it, because
of bounds or because projection is not linear, the square of that is part of the covariance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from flowface_ros.fit.correlation import Patches
from flowface_ros.fit.problem import Estimate, NormalEquations, Problem
from flowface_ros.fit.truncation import box_sites

Array = NDArray[np.float64]

_LEAST_FREEDOM = 0.05
"""Of residual variance that must be left by the fit, or it says nothing about the noise."""
_LEAST_VARIANCE = 0.18
"""A quarter of what errors as large as their sigmas give: residuals far below their sigmas do not
make a fit surer than the sigmas say, beyond a factor of two."""


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
    problem: Problem, estimate: Estimate, equations: NormalEquations, patches: Patches
) -> Posterior:
    """Mean square of the error at the solution."""
    n, t = problem.unknowns.size, problem.tempering
    base = cho_solve(cho_factor(equations.hessian), np.eye(problem.size))
    sites, pull = box_sites(base, equations.gradient, problem.room(estimate))
    prior = equations.prior + np.diag(sites)
    data = equations.hessian - equations.prior
    factor = cho_factor(data + prior)
    score = data / equations.curvature / t
    score[:n, :n] = patches.score_covariance(equations.whitened, score[:n, :n])
    variance = _score_variance(problem, equations, factor, data, prior, score)
    variance *= _uneven_curvature(equations, factor, data, patches)
    meat = t * t * variance * score + prior
    half = cho_solve(factor, meat)
    covariance = cho_solve(factor, half.T)
    covariance = 0.5 * (covariance + covariance.T)
    if len(problem.unknowns.shape) and len(problem.priors) == 1:
        # A known shape or earlier frames leave depth so little room that projection is linear.
        pull[:n] -= problem.mean_pull(estimate, equations, covariance[:n, :n])
    offset = cho_solve(factor, pull)
    covariance += np.outer(offset, offset)
    return Posterior(covariance, data + prior, data, meat, variance)


def _uneven_curvature(
    equations: NormalEquations, factor: tuple[Array, bool], data: Array, patches: Patches
) -> float:
    """What the variance grows by because the Hessian holds the mean of a robust loss's curvature,
    while each point has its own, which goes with its error: Huber's K^2 (Robust regression, 1973).

    K = 1 + p / n times the curvature's relative variance, p / n the unknowns that the observations
    determine over their number; neighbours whose errors are alike have like curvatures.
    """
    sums = equations.sums
    if not sums.count:
        return 1.0
    determined = float(np.trace(cho_solve(factor, data)))
    excess = sums.curvature_spread * patches.alike
    return (1 + determined / (2 * sums.count) * excess) ** 2


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
