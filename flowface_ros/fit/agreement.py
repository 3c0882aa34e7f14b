"""One frame's head with the shape that all that is known of the person says.

A frame that is fitted with the shape among its unknowns takes its views' errors about the shape for
independent, though they share them: it follows what these views say of the shape too far. Around
its solution (y', s') the rest y follows the shape,

    y = y' + K (s - s'),   K = -H_yy^-1 H_ys

and so do its errors: those of y' - K s', and K times those of s.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from flowface_ros.fit.covariance import Posterior
from flowface_ros.fit.priors import ShapeBelief, box, values
from flowface_ros.fit.result import FitResult
from flowface_ros.fit.retraction import moved_head
from flowface_ros.head.model import HeadModel
from flowface_ros.head.state import full_covariance

Array = NDArray[np.float64]


def with_belief(model: HeadModel, result: FitResult, belief: ShapeBelief) -> FitResult:
    """The result with the shape at the belief's mean, as if it had been held there.

    ValueError when the shape was not solved for.
    """
    if result.unknowns is None or result.posterior is None or not len(result.unknowns.shape):
        raise ValueError("result: the shape was not among its unknowns (solve_shape=True)")
    solved, posterior = np.asarray(result.unknowns.shape), result.posterior
    unknowns = replace(result.unknowns, shape=())
    n, shape = unknowns.size, result.unknowns.slices["shape"]
    hessian = posterior.information
    follow = np.asarray(-np.linalg.solve(hessian[:n, :n], hessian[:n, shape]), np.float64)
    step = follow @ (belief.mean - result.state.shape)[solved]
    low, high = box(model, unknowns)
    here = values(result.state, unknowns)
    step = np.clip(step, np.minimum(low - here, 0.0), np.maximum(high - here, 0.0))
    state = moved_head(model, result.state, unknowns, step)
    held = Posterior(
        _without(posterior.covariance, n, shape, follow),
        hessian[:n, :n],
        posterior.data[:n, :n],
        posterior.meat[:n, :n],
        posterior.score_variance,
    )
    covariance = full_covariance(model, unknowns, held.covariance)
    rows, columns = unknowns.vector_indices(model), slice(-model.shape_count, None)
    spread = follow @ belief.covariance[solved]
    covariance[np.ix_(rows, rows)] += spread[:, solved] @ follow.T
    covariance[rows, columns] = spread
    covariance[columns, rows] = spread.T
    covariance[columns, columns] = belief.covariance
    if result.steady is not None:
        covariance += result.steady
    assert result.prior_force is not None
    return replace(
        result,
        state=replace(state, shape=np.array(belief.mean), covariance=covariance),
        unknowns=unknowns,
        posterior=held,
        prior_force=result.prior_force[:n],
    )


def _without(covariance: Array, n: int, shape: slice, follow: Array) -> Array:
    """Covariance (n, n) of y' - K s'."""
    cross = covariance[:n, shape] @ follow.T
    own = covariance[:n, :n] - cross - cross.T + follow @ covariance[shape, shape] @ follow.T
    return 0.5 * (own + own.T)
