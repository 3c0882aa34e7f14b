"""Smoothing thin-plate interpolation over a surface in space, as one constant matrix.

In three dimensions the thin-plate (biharmonic) kernel is the distance itself (Duchon 1977; Wahba,
Spline models for observational data, 1990). Affine functions of the position pass unchanged, and so
does a picture of the rigid surface under an affine camera; far from the data the answer stays near
an affine function, which for pictures of a head is the head's projection.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def thin_plate_matrix(
    sources: ArrayLike,
    targets: ArrayLike,
    smoothing: ArrayLike,
    unfolded: tuple[ArrayLike, ArrayLike] | None = None,
) -> Array:
    """Matrix (M, N) from values at N places to the smoothing spline's values at M places.

    sources: (N, 3), targets: (M, 3), metres. smoothing: (N,) or scalar >= 0, metres; the spline
    passes through a value with 0, and stays the farther from it the larger this is: it is in
    proportion to the variance of the value's error.
    unfolded: (N, D) and (M, D), other places of the same points whose distances count instead, for
    surfaces that touch where they are not connected. In any number of dimensions the kernel needs
    no more than the constant to be well posed, so the affine functions may be those of the first
    places.
    The rows sum to 1, and affine functions of the place are reproduced exactly.
    Raises ValueError for a negative smoothing, or when the sources do not span the space.
    """
    source, target = np.asarray(sources, np.float64), np.asarray(targets, np.float64)
    weights = np.broadcast_to(np.asarray(smoothing, np.float64), len(source))
    if (weights < 0).any():
        raise ValueError(f"smoothing is {weights.min()}, must be 0 or more")
    # Scaled so that both parts of the system are of order one.
    centre = source.mean(axis=0)
    size = max((source - centre).std(), np.finfo(np.float64).tiny)
    near_source, near_target = (
        (source, target) if unfolded is None else (np.asarray(p, np.float64) for p in unfolded)
    )
    affine = np.column_stack([np.ones(len(source)), (source - centre) / size])
    if np.linalg.matrix_rank(affine) < affine.shape[1]:
        raise ValueError(f"sources: {len(source)} places that do not span the space")
    count = len(source)
    system = np.zeros((count + 4, count + 4))
    system[:count, :count] = (np.diag(weights) - _distances(near_source, near_source)) / size
    system[:count, count:] = affine
    system[count:, :count] = affine.T
    unit = np.zeros((count + 4, count))
    unit[:count] = np.eye(count)
    coefficients = np.linalg.solve(system, unit)
    at_targets = np.column_stack(
        [
            -_distances(near_target, near_source) / size,
            np.ones(len(target)),
            (target - centre) / size,
        ]
    )
    return at_targets @ coefficients


def _distances(a: Array, b: Array) -> Array:
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.sqrt(np.maximum(squared, 0))
