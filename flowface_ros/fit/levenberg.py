"""Levenberg-Marquardt inside a box, with residual scale that shrinks as the fit gets better."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
_LEAST_DAMPING = 1e-12
_FAST_CONVERGENCE = 0.1
"""Steps whose gain shrinks by more than this go on to do so."""
_LINEAR = 0.05
"""Share of the expected gain by which the gain may differ where the Jacobian is hardly changed."""
_AS_STATED = 1.5
"""Residuals that are larger than their sigmas by less than this are left to the robust loss."""
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
    """The estimate of least energy near start, the normal equations there, and a report.

    Hessian and weights are those of the last linearisation, a small step before the estimate; the
    gradient is carried over that step, as its push against the bounds tells where they cut.

    While residuals are larger than their sigmas say, sigmas are multiplied by a scale taken from
    the median residual, so that the robust loss sees an early, coarse fit as such and not as
    outliers; the scale never grows again. `start` must lie in the box.
    """
    here = _At(start, *problem.squared_residuals(start))
    scale, last_gain, damping = np.inf, np.inf, _FIRST_DAMPING
    for iteration in range(1, max_iterations + 1):  # noqa: B007
        last_scale = scale
        settled, scale = _next_scale(here.squared, scale)
        equations = problem.linearise(here.estimate, here.squared, scale)
        there, after, gain, damping = _descend(problem, here, equations, damping, tolerance)
        left = _gain_left(gain, last_gain) if scale == last_scale else gain
        here, last_gain, damping = there or here, gain, max(damping * _DAMPING_DOWN, _LEAST_DAMPING)
        if (there is None and gain >= tolerance) or (settled and left < tolerance):
            stop = Stop.STALLED if there is None and gain >= tolerance else Stop.CONVERGED
            break
        if settled and _as_expected(equations.energy - after.energy, gain):
            last = _polish(problem, here, equations, tolerance)
            if last is not None:
                (here, after, gain), stop = last, Stop.CONVERGED
                break
    else:
        stop = Stop.ITERATIONS
    if np.isnan(here.squared).all():
        stop = Stop.BEHIND
    return here.estimate, after, Report(iteration, after.energy, scale, gain, stop)


@dataclass(frozen=True, eq=False)
class _At:
    """An estimate, its residuals (K,), and how many points are behind their camera."""

    estimate: Estimate
    squared: Array
    behind: int


def _descend(
    problem: Problem, here: _At, equations: NormalEquations, damping: float, tolerance: float
) -> tuple[_At | None, NormalEquations, float, float]:
    """A step that lowers the energy: where it leads (None if there is none), the equations there,
    the gain that was expected, and the damping that it took."""
    room = problem.room(here.estimate)
    while True:
        step = bounded_step(equations.hessian, equations.gradient, *room, damping)
        gain = -float(equations.gradient @ step + 0.5 * step @ equations.hessian @ step)
        trial = problem.moved(here.estimate, step)
        there = _At(trial, *problem.squared_residuals(trial))
        energy = problem.energy(there.squared, equations.scale, trial)
        if gain >= 0 and energy <= equations.energy and there.behind <= here.behind:
            return there, _after(equations, step, there, energy), gain, damping
        damping *= _DAMPING_UP
        if damping > _WORST_DAMPING or 0 <= gain < tolerance:
            return None, equations, gain, damping


def _after(equations: NormalEquations, step: Array, there: _At, energy: float) -> NormalEquations:
    """The equations where a step leads, as their own Hessian has the gradient there."""
    gradient = equations.gradient + equations.hessian @ step
    return replace(equations, gradient=gradient, squared=there.squared, energy=float(energy))


def _as_expected(found: float, gain: float) -> bool:
    """Whether the energy fell as the linear model said, so that its Jacobian still holds."""
    return abs(found - gain) < _LINEAR * gain


def _polish(
    problem: Problem, here: _At, equations: NormalEquations, tolerance: float
) -> tuple[_At, NormalEquations, float] | None:
    """The last step, with the last Jacobian: a point within `tolerance` of the least energy, the
    equations there, and what the step was expected to gain; None when it is farther than that."""
    if problem.focal_camera:
        return None
    equations = problem.relinearise(equations, here.estimate, here.squared)
    room = problem.room(here.estimate)
    step = bounded_step(equations.hessian, equations.gradient, *room, 0.0)
    gain = -float(equations.gradient @ step + 0.5 * step @ equations.hessian @ step)
    if not 0 <= gain < tolerance:
        return None
    trial = problem.moved(here.estimate, step)
    there = _At(trial, *problem.squared_residuals(trial))
    energy = problem.energy(there.squared, equations.scale, trial)
    if energy > equations.energy or there.behind > here.behind:
        return here, equations, gain
    return there, _after(equations, step, there, energy), gain


def _gain_left(gain: float, last_gain: float) -> float:
    """What the next step can be expected to gain, from how fast steps shrink."""
    ratio = gain / last_gain
    return gain * ratio if ratio < _FAST_CONVERGENCE else gain


def _next_scale(squared: Array, scale: float) -> tuple[bool, float]:
    """Whether the scale has settled, and the next one, at least 1 and never above the last."""
    found = min(scale, residual_scale(squared))
    found = found if found > _AS_STATED else 1.0
    return found > _SETTLED * scale or found == 1.0, found


def bounded_step(hessian: Array, gradient: Array, low: Array, high: Array, damping: float) -> Array:
    """argmin of gradient^T s + s^T (hessian + damping diag(hessian)) s / 2 with low <= s <= high.

    Primal-dual active set; if it does not settle, a feasible step that may fall short.
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
        inner, outer = np.flatnonzero(free), np.flatnonzero(~free)
        rows = damped[inner]
        right = -gradient[inner] - rows[:, outer] @ new[outer]
        new[inner] = _solve(rows[:, inner], right)
        force = np.where(free, 0.0, -(gradient + damped @ new))
        if np.array_equal(new, step):
            return np.clip(step, low, high)
        step = new
    return _clamped_step(damped, gradient, low, high)


def _clamped_step(damped: Array, gradient: Array, low: Array, high: Array) -> Array:
    """A feasible step, not the best: entries that would leave the box are held at its side."""
    step, free = np.zeros_like(gradient), np.ones(len(gradient), bool)
    while free.any():
        right = -gradient[free] - damped[np.ix_(free, ~free)] @ step[~free]
        step[free] = _solve(damped[np.ix_(free, free)], right)
        outside = free & ((step < low) | (step > high))
        if not outside.any():
            break
        step = np.clip(step, low, high)
        free &= ~outside
    return step


def _solve(matrix: Array, right: Array) -> Array:
    if not len(right):
        return right
    _, solution, info = dposv(matrix, right)
    if info:
        solution = np.linalg.lstsq(matrix, right, rcond=None)[0]
    return solution
