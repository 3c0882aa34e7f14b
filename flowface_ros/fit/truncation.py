"""What a box does to a Gaussian: expectation propagation, one site for each bounded unknown.

The solution is the mode of a Gaussian cut at the bounds. The truth lies inside, so errors about the
mode are narrower than the Gaussian's, and their mean is not zero: half of a weight's distribution
is gone when its mode is on the bound. Each bound is replaced by the Gaussian factor that gives the
marginal its right mean and variance (Cunningham, Hennig, Lacoste-Julien, Gaussian probabilities and
expectation propagation, 2011).
"""

from __future__ import annotations

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
_LEAST_ROOM = 1e-12
"""Of an unknown between its bounds, for the division by it."""


def box_sites(covariance: Array, gradient: Array, room: tuple[Array, Array]) -> tuple[Array, Array]:
    """Information (n,) of the sites, and the vector (n,) of sites and gradient: with the Gaussian's
    information and the sites', covariance times vector is the mean error.

    covariance: (n, n) of the Gaussian. gradient: (n,) of its energy at the mode, which is the
    origin; not zero where a bound holds an unknown. room: lowest and highest value (n,).
    """
    n = len(gradient)
    low, high = room
    side = np.where(-low <= high, 1.0, -1.0)
    bound = -np.minimum(-low, high)
    deviation = np.sqrt(np.diagonal(covariance))
    # A gradient inside the box is what the solver left, not a bound's push.
    push = np.where(bound > -_LEAST_ROOM, np.maximum(gradient * side, 0.0), 0.0)
    near = np.flatnonzero(bound > -_NEAR * deviation)
    information, vector = np.zeros(n), np.zeros(n)
    if not len(near):
        return information, vector
    side, bound, push = side[near], bound[near], push[near]
    base = np.linalg.inv(covariance[np.ix_(near, near)] * np.outer(side, side))
    tau, nu = _propagate(0.5 * (base + base.T), -push, bound)
    information[near], vector[near] = tau, (nu - push) * side
    return information, vector


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
