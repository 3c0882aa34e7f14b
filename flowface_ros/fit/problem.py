"""The energy of one moment's observations and priors, and its normal equations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dsyrk

from flowface_ros.fit import kernels, robust
from flowface_ros.fit.camera_terms import zoom_terms
from flowface_ros.fit.priors import PriorTerm, StatePrior, box, prior_term, values
from flowface_ros.fit.retraction import moved_head
from flowface_ros.fit.second_order import mean_pulls
from flowface_ros.fit.views import Views
from flowface_ros.head.evaluator import Posed, SurfaceEvaluator
from flowface_ros.head.model import HeadModel
from flowface_ros.head.state import HeadState, Unknowns

Array = NDArray[np.float64]

_LEAST_CURVATURE = 0.2
"""Of the loss over its weight: outliers alone would make the Hessian vanish."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """What is solved for: the head, and the logarithm of one camera's focal length over nominal."""

    state: HeadState
    log_zoom: float = 0.0


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """A quadratic model of the energy around an estimate.

    hessian: (n, n), gradient: (n,), energy: at the estimate.
    information: (N, 6) M_v of the points, robust weights and scale included.
    whitened: (N, r, n) A with A^T A = sum_v B_v^T M_v B_v; r is the problem's rank.
    prior: (n, n) the priors' share of the hessian.
    curvature: factor on A^T A in the hessian: mean curvature of the loss over mean weight.
    squared: (K,) residuals r^T W r (no scale), NaN behind a camera. scale: of the residuals.
    sums: of the loss over them.
    """

    hessian: Array
    gradient: Array
    energy: float
    information: Array
    whitened: Array
    prior: Array
    curvature: float
    squared: Array
    scale: float
    sums: robust.Sums


@dataclass(frozen=True, eq=False)
class Problem:
    """Energy of views and priors over the unknowns.

    tempering: effective number of points over their number, in (0, 1]: the data term is multiplied
    by it, so that correlated errors do not outvote the priors.
    focal_camera: name of the camera whose focal length is the last unknown, or "".
    buffers: memory for Jacobians by their shape, which problems may share one after the other.
    """

    model: HeadModel
    evaluator: SurfaceEvaluator
    views: Views
    unknowns: Unknowns
    priors: Sequence[StatePrior]
    nu: float
    tempering: float = 1.0
    focal_camera: str = ""
    focal_sigma: float = 1.0
    buffers: dict[tuple[int, ...], tuple[Array, Array]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return self.unknowns.size + bool(self.focal_camera)

    def squared_residuals(self, estimate: Estimate) -> tuple[Array, int]:
        """r^T W r (K,) and how many points are behind their camera; those of the last estimate
        are kept."""
        last = self._kept.get("residuals")
        if last is None or last[0] is not estimate:
            found = self.zoomed(estimate).squared_residuals(self.posed(estimate.state).points)
            last = self._kept["residuals"] = (estimate, found)
        return last[1]

    def energy(self, squared: Array, scale: float, estimate: Estimate) -> float:
        """-log posterior, up to a constant, at residuals (K,) of the estimate."""
        energy = self.tempering * self._sums(squared, scale).loss
        energy += sum(term.energy(estimate.state) for term in self._terms)
        if self.focal_camera:
            energy += 0.5 * (estimate.log_zoom / self.focal_sigma) ** 2
        return energy

    def linearise(self, estimate: Estimate, squared: Array, scale: float) -> NormalEquations:
        """Gauss-Newton equations at an estimate with residuals (K,)."""
        n, size = self.unknowns.size, self.size
        views = self.zoomed(estimate)
        jacobian, whitened = self._scratch
        posed = self.posed(estimate.state)
        points = posed.points
        self.evaluator.jacobian(posed, self.unknowns, out=jacobian)
        information, vector = views.vertex_information(points, self.nu, scale)
        kernels.whiten(information, jacobian, whitened)
        sums = self._sums(squared, scale)
        curvature = float(np.clip(sums.curvature / sums.weight, _LEAST_CURVATURE, 1.0))
        hessian, gradient = np.zeros((size, size)), np.zeros(size)
        factor = curvature * self.tempering
        hessian[:n, :n] = gram(whitened) * factor
        gradient[:n] = -self.tempering * (vector.reshape(-1) @ jacobian.reshape(-1, n))
        if self.focal_camera:
            cross, square, score = zoom_terms(views, points, self.focal_camera, self.nu, scale)
            hessian[n, :n] = hessian[:n, n] = factor * (cross.reshape(-1) @ jacobian.reshape(-1, n))
            hessian[n, n] = factor * square
            gradient[n] = -self.tempering * score
        prior, energy = self._add_priors(gradient, estimate)
        hessian += prior
        energy += self.tempering * sums.loss
        return NormalEquations(
            hessian, gradient, energy, information, whitened, prior, curvature, squared, scale, sums
        )

    def relinearise(
        self, equations: NormalEquations, estimate: Estimate, squared: Array
    ) -> NormalEquations:
        """The equations nearby, at residuals (K,): the gradient is new but for the Jacobian, which
        is the last linearisation's, and so is the Hessian."""
        n, scale = self.unknowns.size, equations.scale
        points = self.posed(estimate.state).points
        vector = self.views.vertex_vector(points, self.nu, scale)
        sums = self._sums(squared, scale)
        gradient = np.zeros(self.size)
        jacobian, _ = self._scratch
        gradient[:n] = -self.tempering * (vector.reshape(-1) @ jacobian.reshape(-1, n))
        energy = self.tempering * sums.loss
        for term in self._terms:
            force, part = term.force(estimate.state)
            gradient[term.rows] += force
            energy += part
        return replace(equations, gradient=gradient, energy=energy, squared=squared, sums=sums)

    def prior_force(self, estimate: Estimate) -> Array:
        """Gradient (size,) of the priors' energy."""
        force = np.zeros(self.size)
        for term in self._terms:
            force[term.rows] += term.force(estimate.state)[0]
        if self.focal_camera:
            force[-1] = estimate.log_zoom / self.focal_sigma**2
        return force

    def mean_pulls(
        self, estimate: Estimate, equations: NormalEquations, covariance: Array, gain: Array
    ) -> tuple[Array, Array]:
        """(n,) each, see `second_order.mean_pulls`, for a covariance and a gain (n, n)."""
        points, (jacobian, _) = self.posed(estimate.state).points, self._scratch
        factor = self.tempering * equations.curvature * equations.sums.weight / equations.scale**2
        bend, slope = mean_pulls(self.zoomed(estimate), points, jacobian, covariance, gain)
        return factor * bend, factor * slope

    def moved(self, estimate: Estimate, step: Array) -> Estimate:
        """The estimate after a step (size,)."""
        n = self.unknowns.size
        state = moved_head(self.model, estimate.state, self.unknowns, step[:n])
        return Estimate(state, estimate.log_zoom + float(step[n:].sum()))

    def inside_box(self, estimate: Estimate) -> Estimate:
        """The estimate, brought onto the side of the box where it was outside."""
        low, high = self._box
        here = values(estimate.state, self.unknowns)
        step = np.clip(here, low, high) - here
        return (
            self.moved(estimate, np.append(step, np.zeros(self.size - len(here))))
            if step.any()
            else estimate
        )

    def room(self, estimate: Estimate) -> tuple[Array, Array]:
        """Lowest (<= 0) and highest (>= 0) step (size,) that stays inside the box."""
        low, high = self._box
        here = values(estimate.state, self.unknowns)
        low, high = np.minimum(low - here, 0.0), np.maximum(high - here, 0.0)
        extra = np.full(self.size - self.unknowns.size, np.inf)
        return np.concatenate([low, -extra]), np.concatenate([high, extra])

    def zoomed(self, estimate: Estimate) -> Views:
        """The views with the estimate's focal length."""
        if not self.focal_camera:
            return self.views
        return self.views.with_zoom(self.focal_camera, float(np.exp(estimate.log_zoom)))

    def with_views(self, views: Views) -> Problem:
        return replace(self, views=views)

    def posed(self, state: HeadState) -> Posed:
        """The surface of a state; that of the last one is kept."""
        last = self._kept.get("posed")
        if last is None or last.state is not state:
            last = self._kept["posed"] = self.evaluator.posed(state)
        return last

    def _sums(self, squared: Array, scale: float) -> robust.Sums:
        """Of the loss over residuals (K,); those of the last ones are kept."""
        last = self._kept.get("sums")
        if last is None or last[0] is not squared or last[1] != scale:
            last = self._kept["sums"] = (squared, scale, robust.sums(squared, scale, self.nu))
        return last[2]

    @cached_property
    def _kept(self) -> dict[str, Any]:
        """The last results, by what they are."""
        return {}

    @cached_property
    def _scratch(self) -> tuple[Array, Array]:
        """Jacobian (N, 3, n) and whitened Jacobian (N, rank, n): scratch memory."""
        count, n = len(self.evaluator), self.unknowns.size
        shape = (count, self.rank, n)
        if shape not in self.buffers:
            self.buffers[shape] = (np.empty((count, 3, n)), np.empty(shape))
        return self.buffers[shape]

    @property
    def rank(self) -> int:
        """Of what is known of a point: one view says nothing of its depth."""
        return 2 if len(self.views.cameras) == 1 else 3

    @cached_property
    def _terms(self) -> tuple[PriorTerm, ...]:
        terms = (prior_term(self.model, prior, self.unknowns) for prior in self.priors)
        return tuple(term for term in terms if len(term.rows))

    @cached_property
    def _box(self) -> tuple[Array, Array]:
        return box(self.model, self.unknowns)

    def _add_priors(self, gradient: Array, estimate: Estimate) -> tuple[Array, float]:
        """The priors' Hessian (size, size) and energy; adds their gradient."""
        n = self.unknowns.size
        hessian, energy = np.zeros((self.size, self.size)), 0.0
        for term in self._terms:
            matrix, force, part = term.equations(estimate.state)
            hessian[term.block] += matrix
            gradient[term.rows] += force
            energy += part
        if self.focal_camera:
            hessian[n, n] += self.focal_sigma**-2
            gradient[n] += estimate.log_zoom / self.focal_sigma**2
            energy += 0.5 * (estimate.log_zoom / self.focal_sigma) ** 2
        return hessian, energy


def gram(matrix: Array) -> Array:
    """A^T A (n, n) of A (..., n), by a symmetric product."""
    flat = matrix.reshape(-1, matrix.shape[-1])
    upper = dsyrk(1.0, flat.T)
    full = upper + upper.T
    np.fill_diagonal(full, np.diagonal(upper))
    return full
