"""What an aligner's steady errors leave in a head: a bias that no frame averages out.

An aligner that does not quite know where a place on this person's face is, is wrong about it in all
views alike and for as long as it looks. Such an error is a displacement d_v over the head's surface
and moves the solution by H^-1 t c sum_v B_v^T M_v d_v, with H of the observations of one moment and
of what is known of any face: motion and keyframes add frames, but these repeat d. With d made of
modes of unit variance, d_v = D_v a, the solution's covariance is

    F F^T,   F = t c H^-1 sum_v B_v^T M_v D_v

What each view is wrong about on its own is the same with M_v of that view alone, added up over the
views; it grows with the angle from which the view sees the face.

It is added to the covariance of the result, and not to what the motion filter takes for this
moment's error. A fit whose unknowns hold the shape follows d with it: keyframes take the covariance
of the force t c sum_v B_v^T M_v d_v on all unknowns. There d may also be what another shape would
do, less its shift, turn and scale: one view tells a head's size, and so its depth, by nothing but
such proportions. Displacements are smooth: a part of the points tells it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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
from flowface_ros.head.state import HeadState, all_unknowns, full_covariance, vector_size
from flowface_ros.head.surface import SurfacePoints
from flowface_ros.rigid import rotation_from_rotvec

Array = NDArray[np.float64]

_POINTS = 120
"""Of the surface that are followed: two centimetres apart, less than errors are alike."""
_KEPT_VARIANCE = 0.95
"""Of the field that its modes hold."""
UPPER = np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])
"""Where a symmetric matrix's entries are in xx, xy, xz, yy, yz, zz."""


@dataclass(frozen=True, eq=False)
class Steady:
    """What steady errors do to a solution.

    covariance: (18 + E + S squared) of its error with the shape held. meat: (n, n) of the energy's
    gradient by the unknowns that were solved for.
    """

    covariance: Array
    meat: Array

    def added(self, problem: Problem, information: Array) -> Array:
        """(18 + E + S squared) of the solution's error, given its Hessian (n, n)."""
        n = problem.unknowns.size
        if not len(problem.unknowns.shape):
            return self.covariance
        half = np.linalg.solve(information[:n, :n], self.meat)
        moved = np.linalg.solve(information[:n, :n], half.T)
        return full_covariance(problem.model, problem.unknowns, 0.5 * (moved + moved.T))


@dataclass(frozen=True, eq=False)
class _Seen:
    """by_view: (C, m, 3, 3) information of the points. jacobian: (m, 3, n) of the unknowns, head:
    (3, 3) its axes in the rig. factor: t c, and points for each that is followed."""

    by_view: Array
    jacobian: Array
    head: Array
    factor: float


class SteadyError:
    """What steady errors of some surface points do to a head."""

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
        self._shape = config.shape

    def effect(self, problem: Problem, state: HeadState, equations: NormalEquations) -> Steady:
        """At a solution."""
        seen = self._seen(problem, state, equations)
        information = seen.by_view.sum(axis=0)
        # An unknown on its bound is taken to stay there.
        low, high = self._box
        here = values(state, self._unknowns)
        free = np.flatnonzero((here > low) & (here < high))
        n, size = len(free), seen.jacobian.shape[2]
        weighted = information @ seen.jacobian
        hessian = seen.factor * (
            seen.jacobian[:, :, free].reshape(-1, n).T @ weighted[:, :, free].reshape(-1, n)
        )
        hessian[np.diag_indices(n)] += self._prior[free]
        forces = self._shared_forces(seen.head.T @ weighted, information, problem)
        sides = side_of_views(problem.views, seen.head, state.translation)
        for own, side in zip(seen.by_view, sides, strict=True):
            deviations = np.hypot(self._front, side * self._side)
            if deviations.any():
                modes = similarity_modes(self._places, own) * deviations
                pull = (seen.head.T @ own @ seen.jacobian).reshape(-1, size)
                forces = np.hstack([forces, pull.T @ modes.reshape(-1, 7)])
        forces = seen.factor * forces
        moved = cho_solve(cho_factor(hessian), forces[free])
        covariance = np.zeros((vector_size(problem.model),) * 2)
        covariance[np.ix_(free, free)] = moved @ moved.T
        if self._shape and size > self._unknowns.size:
            forces = np.hstack([forces, self._shape * self._shape_forces(seen)])
        return Steady(covariance, forces @ forces.T)

    def shape_forces(self, problem: Problem, state: HeadState, equations: NormalEquations) -> Array:
        """(n, k) t c sum_v B_v^T M_v D_v for displacements D_v as of a unit of each of the k shape
        coefficients that are solved for, less its shift, turn and scale."""
        return self._shape_forces(self._seen(problem, state, equations))

    def _shape_forces(self, seen: _Seen) -> Array:
        information = seen.by_view.sum(axis=0)
        size = seen.jacobian.shape[2]
        moves = seen.head.T @ seen.jacobian[:, :, self._unknowns.size :]
        weight = np.sqrt(np.trace(information, axis1=1, axis2=2))[:, None, None]
        similar = similarity_modes(self._places, information)
        rows = (weight * similar).reshape(-1, similar.shape[2])
        amounts = np.linalg.lstsq(rows, (weight * moves).reshape(len(rows), -1), rcond=None)[0]
        pull = (seen.head.T @ information @ seen.jacobian).reshape(-1, size)
        forces: Array = pull.T @ (moves - similar @ amounts).reshape(len(pull), -1)
        return seen.factor * forces

    def _seen(self, problem: Problem, state: HeadState, equations: NormalEquations) -> _Seen:
        return _Seen(
            self._information(problem, problem.posed(state).points, equations.scale),
            self._evaluator.positions_and_jacobian(state, problem.unknowns)[1],
            rotation_from_rotvec(state.rotation) @ rotation_from_rotvec(state.neck),
            problem.tempering * equations.curvature * self._share,
        )

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
