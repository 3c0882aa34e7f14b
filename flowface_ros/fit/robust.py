"""The robust loss: Student-t in two dimensions.

With s = r^T W r of a two-dimensional residual, -log p = (nu + 2) / 2 log(1 + s / nu). A point's
weight in the normal equations is w(s) = (nu + 2) / (nu + s).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import eval_genlaguerre, eval_laguerre, roots_laguerre

from flowface_ros.fit import kernels

Array = NDArray[np.float64]

_MEDIAN_SAMPLE = 4000
"""Residuals that the median is taken of; more do not make it better."""

_QUADRATURE = 60
"""Nodes of Gauss and Laguerre's quadrature."""
_TERMS = 8
"""Of the expansion; the rest is below 1e-4 of the first for the heaviest tails in use."""

MEDIAN_OF_SQUARES = 2 * np.log(2.0)
"""Median of chi-square with two degrees of freedom, the squared residual of a good point."""


def loss(squared: Array, nu: float) -> Array:
    """-log likelihood (...) of squared normalised residuals (...), 0 at 0."""
    return 0.5 * (nu + 2) * np.log1p(squared / nu)


def weight(squared: Array, nu: float) -> Array:
    """w(s) = 2 d loss / d s."""
    return (nu + 2) / (nu + squared)


def score_correlation(correlation: Array, nu: float) -> Array:
    """Correlation (...) of the loss's derivatives by two Gaussian residuals of unit variance, whose
    own correlation (...) along each axis is given, between rows that hold the roots of the weights.

    Large residuals count less, so derivatives are less alike than residuals; so are the weights
    that such rows have from their own residuals. Each is a sum over Hermite's expansion, in two
    dimensions Laguerre's: sum_k c_k^2 rho^(2 k + 1), sum_k a_k^2 rho^(2 k).
    """
    scores, weights = _expansion(nu)
    squared = correlation * correlation
    return correlation * _polynomial(scores, squared) / _polynomial(weights, squared)


@lru_cache(maxsize=8)
def _expansion(nu: float) -> tuple[Array, Array]:
    """Shares c_k^2 and a_k^2 (K,) of the second moments of the loss's derivative and of the root of
    the weight, for Gaussian residuals."""
    half, probability = roots_laguerre(_QUADRATURE)
    w = weight(2 * half, nu)
    orders = range(_TERMS)
    modes = [probability @ (half * w * eval_genlaguerre(k, 1, half)) for k in orders]
    scores = np.square(modes) / np.arange(1, _TERMS + 1)
    roots = np.square([probability @ (np.sqrt(w) * eval_laguerre(k, half)) for k in orders])
    return scores / scores.sum(), roots / roots.sum()


def _polynomial(coefficients: Array, x: Array) -> Array:
    result = np.zeros_like(x)
    for coefficient in coefficients[::-1]:
        result = result * x + coefficient
    return result


@dataclass(frozen=True)
class Sums:
    """Over residuals in front of their camera: their count, and means of weight, curvature and
    score variance; loss is the sum over all, with the worst for each one behind. curvature_spread:
    variance of the curvature, over points and directions, over its mean's square."""

    count: int
    loss: float
    weight: float
    curvature: float
    score_variance: float
    curvature_spread: float


def sums(squared: Array, scale: float, nu: float) -> Sums:
    """Of squared residuals (K,), NaN behind the camera, over scale^2.

    A point behind its camera costs as much as the worst other: there is no gain in it.
    """
    out = np.empty(7)
    kernels.robust_sums(squared, scale, nu, out)
    count = max(out[0], 1.0)
    loss = out[1] + (len(squared) - out[0]) * out[2]
    spread = out[6] * count / max(out[4], 1e-12) ** 2 - 1 if out[0] else 0.0
    return Sums(int(out[0]), loss, out[3] / count, out[4] / count, out[5] / count, spread)


def residual_scale(squared: Array) -> float:
    """How much larger (>= 0) residuals are than their sigmas say: from their median, so that less
    than half of gross outliers do little; NaN is left out. 1 when there is no residual."""
    sample = squared[:: max(1, len(squared) // _MEDIAN_SAMPLE)]
    sample = sample[~np.isnan(sample)]
    if not len(sample):
        return 1.0
    return float(np.sqrt(median(sample) / MEDIAN_OF_SQUARES))


def median(values: Array) -> float:
    """The upper median of values (K,), K > 0; numpy's own takes longer than many a view's."""
    half = len(values) // 2
    return float(np.partition(values, half)[half])
