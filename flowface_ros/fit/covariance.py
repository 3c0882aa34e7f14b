"""Covariance of a fit whose observation errors are correlated and may be larger than stated.

With A the whitened Jacobian, t the tempering and c the loss's curvature, the fit solves
H d = t A^T e with H = D + P, D = t c A^T A and P the information of the priors. The data's part of
that gradient has the covariance W = t^2 m S: S that of A^T e for correlated errors of unit
variance, m the variance of the loss's score over the mean weight, found in the residuals.

Where W is not D, the solution is not what the truth is to be expected at. Given the solution, and
with q the priors' force there, the truth is a Gaussian of covariance and mean off the solution

    V = (P + D W^-1 D)^-1,   V (D W^-1 - I) q

cut by the box, in which it lies as the solution does. Over all solutions, without a box, the mean
square of its distance is H^-1 (W + P) H^-1; but that much is not where a bound cuts. A covariance
here is a mean square error: of the cut Gaussian, of its mean's distance from the solution, and of
what is off because projection is not linear.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from flowface_ros.fit.correlation import Correlation
from flowface_ros.fit.problem import Estimate, NormalEquations, Problem
from flowface_ros.fit.truncation import cut_gaussian

Array = NDArray[np.float64]

_LEAST_FREEDOM = 0.05
"""Of residual variance that must be left by the fit, or it says nothing about the noise."""
_UNSEEN = 1e-6
"""Of an unknown's information: less of the data's is rounding; its square keeps what nothing is
known of from being singular, and is uncertain enough to be told from a head."""
_LEAST_ROOM = 1e-12
"""Below which an unknown is on its bound."""
_HELD = 1e9
"""Times its information is what an unknown has that a bound holds."""
_LEAST_VARIANCE = 0.18
"""A quarter of what errors as large as their sigmas give: residuals far below their sigmas do not
make a fit surer than the sigmas say, beyond a factor of two."""


@dataclass(frozen=True, eq=False)
class Posterior:
    """What a fit knows.

    covariance: (n, n) mean square error of the unknowns, inside the box. information: (n, n)
    Hessian, with priors and what stands for the box; data: the observations' share of it. meat:
    (n, n) covariance of the energy's gradient at the truth. score_variance: of the loss's score per
    axis over the mean weight; 0.72 for Gaussian errors of the stated sigmas at nu = 5.
    """

    covariance: Array
    information: Array
    data: Array
    meat: Array
    score_variance: float


def posterior(
    problem: Problem, estimate: Estimate, equations: NormalEquations, correlation: Correlation
) -> Posterior:
    """Mean square of the error at the solution."""
    n, t = problem.unknowns.size, problem.tempering
    prior, room = equations.prior, problem.room(estimate)
    data = equations.hessian - prior
    score = data / equations.curvature / t
    score[:n, :n] = correlation.score_covariance(equations.whitened, score[:n, :n])
    push = _push(equations.gradient, room)
    variance = _score_variance(problem, equations, push != 0, data, score, correlation)
    noise = t * t * variance * score
    # Without the box the solution would go where its bounds hold it back from.
    beyond = -cho_solve(cho_factor(equations.hessian), push)
    force = problem.prior_force(estimate) + prior @ beyond
    pulls, covariance = _given_the_solution(equations.hessian, prior, noise)
    cut = cut_gaussian(beyond + covariance @ (pulls @ force - force), covariance, room)
    offset, sites = cut.mean, np.diag(cut.information)
    if len(problem.unknowns.shape) and len(problem.priors) == 1:
        # A known shape or earlier frames leave depth so little room that projection is linear.
        gain, known = cut.covariance @ pulls, cut.covariance[:n, :n]
        bend, slope = problem.mean_pulls(estimate, equations, known, gain[:n, :n])
        offset = offset - gain[:, :n] @ bend - cut.covariance[:, :n] @ slope
    return Posterior(
        cut.covariance + np.outer(offset, offset),
        equations.hessian + sites,
        data,
        noise + prior + sites,
        variance,
    )


def _push(gradient: Array, room: tuple[Array, Array]) -> Array:
    """The gradient (n,) where it pushes against a bound; elsewhere it is what the solver left."""
    low, high = room
    held = ((low > -_LEAST_ROOM) & (gradient > 0)) | ((high < _LEAST_ROOM) & (gradient < 0))
    return np.where(held, gradient, 0.0)


def _given_the_solution(hessian: Array, prior: Array, noise: Array) -> tuple[Array, Array]:
    """D W^-1 and V (n, n): of the data's part of the Hessian, the priors' information and the
    covariance of the data's gradient, all (n, n)."""
    unit = 1 / np.sqrt(np.diagonal(hessian))
    scale = np.outer(unit, unit)
    data, eye = (hessian - prior) * scale, np.eye(len(unit))
    solved = cho_solve(cho_factor(noise * scale + _UNSEEN * eye), data)
    information = prior * scale + data @ solved + _UNSEEN**2 * eye
    factor = cho_factor(0.5 * (information + information.T))
    covariance = cho_solve(factor, eye) * scale
    return solved.T * unit / unit[:, None], 0.5 * (covariance + covariance.T)


def _score_variance(
    problem: Problem,
    equations: NormalEquations,
    held: NDArray[np.bool_],
    data: Array,
    score: Array,
    correlation: Correlation,
) -> float:
    """Variance of the loss's score over the mean weight, freed from what the fit has absorbed.

    The residuals e' = (I - t A K A^T) e + A K P d, with K = H^-1, errors e and prior errors d,
    are smaller than e; by how much follows from the same matrices, as if weights were alike.
    Unknowns that a bound holds (n,) absorb nothing.
    """
    sums, t, c = equations.sums, problem.tempering, equations.curvature
    if not sums.count:
        return 1.0
    diagonal = np.diagonal(equations.hessian)
    factor = cho_factor(equations.hessian + np.diag(held * diagonal * _HELD))
    # score is the covariance of A^T e, and A^T A = data / (t c); both hold the weights.
    k_score, k_data = cho_solve(factor, score), cho_solve(factor, data)
    count = 2 * sums.count
    followed = t / c * np.sum(k_data * k_score.T) / count
    absorbed = 2 * t * np.trace(k_score) / count - followed
    added = np.sum(k_data * cho_solve(factor, equations.prior).T) / (t * c * count * sums.weight)
    kept = max(1 - absorbed + added, _LEAST_FREEDOM)
    determined = correlation.alike * float(np.trace(k_data)) / count
    uneven = _uneven_curvature(sums.curvature_spread, determined, followed + added)
    return max(sums.score_variance / sums.weight / kept * uneven, _LEAST_VARIANCE)


def _uneven_curvature(spread: float, determined: float, followed: float) -> float:
    """What the variance grows by because the Hessian holds the mean of a robust loss's curvature,
    while each point has its own.

    Those differ by a relative variance `spread`. Where neighbours' differ alike, to first order
    they add it once to what moves the solution and twice to how it moves, times `determined`: the
    unknowns that observations determine over their number, by the number of points whose squared
    errors are alike. The measured variance of the score has grown by it already, times `followed`:
    the share of the errors' variance by which the solution moves the points. For independent errors
    both are p / n, and this is Huber's K^2 = 1 + 2 p / n spread (Robust regression, 1973).
    """
    return 1 + spread * max(3 * determined - followed, 0.0)
