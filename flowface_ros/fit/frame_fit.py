"""Fit one head to the observations of all views of one moment."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.observation import Observation
from flowface_ros.camera.rig import Rig
from flowface_ros.fit import robust
from flowface_ros.fit.config import FitConfig
from flowface_ros.fit.consider import with_fixed_shape
from flowface_ros.fit.correlation import Correlation, make_correlation
from flowface_ros.fit.covariance import Posterior, posterior
from flowface_ros.fit.initial import coarse_variance, first_pose
from flowface_ros.fit.levenberg import Report, Stop, minimise
from flowface_ros.fit.priors import ShapeBelief, StatePrior, static_prior, unit_shape_belief
from flowface_ros.fit.problem import Estimate, NormalEquations, Problem
from flowface_ros.fit.result import FitResult, FitStatus, inlier_share, view_statistics
from flowface_ros.fit.steady import SteadyError
from flowface_ros.fit.views import Views, check_rig, stack_views
from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.model import HeadModel
from flowface_ros.head.state import (
    HeadState,
    Unknowns,
    all_unknowns,
    check_state,
    full_covariance,
    neutral_state,
)
from flowface_ros.head.surface import SurfacePoints

Array = NDArray[np.float64]

_KEPT_POINT_SETS = 8
"""Of the latest sets of surface points, whose bases are kept: one for each mixture of aligners."""
_COARSE_SHAPES = 10
"""Shape coefficients of the second stage; they hold the head's size and proportions."""
_COARSE_TOLERANCE = 1.0
"""Of the stages before the last: their result is only a start."""
_FAR = 3.0
"""A start whose residuals are larger than their sigmas by more than this is made anew."""


@dataclass(frozen=True, eq=False)
class _PointSet:
    evaluator: SurfaceEvaluator
    correlation: Correlation
    steady: SteadyError | None
    buffers: dict[tuple[int, ...], tuple[Array, Array]] = field(default_factory=dict)


class FrameFitter:
    """Fits heads of one model seen by one rig.

    It keeps what depends on the model and the points alone, so make one and use it for all frames;
    it remembers nothing of the people. Not for use by several threads at once.
    """

    def __init__(self, model: HeadModel, rig: Rig, config: FitConfig | None = None) -> None:
        """ValueError when two cameras stand in the same place and look the same way, or the
        configuration names a camera that is not there."""
        self.model, self.config = model, config or FitConfig()
        self.rig = rig
        count = self.config.shape_count
        shapes = np.arange(model.shape_count if count is None else min(count, model.shape_count))
        self.everything = replace(all_unknowns(model), shape=shapes)
        self.tracking = replace(self.everything, shape=())
        self._pose = Unknowns()
        self._coarse = Unknowns(jaw=True, neck=True, shape=shapes[:_COARSE_SHAPES])
        self._coarse_fixed = Unknowns(jaw=True, neck=True)
        self._point_sets: OrderedDict[bytes, _PointSet] = OrderedDict()

    @property
    def rig(self) -> Rig:
        """The cameras; may be set anew at any time, for cameras that move."""
        return self._rig

    @rig.setter
    def rig(self, rig: Rig) -> None:
        check_rig(rig)
        if self.config.unknown_focal and self.config.unknown_focal not in rig.names:
            name, names = self.config.unknown_focal, ", ".join(rig.names)
            raise ValueError(f"unknown_focal is {name!r}; the rig has {names}")
        self._rig = rig

    def fit(
        self,
        observations: Sequence[Observation],
        prior: StatePrior | None = None,
        *,
        start: HeadState | None = None,
        shape: ShapeBelief | None = None,
        solve_shape: bool | None = None,
    ) -> FitResult:
        """The head that explains the observations, with its covariance.

        observations: of one moment; any number per camera.
        prior: what earlier frames say; it takes the place of the static priors of joints and
            expression. The fit starts at its mean.
        start: where to start, without any weight. Without a prior and a start the first pose is
            found from the observations.
        shape: what is known of the person's shape; the head's unit Gaussian when None.
        solve_shape: whether shape coefficients are unknowns; by default without a prior. When they
            are not, they stay at the belief's mean, and its covariance enters the result's.
        Raises ValueError for observations that break their contract and for cameras not in the rig.
        """
        solve_shape = prior is None if solve_shape is None else solve_shape
        belief = shape or unit_shape_belief(self.model)
        begin = start or (prior.mean if prior else None)
        if begin is not None:
            check_state(self.model, begin)
            begin = begin if solve_shape else replace(begin, shape=belief.mean)
        guess = begin or replace(neutral_state(self.model), shape=np.array(belief.mean))
        if not observations:
            return FitResult(FitStatus.NO_VIEWS, _bare(guess))
        views = stack_views(observations, self._rig)
        if len(views) < self.config.accept.min_points:
            return FitResult(FitStatus.TOO_FEW_POINTS, _bare(guess))
        problem = self.problem(views, prior, belief, solve_shape)
        at = None if begin is None else Estimate(begin)
        if at is None or not self._near(problem, at):
            at = self._better(problem, at, self._first(problem, guess, solve_shape))
        if at is None:
            return FitResult(FitStatus.NO_START, _bare(guess))
        return self._finish(problem, at, belief, warm=start is not None or prior is not None)

    def points(self, points: SurfacePoints) -> _PointSet:
        """The evaluator and the correlation of surface points, kept for the sets used last."""
        key = points.triangle.tobytes() + np.asarray(points.barycentric).tobytes()
        kept = self._point_sets.get(key)
        if kept is None:
            noise, steady = self.config.noise, None
            if noise.steady is not None:
                steady = SteadyError(self.model, points, noise.steady, self.config.priors)
            correlation = make_correlation(self.model, points, noise)
            kept = _PointSet(SurfaceEvaluator(self.model, points), correlation, steady)
            self._point_sets[key] = kept
            if len(self._point_sets) > _KEPT_POINT_SETS:
                self._point_sets.popitem(last=False)
        self._point_sets.move_to_end(key)
        return kept

    def problem(
        self, views: Views, prior: StatePrior | None, belief: ShapeBelief, solve_shape: bool
    ) -> Problem:
        """The energy that `fit` minimises."""
        fixed = static_prior(self.model, self.config.priors, belief)
        if prior is not None:
            fixed = _shape_only(self.model, fixed)
        points = self.points(views.points)
        focal = self.config.unknown_focal
        return Problem(
            model=self.model,
            evaluator=points.evaluator,
            views=views,
            unknowns=self.everything if solve_shape else self.tracking,
            priors=[fixed] if prior is None else [fixed, prior],
            nu=self.config.noise.degrees_of_freedom,
            tempering=points.correlation.tempering,
            focal_camera=focal if focal in views.cameras else "",
            focal_sigma=self.config.focal_sigma,
            buffers=points.buffers,
        )

    def _near(self, problem: Problem, estimate: Estimate) -> bool:
        """Whether a start explains enough of the observations to be refined from."""
        squared, behind = problem.squared_residuals(estimate)
        if behind or robust.residual_scale(squared) < _FAR:
            return not behind
        softened = problem.views.softened(coarse_variance(problem.views, estimate.state))
        squared, _ = problem.with_views(softened).squared_residuals(estimate)
        return robust.residual_scale(squared) < _FAR

    def _first(self, problem: Problem, guess: HeadState, solve_shape: bool) -> Estimate | None:
        """Coarse to fine from nothing: pose, then proportions and jaw."""
        state = first_pose(self.model, problem.evaluator, problem.views, guess, problem.nu)
        if state is None:
            return None
        static = [static_prior(self.model, self.config.priors, _belief_at(self.model, guess))]
        coarse = self._coarse if solve_shape else self._coarse_fixed
        for unknowns in (self._pose, coarse):
            softened = problem.views.softened(coarse_variance(problem.views, state))
            stage = replace(
                problem, unknowns=unknowns, views=softened, priors=static, focal_camera=""
            )
            iterations = self.config.solver.max_iterations
            estimate, _, _ = minimise(stage, Estimate(state), iterations, _COARSE_TOLERANCE)
            state = estimate.state
        return Estimate(state)

    def _better(self, problem: Problem, a: Estimate | None, b: Estimate | None) -> Estimate | None:
        """The estimate that fits the observations alone better."""
        if a is None or b is None:
            return a if b is None else b
        scales = []
        for estimate in (a, b):
            squared, behind = problem.squared_residuals(estimate)
            scales.append(np.inf if behind else robust.residual_scale(squared))
        return a if scales[0] <= scales[1] else b

    def _finish(
        self, problem: Problem, begin: Estimate, belief: ShapeBelief, warm: bool
    ) -> FitResult:
        solver = self.config.solver
        limit = solver.max_tracking_iterations if warm else solver.max_iterations
        inside = problem.inside_box(begin)
        tolerance = solver.tracking_tolerance if len(problem.priors) > 1 else solver.tolerance
        estimate, equations, report = minimise(problem, inside, limit, tolerance)
        views = problem.zoomed(estimate)
        kept = self.points(views.points)
        statistics = view_statistics(views, equations.squared, problem.nu)
        try:
            known = posterior(problem, estimate, equations, kept.correlation)
        except np.linalg.LinAlgError:  # too few places, however many points
            return FitResult(FitStatus.UNCERTAIN, _bare(estimate.state), statistics, report)
        covariance = self._covariance(problem, estimate, equations, known, belief)
        steady = None
        if kept.steady is not None:
            steady = kept.steady.effect(problem, estimate.state, equations)
            covariance = covariance + steady.added(problem, known.information)
        status = self._judge(problem, equations, report, known)
        state = replace(estimate.state, covariance=covariance)
        if not np.isfinite(covariance).all():
            state, status = _bare(estimate.state), FitStatus.UNCERTAIN
        focal = float(np.exp(estimate.log_zoom))
        sigma = float(np.sqrt(known.covariance[-1, -1])) * focal if problem.focal_camera else 0.0
        return FitResult(
            status,
            state,
            views=statistics,
            report=report,
            unknowns=problem.unknowns,
            posterior=known,
            prior_force=problem.prior_force(estimate)[: problem.unknowns.size],
            belief=belief,
            used_prior=len(problem.priors) > 1,
            focal_factor=focal,
            focal_sigma=sigma,
            steady=None if steady is None else steady.covariance,
            steady_meat=None if steady is None else steady.meat,
        )

    def _covariance(
        self,
        problem: Problem,
        estimate: Estimate,
        equations: NormalEquations,
        known: Posterior,
        belief: ShapeBelief,
    ) -> Array:
        """Of the full vector, what this moment's errors and a shape held fixed leave."""
        n, unknowns = problem.unknowns.size, problem.unknowns
        covariance = full_covariance(self.model, unknowns, known.covariance[:n, :n])
        if len(unknowns.shape):
            return covariance
        return with_fixed_shape(problem, estimate.state, equations, known, belief, covariance)

    def _judge(
        self, problem: Problem, equations: NormalEquations, report: Report, known: Posterior
    ) -> FitStatus:
        accept = self.config.accept
        squared = equations.squared
        if report.stop is Stop.BEHIND or np.isnan(squared).mean() > 0.5:
            return FitStatus.BEHIND_CAMERA
        share = inlier_share(problem.views, squared / report.residual_scale**2, problem.nu)
        if share < accept.min_inlier_share or report.residual_scale > accept.max_residual_scale:
            return FitStatus.DISAGREES
        sigmas = np.sqrt(np.diagonal(known.covariance)[:6])
        if (
            not np.isfinite(sigmas).all()
            or sigmas[:3].max() > accept.max_position_sigma
            or sigmas[3:].max() > accept.max_rotation_sigma
        ):
            return FitStatus.UNCERTAIN
        cold = report.iterations > self.config.solver.max_tracking_iterations
        if report.stop is Stop.ITERATIONS and report.gain > (1.0 if cold else problem.size):
            return FitStatus.NOT_CONVERGED
        return FitStatus.OK


def _shape_only(model: HeadModel, prior: StatePrior) -> StatePrior:
    information = prior.information.copy()
    information[: -model.shape_count or None] = 0.0
    return replace(prior, information=information)


def _belief_at(model: HeadModel, state: HeadState) -> ShapeBelief:
    return replace(unit_shape_belief(model), mean=np.array(state.shape))


def _bare(state: HeadState) -> HeadState:
    return replace(state, covariance=None)
