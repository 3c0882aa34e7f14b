"""What a box does to a Gaussian: expectation propagation, one site for each bounded unknown.

The solution lies inside the bounds, and so does the truth: errors are narrower than a Gaussian's,
and their mean is not zero; half of a weight's distribution is gone when its mode is on the bound.
Each bound is replaced by the Gaussian factor that gives the marginal its right mean and variance
(Cunningham, Hennig, Lacoste-Julien, Gaussian probabilities and expectation propagation, 2011).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx

Array = NDArray[np.float64]

_NEAR = 4.0
"""Standard deviations to the nearest bound beyond which it does nothing."""
_SWEEPS = 4
"""Over the sites, all at once; more change the variances by less than a percent."""
_DAMPING = 0.8
"""Share of a site's change that is taken."""


@dataclass(frozen=True, eq=False)
class CutGaussian:
    """Mean (n,) and covariance (n, n) of a cut Gaussian; information: (n,) of the sites."""

    mean: Array
    covariance: Array
    information: Array


def cut_gaussian(mean: Array, covariance: Array, room: tuple[Array, Array]) -> CutGaussian:
    """The Gaussian of mean (n,) and covariance (n, n), cut at the nearer side of room: the lowest
    (<= 0) and highest (>= 0) value (n,)."""
    low, high = room
    side = np.where(-low <= high, 1.0, -1.0)
    bound, centre = -np.minimum(-low, high), side * mean
    near = np.flatnonzero(bound > centre - _NEAR * np.sqrt(np.diagonal(covariance)))
    information = np.zeros(len(mean))
    if not len(near):
        return CutGaussian(mean, covariance, information)
    side, bound, centre = side[near], bound[near], centre[near]
    block = covariance[np.ix_(near, near)] * np.outer(side, side)
    base = np.linalg.inv(block)
    base = 0.5 * (base + base.T)
    tau, nu = _propagate(base, base @ centre, bound)
    inside = np.linalg.inv(base + np.diag(tau))
    # what the other unknowns follow from those near a bound
    gain = (covariance[:, near] * side) @ base
    information[near] = tau
    shift = inside @ (base @ centre + nu) - centre
    return CutGaussian(
        mean + gain @ shift, covariance + gain @ (inside - block) @ gain.T, information
    )


def _propagate(base: Array, base_vector: Array, bound: Array) -> tuple[Array, Array]:
    """Sites tau, nu (k,) of x >= bound for the Gaussian exp(base_vector x - x base x / 2)."""
    tau, nu = base_vector**2, -2 * base_vector
    for _ in range(_SWEEPS):
        covariance = np.linalg.inv(base + np.diag(tau))
        mean, variance = covariance @ (base_vector + nu), np.diagonal(covariance)
        # the marginal without its own site
        cavity = 1 / np.maximum(1 / variance - tau, 1e-9 / variance)
        centre = cavity * (mean / variance - nu)
        inside, narrow = _cut(centre, cavity, bound)
        tau += _DAMPING * (1 / narrow - 1 / cavity - tau)
        nu += _DAMPING * (inside / narrow - centre / cavity - nu)
    return np.maximum(tau, 0.0), nu


def _cut(mean: Array, variance: Array, bound: Array) -> tuple[Array, Array]:
    """Mean and variance of Gaussians cut below at a bound."""
    deviation = np.sqrt(variance)
    a = (bound - mean) / deviation
    hazard = np.sqrt(2 / np.pi) / erfcx(a / np.sqrt(2))
    share = 1 + a * hazard - hazard**2
    # far beyond the bound an exponential is left; the difference above is lost in rounding there
    share = np.where(a > 30.0, 1 / np.maximum(a, 1.0) ** 2, np.clip(share, 1e-9, 1.0))
    return mean + deviation * hazard, variance * share
