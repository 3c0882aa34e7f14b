"""The energy's terms against finite differences, and the per-point form against dense algebra."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flowface_ros import rigid
from flowface_ros.fit import robust
from flowface_ros.fit.config import FitConfig, NoiseConfig, PriorConfig, SolverConfig
from flowface_ros.fit.frame_fit import FrameFitter
from flowface_ros.fit.priors import (
    prior_of,
    prior_term,
    static_prior,
    unit_shape_belief,
)
from flowface_ros.fit.problem import Estimate, Problem
from flowface_ros.fit.views import stack_views, union
from flowface_ros.head.state import HeadState, Unknowns, all_unknowns, retract, step_between
from flowface_ros.head.surface import SurfacePoints


@pytest.fixture
def problem(world, rng) -> tuple[Problem, Estimate]:
    """Noisy observations of three cameras, a temporal prior, an unknown focal length, and an
    estimate away from the solution."""
    rig = world.rig(3)
    truth = world.head(rng)
    fitter = FrameFitter(world.model, rig, FitConfig(unknown_focal="cam1"))
    views = stack_views(world.see(truth, rig, rng), rig)
    unknowns = fitter.tracking
    here = retract(truth, unknowns, rng.normal(0, 0.01, unknowns.size))
    root = rng.normal(size=(unknowns.size, unknowns.size)) / 10
    prior = prior_of(
        world.model,
        retract(truth, unknowns, rng.normal(0, 0.3, unknowns.size)),
        unknowns,
        root @ root.T + 0.1 * np.eye(unknowns.size),
    )
    made = fitter.problem(views, prior, unit_shape_belief(world.model), True)
    return made, Estimate(here, 0.03)


def test_gradient_of_the_whole_energy(problem, finite_difference) -> None:
    made, estimate = problem
    scale = 1.7

    def energy(step: np.ndarray) -> float:
        moved = made.moved(estimate, step)
        return made.energy(made.squared_residuals(moved)[0], scale, moved)

    squared, behind = made.squared_residuals(estimate)
    equations = made.linearise(estimate, squared, scale)
    assert behind == 0
    assert equations.energy == pytest.approx(energy(np.zeros(made.size)), rel=1e-12)
    numeric = finite_difference(energy, made.size)
    size = np.abs(numeric).max()
    np.testing.assert_allclose(equations.gradient, numeric, atol=1e-6 * size, rtol=1e-5)


def test_residuals_by_finite_differences(world, rng, finite_difference) -> None:
    """The information form's vector is the gradient of the robust loss by the points."""
    rig = world.rig(3)
    truth = world.head(rng)
    views = stack_views(world.see(truth, rig, rng), rig)
    points = world.evaluator.positions(truth) + rng.normal(0, 2e-3, (len(world.points), 3))
    _, vector = views.vertex_information(points, 5.0, 1.0)
    for v in (0, 17, 399):

        def loss(step: np.ndarray, v: int = v) -> float:
            moved = points.copy()
            moved[v] += step
            return float(robust.loss(views.squared_residuals(moved)[0], 5.0).sum())

        np.testing.assert_allclose(-vector[v], finite_difference(loss, 3), rtol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_point_information_equals_stacked_normal_equations(world, rng, count) -> None:
    rig = world.rig(count)
    truth = world.head(rng)
    seen = world.see(truth, rig, rng)
    fitter = FrameFitter(world.model, rig)
    made = fitter.problem(stack_views(seen, rig), None, unit_shape_belief(world.model), True)
    here = retract(truth, made.unknowns, rng.normal(0, 0.01, made.unknowns.size))
    estimate = Estimate(here)
    squared, _ = made.squared_residuals(estimate)
    equations = made.linearise(estimate, squared, 1.3)
    hessian, gradient, energy = dense_equations(made, rig, seen, here, 1.3)
    data = equations.hessian - equations.prior
    np.testing.assert_allclose(
        data / equations.curvature, hessian, atol=1e-9 * np.abs(hessian).max()
    )
    prior = prior_term(world.model, made.priors[0], made.unknowns)
    force = np.zeros(made.size)
    force[prior.rows] = prior.equations(here)[1]
    np.testing.assert_allclose(
        equations.gradient - force, gradient, atol=1e-9 * np.abs(gradient).max()
    )
    assert equations.energy - prior.energy(here) == pytest.approx(energy, rel=1e-9)


def dense_equations(made, rig, seen, state: HeadState, scale: float):
    """Every row of the stacked Jacobian, one camera and one point at a time."""
    points, jacobian = made.evaluator.positions_and_jacobian(state, made.unknowns)
    hessian, gradient, energy = 0.0, 0.0, 0.0
    nu = made.nu
    for observation in seen:
        camera = rig[observation.camera]
        for v in range(len(points)):
            x, y, z = rigid.apply(camera.camera_from_rig, points[v])
            place, inverse, _ = camera.undistort_with_jacobian(observation.pixels[v])
            forward = np.linalg.inv(inverse)
            W = forward.T @ forward / (observation.sigma[v] * scale) ** 2
            r = place - np.array([x / z, y / z])
            P = np.array([[1 / z, 0, -x / z**2], [0, 1 / z, -y / z**2]])
            J = P @ camera.camera_from_rig[:3, :3] @ jacobian[v]
            s = r @ W @ r
            w = (nu + 2) / (nu + s)
            hessian = hessian + w * J.T @ W @ J
            gradient = gradient - w * J.T @ W @ r
            energy += 0.5 * (nu + 2) * np.log1p(s / nu)
    return hessian, gradient, energy


@pytest.mark.parametrize("kind", ["static", "temporal"])
def test_prior_terms(world, rng, finite_difference, kind) -> None:
    model = world.model
    unknowns = all_unknowns(model)
    here, mean = world.head(rng), world.head(rng)
    if kind == "static":
        prior = static_prior(model, PriorConfig(), unit_shape_belief(model))
    else:
        root = rng.normal(size=(unknowns.size, unknowns.size))
        prior = prior_of(model, mean, unknowns, root @ root.T + np.eye(unknowns.size))
    term = prior_term(model, prior, unknowns)
    hessian, force, energy = term.equations(here)
    assert energy == pytest.approx(term.energy(here))
    full, curved = np.zeros(unknowns.size), np.zeros((unknowns.size,) * 2)
    full[term.rows], curved[np.ix_(term.rows, term.rows)] = force, hessian

    def moved(step: np.ndarray) -> float:
        return term.energy(retract(here, unknowns, step))

    numeric = finite_difference(moved, unknowns.size)
    np.testing.assert_allclose(full, numeric, atol=1e-5 * np.abs(numeric).max())
    assert np.linalg.eigvalsh(curved).min() > -1e-9 * np.abs(curved).max()


def test_robust_functions_are_each_others_derivatives() -> None:
    s, h, nu = np.linspace(0.01, 50, 40), 1e-5, 4.0
    slope = (robust.loss(s + h, nu) - robust.loss(s - h, nu)) / (2 * h)
    np.testing.assert_allclose(robust.weight(s, nu), 2 * slope, rtol=1e-6)


def test_sums_equal_the_plain_functions() -> None:
    squared = np.array([0.1, 3.0, np.nan, 40.0])
    seen, scale, nu = squared[[0, 1, 3]] / 1.5**2, 1.5, 5.0
    sums = robust.sums(squared, scale, nu)
    loss, weight = robust.loss(seen, nu), robust.weight(seen, nu)
    h = 1e-6 * seen
    slope = (robust.weight(seen + h, nu) - robust.weight(seen - h, nu)) / (2 * h)
    across, along = weight, weight + 2 * slope * seen
    curvature = 0.5 * (across + along)
    assert sums.count == 3
    assert sums.loss == pytest.approx(loss.sum() + loss.max())
    assert sums.weight == pytest.approx(weight.mean())
    assert sums.curvature == pytest.approx(curvature.mean())
    assert sums.score_variance == pytest.approx((0.5 * seen * weight**2).mean())
    spread = 0.5 * (across**2 + along**2).mean() / curvature.mean() ** 2 - 1
    assert sums.curvature_spread == pytest.approx(spread)


def test_last_step_with_the_kept_jacobian_is_at_the_least_energy(world, rng) -> None:
    """A tracking step is where a fit that goes on to the end is, within its tolerance."""
    rig = world.rig(1)
    truth = world.head(rng, 20.0)
    seen = world.see(truth, rig, rng)
    found = []
    for solver in (SolverConfig(), SolverConfig(tracking_tolerance=1e-9)):
        fitter = FrameFitter(world.model, rig, FitConfig(solver=solver))
        unknowns = fitter.tracking
        sigma = np.full(unknowns.size, 0.01)
        step = np.random.default_rng(1).normal(0, 0.01, unknowns.size)
        prior = prior_of(world.model, retract(truth, unknowns, step), unknowns, np.diag(sigma**2))
        found.append(fitter.fit(seen, prior).state)
    variance = np.diagonal(found[1].covariance)[:6]
    apart = step_between(found[0], found[1], Unknowns())
    assert np.all(np.abs(apart) < 0.1 * np.sqrt(variance))


def test_residual_scale_of_gaussian_residuals_is_their_sigma(rng) -> None:
    squared = (rng.normal(0, 3.0, (50000, 2)) ** 2).sum(axis=1)
    assert robust.residual_scale(squared) == pytest.approx(3.0, rel=0.04)
    assert robust.residual_scale(np.full(3, np.nan)) == 1.0


def test_union_of_points_merges_what_is_shared(world) -> None:
    a, b = world.points[:30], world.points[20:50]
    merged, (rows_a, rows_b) = union([a, b])
    assert len(merged) == 50
    for rows, part in ((rows_a, a), (rows_b, b)):
        np.testing.assert_array_equal(merged.triangle[rows], part.triangle)
        np.testing.assert_array_equal(merged.barycentric[rows], part.barycentric)
    same, rows = union([a, SurfacePoints(a.triangle.copy(), a.barycentric.copy())])
    assert same is a
    assert rows[0] is rows[1]


def test_views_with_different_points_give_the_same_fit(world, rng) -> None:
    rig = world.rig(2)
    truth = world.head(rng, 30.0)
    whole = world.see(truth, rig, rng)
    order = rng.permutation(len(world.points))
    shuffled = [whole[0], whole[1][order]]
    fitter = FrameFitter(world.model, rig)
    a, b = fitter.fit(whole, start=truth), fitter.fit(shuffled, start=truth)
    np.testing.assert_allclose(a.state.translation, b.state.translation, atol=1e-7)
    # The order of the points decides which of them tell the mean error.
    size = np.sqrt(np.diagonal(a.state.covariance))
    apart = (a.state.covariance - b.state.covariance) / np.outer(size, size)
    assert np.abs(apart).max() < 0.01


def test_configuration_is_checked() -> None:
    for noise in (
        NoiseConfig(degrees_of_freedom=0),
        NoiseConfig(correlation_length=-1),
        NoiseConfig(correlation_length=np.nan),
        NoiseConfig(correlation_share=2),
    ):
        with pytest.raises(ValueError, match="noise"):
            FitConfig(noise=noise)
    with pytest.raises(ValueError, match="jaw_sigma"):
        FitConfig(priors=replace(PriorConfig(), jaw_sigma=0.0))
    for name in ("max_iterations", "max_tracking_iterations", "tolerance", "tracking_tolerance"):
        with pytest.raises(ValueError, match=f"solver.{name} is 0"):
            FitConfig(solver=SolverConfig(**{name: 0}))
