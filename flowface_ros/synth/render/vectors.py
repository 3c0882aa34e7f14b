"""Three-vectors as tuples, for compiled code that handles one point at a time."""

from __future__ import annotations

import numba
import numpy as np

_TINY = np.float32(1e-12)

# mypy: disable-error-code="no-untyped-def"

compiled = numba.njit(nogil=True, cache=True, fastmath=True, error_model="numpy")
"""Decorator of all shading code. fastmath: no NaN reaches it. numpy's error model: a division by
zero needs no branch."""


inlined = numba.njit(nogil=True, cache=True, fastmath=True, error_model="numpy", inline="always")
"""As `compiled`, for functions that take arrays: a call would copy their descriptors."""


@compiled
def dot(a, b):
    """Dot product."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@compiled
def unit(a):
    """The vector at length 1."""
    scale = np.float32(1) / np.sqrt(dot(a, a) + _TINY)
    return a[0] * scale, a[1] * scale, a[2] * scale


@compiled
def plus(a, b, factor):
    """a + factor b."""
    return a[0] + factor * b[0], a[1] + factor * b[1], a[2] + factor * b[2]


@compiled
def scaled(a, factor):
    """factor a."""
    return a[0] * factor, a[1] * factor, a[2] * factor


@inlined
def row_of(values, index):
    """Row of an array (n, 3)."""
    return values[index, 0], values[index, 1], values[index, 2]


@inlined
def between(values, corners, weights):
    """Weighted mean of three rows of an array (n, 3)."""
    a, b, c = corners
    wa, wb, wc = weights
    return (
        wa * values[a, 0] + wb * values[b, 0] + wc * values[c, 0],
        wa * values[a, 1] + wb * values[b, 1] + wc * values[c, 1],
        wa * values[a, 2] + wb * values[b, 2] + wc * values[c, 2],
    )


@compiled
def clamped(value):
    """Between 0 and 1."""
    return min(max(value, np.float32(0)), np.float32(1))
