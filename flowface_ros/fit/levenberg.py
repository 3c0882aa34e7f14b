"""Levenberg-Marquardt inside a box, with residual scale that shrinks as the fit gets better."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dposv

from flowface_ros.fit.problem import Estimate, NormalEquations, Problem
from flowface_ros.fit.robust import residual_scale

Array = NDArray[np.float64]

_FIRST_DAMPING = 1e-4
"""Of the Hessian's diagonal; a start near the solution takes whole steps."""
_DAMPING_UP, _DAMPING_DOWN = 10.0, 0.1
_WORST_DAMPING = 1e8
"""Steps are below rounding by then: there is no descent left."""
_SETTLED = 0.98
"""The residual scale has settled when it shrinks by less than this factor."""
_ACTIVE_SET_PASSES = 12
"""Of the box-bounded linear solution; three are usual."""


class Stop(Enum):
    """Why the solver stopped."""

    CONVERGED = "converged"
    ITERATIONS = "iteration limit"
    STALLED = "no descent"
    BEHIND = "behind the cameras"


@dataclass(frozen=True)
class Report:
    """How a fit went.

    iterations: Jacobians computed. energy: -log posterior up to a constant. residual_scale: how
    much larger residuals are than their sigmas say, at least 1. gain: expected decrease of the
    energy in the last step.
    """

    iterations: int
    energy: float
    residual_scale: float
    gain: float
    stop: Stop


def minimise(
    problem: Problem, start: Estimate, max_iterations: int, tolerance: float
) -> tuple[Estimate, NormalEquations, Report]:
    """The estimate of least energy near start, the last normal equations, and a report.

    While residuals are larger than their sigmas say, sigmas are multiplied by a scale taken from
    the median residual, so that the robust loss sees an early, coarse fit as such and not as
    outliers; the scale never grows again. `start` must lie in the box.
    """
    estimate = start
    squared, behind = problem.squared_residuals(estimate)
    scale, damping, stop = np.inf, _FIRST_DAMPING, Stop.ITERATIONS
    equations, iterations = None, 0
    while iterations < max_iterations:
        settled, scale = _next_scale(squared, scale)
        equations = problem.linearise(estimate, squared, scale)
        iterations += 1
        room = problem.room(estimate)
        while True:
            step = bounded_step(equations.hessian, equations.gradient, *room, damping)
            gain = -equations.gradient @ step - 0.5 * step @ equations.hessian @ step
            trial = problem.moved(estimate, step)
            trial_squared, trial_behind = problem.squared_residuals(trial)
            energy = problem.energy(trial_squared, scale, trial)
            if np.isfinite(energy) and energy <= equations.energy and trial_behind <= behind:
                break
            damping *= _DAMPING_UP
            if damping > _WORST_DAMPING or abs(gain) < tolerance:
                trial, trial_squared, energy = estimate, squared, equations.energy
                stop = Stop.CONVERGED if abs(gain) < tolerance else Stop.STALLED
                break
        estimate, squared, behind = trial, trial_squared, min(behind, trial_behind)
        damping = max(damping * _DAMPING_DOWN, 1e-12)
        if stop is Stop.STALLED or (gain < tolerance and settled):
            stop = Stop.CONVERGED if stop is not Stop.STALLED else stop
            break
        stop = Stop.ITERATIONS
    assert equations is not None
    if behind and np.isnan(squared).all():
        stop = Stop.BEHIND
    return estimate, equations, Report(iterations, float(energy), float(scale), float(gain), stop)


def _next_scale(squared: Array, scale: float) -> tuple[bool, float]:
    """Whether the scale has settled, and the next one, at least 1 and never above the last."""
    found = max(1.0, min(scale, residual_scale(squared)))
    return found > _SETTLED * scale or found == 1.0, found


def bounded_step(hessian: Array, gradient: Array, low: Array, high: Array, damping: float) -> Array:
    """argmin of gradient^T s + s^T (hessian + damping diag(hessian)) s / 2 with low <= s <= high.

    Primal-dual active set; if it does not settle, the last step is cut to the box, which
    Levenberg-Marquardt can still accept or refuse.
    """
    diagonal = np.diagonal(hessian)
    damped = hessian + np.diag(damping * np.maximum(diagonal, 1e-12 * diagonal.max()))
    step, force = _solve(damped, -gradient), np.zeros_like(gradient)
    if np.all(step >= low) and np.all(step <= high):
        return step
    for _ in range(_ACTIVE_SET_PASSES):
        # force is the multiplier: the bound's push against a step beyond it
        below = step + force / np.diagonal(damped) < low
        above = step + force / np.diagonal(damped) > high
        free = ~(below | above)
        new = np.where(below, low, np.where(above, high, 0.0))
        right = -gradient[free] - damped[np.ix_(free, ~free)] @ new[~free]
        new[free] = _solve(damped[np.ix_(free, free)], right)
        force = np.where(free, 0.0, -(gradient + damped @ new))
        if np.array_equal(new, step):
            break
        step = new
    return np.clip(step, low, high)


def _solve(matrix: Array, right: Array) -> Array:
    if not len(right):
        return right
    _, solution, info = dposv(matrix, right)
    if info:
        solution = np.linalg.lstsq(matrix, right, rcond=None)[0]
    return solution
