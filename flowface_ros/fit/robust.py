"""The robust loss: Student-t in two dimensions.

With s = r^T W r of a two-dimensional residual, -log p = (nu + 2) / 2 log(1 + s / nu). A point's
weight in the normal equations is w(s) = (nu + 2) / (nu + s).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MEDIAN_OF_SQUARES = 2 * np.log(2.0)
"""Median of chi-square with two degrees of freedom, the squared residual of a good point."""


def loss(squared: Array, nu: float) -> Array:
    """-log likelihood (...) of squared normalised residuals (...), 0 at 0."""
    return 0.5 * (nu + 2) * np.log1p(squared / nu)


def weight(squared: Array, nu: float) -> Array:
    """w(s) = 2 d loss / d s."""
    return (nu + 2) / (nu + squared)


def curvature(squared: Array, nu: float) -> Array:
    """Mean over directions of the second derivative of the loss by the residual, w + w' s."""
    return (nu + 2) * nu / (nu + squared) ** 2


def score_variance(squared: Array, nu: float) -> Array:
    """Square of the loss's derivative by the residual, per axis: w^2 s / 2."""
    return 0.5 * squared * weight(squared, nu) ** 2


def residual_scale(squared: Array) -> float:
    """How much larger (>= 0) residuals are than their sigmas say: from their median, so that less
    than half of gross outliers do little. 1 when there is no residual."""
    if not len(squared):
        return 1.0
    return float(np.sqrt(np.median(squared) / MEDIAN_OF_SQUARES))
