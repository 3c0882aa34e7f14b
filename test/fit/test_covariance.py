"""Covariances: against dense algebra, and against what the errors really are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2

from flowface_ros.fit.config import FitConfig, NoiseConfig, SolverConfig
from flowface_ros.fit.correlation import make_correlation, measure_correlation, neutral_places
from flowface_ros.fit.covariance import _given_the_solution
from flowface_ros.fit.frame_fit import FrameFitter
from flowface_ros.fit.priors import ShapeBelief
from flowface_ros.fit.robust import score_correlation, weight
from flowface_ros.head.state import Unknowns, step_between

LENGTH, SHARE = 0.03, 0.8


@pytest.fixture(scope="module")
def kernel(world) -> np.ndarray:
    places = neutral_places(world.model, world.points)
    squared = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    return SHARE * np.exp(-0.5 * squared / LENGTH**2) + (1 - SHARE) * np.eye(len(places))


def test_score_covariance_equals_the_dense_sum(world, rng, kernel) -> None:
    """For Jacobians that are smooth over the surface, as a head's are."""
    kernel = score_correlation(kernel, NoiseConfig().degrees_of_freedom)
    np.fill_diagonal(kernel, 1.0)
    noise = NoiseConfig(correlation_length=LENGTH, correlation_share=SHARE)
    correlation = make_correlation(world.model, world.points, noise)
    places = neutral_places(world.model, world.points) * 20
    waves = [np.ones(len(places)), *places.T, *(places.T**2), np.sin(places[:, 0])]
    whitened = np.stack([np.stack(waves, -1) * axis for axis in (1.0, 0.5, -0.3)], axis=1)
    gram = np.einsum("van,vam->nm", whitened, whitened)
    dense = np.einsum("van,vw,wam->nm", whitened, kernel, whitened)
    found = correlation.score_covariance(whitened, gram)
    np.testing.assert_allclose(found, dense, atol=0.03 * np.abs(dense).max())
    assert 1 / correlation.tempering == pytest.approx(kernel.sum() / len(kernel), rel=1e-9)
    rows = whitened[:, :2]
    whole = np.einsum("van,vw,wam->nm", rows, kernel, rows)
    plain = np.einsum("van,vam->nm", rows, rows)
    found = correlation.view_covariance(rows, np.arange(len(rows)), plain)
    np.testing.assert_allclose(found, whole, atol=0.03 * np.abs(whole).max())


@pytest.mark.parametrize("nu", [2.0, 5.0, 30.0])
def test_scores_are_as_alike_as_samples_say(nu) -> None:
    rng = np.random.default_rng(2)
    for rho in (0.3, 0.8):
        a, other = rng.normal(size=(2, 400000, 2))
        b = rho * a + np.sqrt(1 - rho**2) * other
        weights = [weight((e**2).sum(axis=1), nu) for e in (a, b)]
        scores = [w[:, None] * e for w, e in zip(weights, (a, b), strict=True)]
        found = np.mean(scores[0] * scores[1]) / np.mean(np.square(scores))
        found /= np.mean(np.sqrt(weights[0] * weights[1])) / np.mean(weights)
        assert score_correlation(np.array(rho), nu) == pytest.approx(found, abs=0.004)
    ends = score_correlation(np.array([0.0, 1.0]), nu)
    np.testing.assert_allclose(ends, [0.0, 1.0], atol=1e-3)


def test_without_correlation_nothing_changes(world, rng) -> None:
    correlation = make_correlation(world.model, world.points, NoiseConfig())
    gram = np.eye(3)
    assert correlation.tempering == 1.0
    assert correlation.score_covariance(np.zeros((len(world.points), 3, 3)), gram) is gram


def test_correlation_is_measured(world, rng, kernel) -> None:
    root = np.linalg.cholesky(kernel)
    errors = root @ rng.normal(size=(40, len(world.points), 2))
    errors[:, ::7] = np.nan
    length, share = measure_correlation(world.model, world.points, errors)
    assert length == pytest.approx(LENGTH, rel=0.15)
    assert share == pytest.approx(SHARE, rel=0.1)
    independent = rng.normal(size=(40, len(world.points), 2))
    length, share = measure_correlation(world.model, world.points, independent)
    assert share < 0.1
    with pytest.raises(ValueError, match="errors"):
        measure_correlation(world.model, world.points, errors[:, :5])


@pytest.mark.parametrize(("views", "correlated"), [(1, False), (2, True)])
def test_pose_errors_are_as_large_as_the_covariance_says(world, kernel, correlated, views) -> None:
    """NEES of the pose over 24 fits of a known person within 99.9 % of chi-square."""
    root = np.linalg.cholesky(kernel)
    noise = NoiseConfig()
    if correlated:
        noise = NoiseConfig(correlation_length=LENGTH, correlation_share=SHARE)
    rig = world.rig(views)
    fitter = FrameFitter(world.model, rig, FitConfig(noise=noise))
    count, total = 24, 0.0
    for seed in range(count):
        rng = np.random.default_rng(seed)
        truth = world.head(rng, 50.0)
        seen = world.see(truth, rig, rng, noise=0.0)
        errors = rng.normal(size=(views, len(world.points), 2))
        errors = root @ errors if correlated else errors
        for observation, error in zip(seen, errors, strict=True):
            observation.pixels[:] += error
        known = ShapeBelief(truth.shape, np.eye(90) * 1e8, np.zeros((90, 90)))
        result = fitter.fit(seen, start=truth, shape=known, solve_shape=False)
        d = step_between(result.state, truth, Unknowns())
        total += d @ np.linalg.solve(result.state.covariance[:6, :6], d)
    low, high = chi2.ppf((0.0005, 0.9995), 6 * count)
    # These faces are milder than the priors say: a little below is fine.
    assert 0.7 * low < total < high


def test_the_truth_given_a_solution_is_as_drawn(rng) -> None:
    """Truths and solutions of a linear fit whose noise is not what it takes it for: the truth's
    mean by least squares on the solutions, and what is left."""
    n, draws = 4, 200000
    roots = rng.normal(size=(3, n, n))
    data, noise, prior = (root @ root.T + 0.3 * np.eye(n) for root in roots)
    hessian = data + prior
    truth = rng.multivariate_normal(np.zeros(n), np.linalg.inv(prior), draws)
    scores = truth @ data + rng.multivariate_normal(np.zeros(n), noise, draws)
    solution = np.linalg.solve(hessian, scores.T).T
    pulls, covariance = _given_the_solution(hessian, prior, noise)
    force = solution @ prior
    expected = solution + (force @ pulls.T - force) @ covariance
    left = truth - expected
    np.testing.assert_allclose(np.cov(left.T), covariance, atol=0.02 * np.trace(covariance))
    correlated = left.T @ solution / draws
    np.testing.assert_allclose(correlated, 0.0, atol=0.01 * np.abs(np.cov(solution.T)).max())


def test_covariance_follows_the_residuals_when_sigmas_are_wrong(world, rng) -> None:
    rig = world.rig(2)
    truth = world.head(rng, 20.0)
    fitter = FrameFitter(world.model, rig)
    deviations = []
    for noise in (1.0, 3.0):
        seen = world.see(truth, rig, np.random.default_rng(1), 1.0, noise=noise)
        covariance = fitter.fit(seen, start=truth, solve_shape=True).state.covariance
        deviations.append(np.sqrt(np.trace(covariance[:3, :3])))
    assert 2.0 < deviations[1] / deviations[0] < 3.5


def test_a_fit_that_stops_early_states_what_the_whole_fit_does(world) -> None:
    # Most weights of a face are on a bound, and what presses them there is not the same before the
    # last step as after it.
    rig, apart = world.rig(1), []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        weights = np.clip(np.abs(rng.normal(0, 0.3, world.model.expression_count)), 0, 1)
        truth = replace(world.head(rng), expression=weights)
        seen = world.see(truth, rig, rng)
        sizes = []
        for tolerance in (0.05, 1e-6):
            solver = SolverConfig(tolerance=tolerance, max_iterations=60)
            fitter = FrameFitter(world.model, rig, FitConfig(solver=solver))
            covariance = fitter.fit(seen).state.covariance
            sizes.append(np.linalg.slogdet(covariance[:6, :6])[1])
        apart.append(sizes[0] - sizes[1])
    assert np.sqrt(np.mean(np.square(apart))) < 0.05


def test_uncertain_shape_makes_the_pose_uncertain(world, rng) -> None:
    rig = world.rig(1)
    truth = world.head(rng, 20.0)
    fitter = FrameFitter(world.model, rig)
    seen = world.see(truth, rig, rng)
    deviations = []
    for sigma in (0.0, 0.3):
        belief = ShapeBelief(truth.shape, np.eye(90) * 1e4, np.eye(90) * sigma**2)
        covariance = fitter.fit(seen, start=truth, shape=belief, solve_shape=False).state.covariance
        np.testing.assert_allclose(covariance, covariance.T, atol=1e-12)
        assert np.linalg.eigvalsh(covariance).min() > -1e-9
        np.testing.assert_allclose(np.diagonal(covariance)[-90:], sigma**2)
        deviations.append(covariance[2, 2] ** 0.5)
    # In one view an uncertain size is an uncertain depth.
    assert deviations[1] > 3 * deviations[0]


def test_a_wrong_shape_moves_the_head_as_stated(world, rng) -> None:
    """The covariance of a head with its uncertain shape, which is held, against fits with the shape
    held elsewhere."""
    rig = world.rig(2)
    truth = world.head(rng, 20.0)
    fitter = FrameFitter(world.model, rig)
    seen = world.see(truth, rig, rng, noise=0.0)
    for coefficient in (0, 1, 4):
        off = np.eye(90)[coefficient] * 0.02
        sigma = np.where(off, 0.1, 0.0)
        states = []
        for shape in (truth.shape, truth.shape + off):
            belief = ShapeBelief(shape, np.eye(90), np.diag(sigma**2))
            states.append(fitter.fit(seen, start=truth, shape=belief, solve_shape=False).state)
        moved = step_between(states[0], states[1], fitter.tracking)[:6]
        stated = states[0].covariance[:6, coefficient - 90] / 0.1**2 * 0.02
        np.testing.assert_allclose(moved, stated, atol=0.1 * np.abs(stated).max())


def test_solving_for_the_shape_leaves_less_uncertainty_than_holding_it(world, rng) -> None:
    """For the same belief: holding it throws away what the observations tell of the shape."""
    rig = world.rig(2)
    truth = world.head(rng, 20.0)
    fitter = FrameFitter(world.model, rig)
    seen = world.see(truth, rig, rng)
    belief = ShapeBelief(truth.shape, np.eye(90) / 0.1**2, np.eye(90) * 0.1**2)
    fixed = fitter.fit(seen, start=truth, shape=belief, solve_shape=False).state.covariance
    solved = fitter.fit(seen, start=truth, shape=belief, solve_shape=True).state.covariance
    assert np.all(np.diagonal(solved)[:3] <= 1.02 * np.diagonal(fixed)[:3])
