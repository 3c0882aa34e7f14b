"""What an aligner's steady errors leave in a head: a bias that no frame averages out.

An aligner that does not quite know where a place on this person's face is, is wrong about it in all
views alike and for as long as it looks. Such an error is a displacement d_v over the head's surface
and moves the solution by H^-1 t c sum_v B_v^T M_v d_v, with H of the observations of one moment and
of what is known of any face: motion and keyframes add frames, but these repeat d. With d made of
modes of unit variance, d_v = D_v a, the solution's covariance is

    F F^T,   F = t c H^-1 sum_v B_v^T M_v D_v

What each view is wrong about on its own is the same with M_v of that view alone, added up over the
views; it grows with the angle from which the view sees the face.

It is added to the covariance of the result, and not to what the motion filter and the keyframes
take for this moment's error. Displacements are smooth: a part of the points tells it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from flowface_ros.fit.config import PriorConfig, SteadyConfig
from flowface_ros.fit.correlation import neutral_places
from flowface_ros.fit.priors import box, static_sigmas, values
from flowface_ros.fit.problem import NormalEquations, Problem
from flowface_ros.fit.views import Views
from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.model import HeadModel
from flowface_ros.head.state import HeadState, all_unknowns, vector_size
from flowface_ros.head.surface import SurfacePoints
from flowface_ros.rigid import rotation_from_rotvec

Array = NDArray[np.float64]

_POINTS = 120
"""Of the surface that are followed: two centimetres apart, less than errors are alike."""
_KEPT_VARIANCE = 0.95
"""Of the field that its modes hold."""
UPPER = np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])
"""Where a symmetric matrix's entries are in xx, xy, xz, yy, yz, zz."""


class SteadyError:
    """The covariance that steady errors of some surface points leave."""

    def __init__(
        self, model: HeadModel, points: SurfacePoints, config: SteadyConfig, priors: PriorConfig
    ) -> None:
        count = min(_POINTS, len(points))
        self._rows = np.linspace(0, len(points) - 1, count).round().astype(int)
        self._share = len(points) / count
        places = neutral_places(model, points[self._rows])
        self._evaluator = SurfaceEvaluator(model, points[self._rows])
        self._unknowns = replace(all_unknowns(model), shape=())
        self._box = box(model, self._unknowns)
        self._prior = static_sigmas(model, priors)[: self._unknowns.size] ** -2.0
        self._places = places
        self._together = np.array([*config.shift, *config.turn, config.scale])
        self._front = np.array([*(config.view_shift,) * 3, *config.view_turn, 0.0])
        self._side = np.array([0.0, 0.0, 0.0, *config.side_turn, config.side_scale])
        self._axes = np.sqrt(config.field_variance)
        self._field = field_modes(places, config.field_length)

    def covariance(self, problem: Problem, state: HeadState, equations: NormalEquations) -> Array:
        """(18 + E + S squared) of the error at a solution."""
        points = problem.posed(state).points
        by_view = self._information(problem, points, equations.scale)
        information = by_view.sum(axis=0)
        # An unknown on its bound is taken to stay there.
        low, high = self._box
        here = values(state, self._unknowns)
        free = np.flatnonzero((here > low) & (here < high))
        n = len(free)
        _, jacobian = self._evaluator.positions_and_jacobian(state, self._unknowns)
        jacobian = jacobian[:, :, free]
        weighted = information @ jacobian
        factor = problem.tempering * equations.curvature * self._share
        hessian = factor * (jacobian.reshape(-1, n).T @ weighted.reshape(-1, n))
        hessian[np.diag_indices(n)] += self._prior[free]
        head = rotation_from_rotvec(state.rotation) @ rotation_from_rotvec(state.neck)
        forces = self._shared_forces(head.T @ weighted, information, problem)
        sides = side_of_views(problem.views, head, state.translation)
        for own, side in zip(by_view, sides, strict=True):
            deviations = np.hypot(self._front, side * self._side)
            if deviations.any():
                modes = similarity_modes(self._places, own) * deviations
                pull = (head.T @ own @ jacobian).reshape(-1, n)
                forces = np.hstack([forces, pull.T @ modes.reshape(-1, 7)])
        moved = cho_solve(cho_factor(hessian), factor * forces)
        covariance = np.zeros((vector_size(problem.model),) * 2)
        covariance[np.ix_(free, free)] = moved @ moved.T
        return covariance

    def _information(self, problem: Problem, points: Array, scale: float) -> Array:
        """(C, m, 3, 3) by view."""
        each = problem.views.information_by_view(points, self._rows, problem.nu, scale)
        return each[:, :, UPPER]

    def _shared_forces(self, pull: Array, information: Array, problem: Problem) -> Array:
        """(n, modes) sum_v B_v^T M_v D_v of what all views have alike, for pull (m, 3, n) in the
        head's axes and information (m, 3, 3)."""
        n = pull.shape[2]
        modes = similarity_modes(self._places, information) * self._together
        together = pull.reshape(-1, n).T @ modes.reshape(-1, 7)
        scaled = self._field * self._sizes(problem, information)[:, None]
        field = [self._axes[a] * (pull[:, a].T @ scaled) for a in range(3) if self._axes[a]]
        return np.concatenate([together, *field], axis=1)

    def _sizes(self, problem: Problem, information: Array) -> Array:
        """Standard deviation (m) per axis that an error as large as its sigma has on the surface:
        each view adds twice the inverse of its square to the trace."""
        views = np.bincount(problem.views.row, minlength=len(problem.views.points))[self._rows]
        trace = np.trace(information, axis1=1, axis2=2)
        return np.sqrt(2 * views / np.maximum(trace, 1e-12))


def side_of_views(views: Views, head: Array, place: Array) -> Array:
    """(C,) squared sine of the angle to the left or right from which each view sees a head of
    rotation (3, 3) and place (3,)."""
    centres = -np.einsum("cij,ci->cj", views.rotation, views.translation)
    towards = (centres - place) @ head
    side: Array = towards[:, 0] ** 2 / np.square(towards).sum(axis=1)
    return side


def similarity_modes(places: Array, information: Array) -> Array:
    """(m, 3, 7): displacements of places (m, 3) by a shift along and a turn about each axis, and by
    a change of size, about the middle of what is known of them, information (m, 3, 3): a view is
    wrong about how a face is turned without being wrong about where it is."""
    weights = np.trace(information, axis1=1, axis2=2)
    arm = places - np.average(places, axis=0, weights=weights)
    shift = np.broadcast_to(np.eye(3), (len(places), 3, 3))
    turn = np.stack([np.cross(axis, arm) for axis in np.eye(3)], axis=-1)
    return np.concatenate([shift, turn, arm[:, :, None]], axis=2)


def field_modes(places: Array, length: float) -> Array:
    """(m, q): modes @ modes^T is the covariance of a smooth field of unit variance."""
    squared = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    variance, vectors = np.linalg.eigh(np.exp(-0.5 * squared / length**2))
    variance, vectors = np.maximum(variance[::-1], 0.0), vectors[:, ::-1]
    count = int(np.searchsorted(np.cumsum(variance) / variance.sum(), _KEPT_VARIANCE)) + 1
    return vectors[:, :count] * np.sqrt(variance[:count])
