"""Where a radial polynomial stops to grow, and start values for its inverse."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

_REAL = 1e-9
"""A root counts as real when its imaginary part is below this fraction of its size."""


def first_positive_root(coefficients: ArrayLike) -> float:
    """The smallest positive real root of a polynomial (n,), lowest power first; inf if none.

    The constant term must be 1. The roots are those of the reversed polynomial, inverted: its
    leading coefficient is then 1, so that tiny high-order coefficients do no harm.
    """
    inverse = np.roots(np.asarray(coefficients, np.float64))
    real = inverse.real[np.abs(inverse.imag) <= _REAL * np.abs(inverse)]
    largest = real.max(initial=0.0)
    with np.errstate(over="ignore"):
        return float(1 / largest) if largest > 0 else float("inf")


class InverseTable:
    """x of y by linear interpolation in samples of a growing function; clamped at both ends."""

    SIZE = 512

    def __init__(self, x: Array, y: Array) -> None:
        usable = np.isfinite(y)
        self._x, self._y = x[usable], y[usable]

    def __call__(self, y: Array) -> Array:
        return np.interp(y, self._y, self._x)
