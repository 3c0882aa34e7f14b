"""What one fitted frame says about the poses of its cameras, the head being eliminated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.observation import Observation
from flowface_ros.fit.camera_terms import EXTRINSICS, whitened_rows
from flowface_ros.fit.frame_fit import FrameFitter
from flowface_ros.fit.priors import box, values
from flowface_ros.fit.result import FitResult
from flowface_ros.fit.views import stack_views

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FrameInformation:
    """C cameras, 6 unknowns each (left perturbation of camera_from_rig: rad, then m).

    information, meat: (6 C, 6 C) Hessian of the energy and covariance of its gradient at the
    truth. gradient: (6 C,) at the calibration. squares, counts: (C,) sum and number of normalised
    squared residuals. shift: (C, 6, 6) mean over points of the squared pixel motion per unknown.
    """

    cameras: tuple[str, ...]
    information: Array
    meat: Array
    gradient: Array
    squares: Array
    counts: Array
    shift: Array


def frame_information(
    fitter: FrameFitter, observations: Sequence[Observation], result: FitResult
) -> FrameInformation:
    """Of a frame that the fitter fitted with this result. ValueError when it has no posterior."""
    if result.posterior is None or result.unknowns is None or result.report is None:
        raise ValueError("result has no posterior")
    assert result.prior_force is not None
    views = stack_views(observations, fitter.rig)
    kept = fitter.points(views.points)
    correlation = kept.correlation
    unknowns, n = result.unknowns, result.unknowns.size
    points, jacobian = kept.evaluator.positions_and_jacobian(result.state, unknowns)
    count = len(views.cameras)
    size = n + EXTRINSICS * count
    hessian, score = np.zeros((size, size)), np.zeros((size, size))
    gradient, shift = np.zeros(size), np.zeros((count, EXTRINSICS, EXTRINSICS))
    squares, counts = np.zeros(count), np.zeros(count)
    nu, scale = fitter.config.noise.degrees_of_freedom, result.report.residual_scale
    for c in range(count):
        rows = whitened_rows(views, points, jacobian, c, nu, scale)
        own = np.r_[0:n, n + EXTRINSICS * c : n + EXTRINSICS * (c + 1)]
        flat = rows.jacobian.reshape(-1, len(own))
        gram = flat.T @ flat
        hessian[np.ix_(own, own)] += gram
        score[np.ix_(own, own)] += kept.correlation.view_covariance(
            rows.jacobian, rows.points, gram
        )
        gradient[own] -= rows.residual.reshape(-1) @ flat
        shift[c] = rows.pixel_motion
        squares[c], counts[c] = rows.squares, 2 * len(rows.points)
    t = correlation.tempering
    # The solver stops before the gradient is zero; what holds an unknown at its bound is no error.
    gradient *= t
    gradient[:n] += result.prior_force
    low, high = box(fitter.model, unknowns)
    here = values(result.state, unknowns)
    gradient[:n][(here <= low) | (here >= high)] = 0.0
    return _eliminated(
        views.cameras, n, result, t, hessian, score, gradient, (squares, counts, shift)
    )


def _eliminated(
    cameras: tuple[str, ...],
    n: int,
    result: FitResult,
    tempering: float,
    hessian: Array,
    score: Array,
    gradient: Array,
    statistics: tuple[Array, Array, Array],
) -> FrameInformation:
    posterior = result.posterior
    assert posterior is not None
    # The fit's own Hessian holds curvature, priors and bounds: take the cameras' part to its scale.
    trace = np.trace(posterior.data[:n, :n]) / np.trace(hessian[:n, :n])
    hessian = hessian * trace
    meat = tempering**2 * posterior.score_variance * score
    prior = posterior.information[:n, :n] - posterior.data[:n, :n]
    hessian[:n, :n] += prior
    meat[:n, :n] += prior
    lift = np.linalg.solve(hessian[:n, :n], hessian[:n, n:]).T
    elimination = np.concatenate([-lift, np.eye(len(hessian) - n)], axis=1)
    return FrameInformation(
        cameras,
        elimination @ hessian[:, n:],
        elimination @ meat @ elimination.T,
        elimination @ gradient,
        *statistics,
    )
