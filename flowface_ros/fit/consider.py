"""What an uncertain shape that is held fixed adds to a fit's covariance (a consider analysis)."""

from __future__ import annotations

from functools import lru_cache
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from flowface_ros.fit import kernels
from flowface_ros.fit.covariance import Posterior
from flowface_ros.fit.priors import ShapeBelief
from flowface_ros.fit.problem import NormalEquations, Problem
from flowface_ros.head.model import HeadModel
from flowface_ros.head.state import HeadState, Unknowns

Array = NDArray[np.float64]

_motions: WeakKeyDictionary[HeadModel, Array] = WeakKeyDictionary()
"""Summed squares of each shape coefficient's displacements, computed once per model."""
_CONSIDERED = 0.9
"""Share of the surface's variance that is followed, and scaled up for the rest, whose coefficients
are many."""


def with_fixed_shape(
    problem: Problem,
    state: HeadState,
    equations: NormalEquations,
    known: Posterior,
    belief: ShapeBelief,
    covariance: Array,
) -> Array:
    """The full covariance (18 + E + S squared) with the shape's belief and what follows from it.

    A shape error d moves the solution by K d with K = -H^-1 t c A^T A_s.
    """
    n, shapes = problem.unknowns.size, problem.model.shape_count
    if not shapes or not np.any(belief.covariance):
        return covariance
    seen, posed = _seen(problem.model, belief), problem.posed(state)
    jacobian = problem.evaluator.jacobian(posed, _shape_alone(tuple(seen.tolist())))
    whitened = np.empty((len(jacobian), problem.rank, len(seen)))
    kernels.whiten(equations.information, jacobian, whitened)
    cross = equations.whitened.reshape(-1, n).T @ whitened.reshape(-1, len(seen))
    cross *= problem.tempering * equations.curvature
    gain = -np.linalg.solve(known.information[:n, :n], cross)
    rows = problem.unknowns.vector_indices(problem.model)
    total = covariance.copy()
    total[np.ix_(rows, rows)] += gain @ belief.covariance[np.ix_(seen, seen)] @ gain.T / _CONSIDERED
    total[rows, -shapes:] = gain @ belief.covariance[seen]
    total[-shapes:, rows] = total[rows, -shapes:].T
    total[-shapes:, -shapes:] = belief.covariance
    return total


@lru_cache(maxsize=32)
def _shape_alone(indices: tuple[int, ...]) -> Unknowns:
    """The same object for the same coefficients: the evaluator keeps their columns."""
    return Unknowns(pose=False, shape=indices)


def _seen(model: HeadModel, belief: ShapeBelief) -> NDArray[np.intp]:
    """Shape coefficients whose uncertainty moves the surface most: nearly all of its variance."""
    if model not in _motions:
        _motions[model] = np.square(model.shape_basis, dtype=np.float64).sum(axis=(0, 1))
    motion = _motions[model] * np.diagonal(belief.covariance)
    order = np.argsort(motion)[::-1]
    share = np.cumsum(motion[order]) / motion.sum()
    return np.sort(order[: np.searchsorted(share, _CONSIDERED) + 1])
