"""The motion prior against a plain Kalman filter, and the shape from keyframes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flowface_ros.fit.config import IdentityConfig, MotionConfig, PriorConfig
from flowface_ros.fit.frame_fit import FrameFitter
from flowface_ros.fit.identity import IdentityEstimator, viewpoint_of
from flowface_ros.fit.motion import MotionFilter
from flowface_ros.fit.priors import ShapeBelief, prior_of, prior_term, unit_shape_belief
from flowface_ros.fit.views import stack_views
from flowface_ros.head.state import retract

MS = 1_000_000


@pytest.fixture
def followed(world, rng):
    """A fitter, a filter after one update with a valid fit, the truth and the shape belief."""
    rig = world.rig(2)
    truth = world.head(rng, 20.0)
    belief = ShapeBelief(truth.shape, np.eye(90) * 1e6, np.eye(90) * 1e-6)
    fitter, motion = FrameFitter(world.model, rig), MotionFilter(world.model)
    first = fitter.fit(world.see(truth, rig, rng), shape=belief, solve_shape=False)
    motion.update(0, first)
    return fitter, motion, truth, belief, first


def test_nothing_is_predicted_before_the_first_frame_or_after_a_long_gap(world, followed) -> None:
    _, motion, *_ = followed
    assert MotionFilter(world.model).predict(0) is None
    assert motion.predict(-1 * MS) is None
    assert motion.predict(5000 * MS) is None
    motion.reset()
    assert motion.predict(33 * MS) is None


def test_uncertainty_grows_with_time_and_expression_returns_to_rest(world, followed) -> None:
    _, motion, _, _, first = followed
    near, far = motion.predict(10 * MS), motion.predict(900 * MS)
    a, b = (np.diagonal(p.mean.covariance)[:59] for p in (near, far))
    assert np.all(b[:6] > 5 * a[:6])
    lid = world.model.expression_names.index("eyeBlinkLeft")
    assert abs(far.mean.expression[lid]) <= abs(first.state.expression[lid]) * 0.01 + 1e-12
    # What is not seen for long is as uncertain as any face, and no more.
    assert b[18 + lid] == pytest.approx(PriorConfig().blink_sigma ** 2, rel=0.01)


def test_update_is_the_kalman_filter_of_the_same_model(world, followed, rng) -> None:
    """With the fit's answer put in as a measurement, the velocity is Kalman's."""
    fitter, motion, truth, belief, _ = followed
    prior = motion.predict(40 * MS)
    n = motion.unknowns.size
    P = motion._moved(40 * MS).covariance
    seen = world.see(
        replace(truth, translation=truth.translation + np.array([0.01, 0, 0])), fitter.rig, rng
    )
    result = fitter.fit(seen, prior, shape=belief)
    motion.update(40 * MS, result)
    found = result.posterior.covariance[:n, :n]
    # The measurement whose noise turns P into what was found.
    noise = np.linalg.inv(np.linalg.inv(found) - np.linalg.inv(P[:n, :n]))
    gain = P[:, :n] @ np.linalg.inv(P[:n, :n] + noise)
    wanted = P - gain @ P[:n]
    np.testing.assert_allclose(motion._belief.covariance, wanted, atol=1e-6 * np.abs(P).max())
    assert motion.velocity[0] == pytest.approx(0.01 / 0.04, rel=0.6)


def test_prediction_follows_a_steady_motion(world, rng) -> None:
    rig = world.rig(2)
    truth = world.head(rng, 10.0)
    belief = ShapeBelief(truth.shape, np.eye(90) * 1e6, np.eye(90) * 1e-6)
    fitter = FrameFitter(world.model, rig)
    motion = MotionFilter(world.model, MotionConfig(velocity_time=100.0))
    step = np.zeros(fitter.tracking.size)
    step[:6] = [0.004, 0, 0, 0, 0.01, 0]
    state = truth
    for frame in range(8):
        prior = motion.predict(frame * 33 * MS)
        assert (prior is None) == (frame == 0)
        if prior and frame > 5:
            gap = np.linalg.norm(prior.mean.translation - state.translation)
            assert gap < 0.0015
        result = fitter.fit(
            world.see(state, rig, rng),
            prior,
            start=None if prior else state,
            shape=belief,
            solve_shape=False,
        )
        motion.update(frame * 33 * MS, result)
        state = retract(state, fitter.tracking, step)


def test_invalid_results_and_fresh_starts(world, followed) -> None:
    fitter, motion, _, _, first = followed
    motion.update(33 * MS, fitter.fit([]))
    assert motion._belief.stamp_ns == 0
    motion.update(66 * MS, first)
    assert motion._belief.stamp_ns == 66 * MS
    np.testing.assert_array_equal(motion.velocity, 0)


def test_prior_needs_a_proper_covariance(world, rng) -> None:
    fitter = FrameFitter(world.model, world.rig(1))
    size = fitter.tracking.size
    for bad in (np.zeros((size, size)), np.eye(3), np.full((size, size), np.nan)):
        with pytest.raises(ValueError, match="covariance"):
            prior_of(world.model, world.head(rng), fitter.tracking, bad)


def test_keyframe_information_is_that_of_the_joint_problem(world, rng) -> None:
    """Two frames added one after the other give the Schur complement of the stacked problem."""
    rig = world.rig(1)
    fitter, estimator = FrameFitter(world.model, rig), IdentityEstimator(world.model)
    shape = rng.normal(size=90)
    joint, vector = np.eye(90), np.zeros(90)
    for yaw in (0.0, 40.0):
        truth = replace(world.head(rng, 1.0), shape=shape)
        turn = np.zeros(fitter.tracking.size)
        turn[4] = np.radians(yaw)
        truth = retract(truth, fitter.tracking, turn)
        seen = world.see(truth, rig, rng)
        result = fitter.fit(seen, start=truth, shape=estimator.belief, solve_shape=True)
        hessian, n = result.posterior.information.copy(), fitter.tracking.size
        hessian[n:, n:] -= estimator.belief.information
        schur = hessian[n:, n:] - hessian[n:, :n] @ np.linalg.solve(
            hessian[:n, :n], hessian[:n, n:]
        )
        pull = estimator.belief.information @ (result.state.shape - estimator.belief.mean)
        joint, vector = joint + schur, vector + schur @ result.state.shape + pull
        assert estimator.add(seen, rig, result)
    belief = estimator.belief
    np.testing.assert_allclose(belief.information, joint, atol=1e-6 * np.abs(joint).max())
    np.testing.assert_allclose(belief.mean, np.linalg.solve(joint, vector), atol=1e-6)


def test_shape_converges_to_the_truth_and_its_covariance_holds_it(world) -> None:
    rng = np.random.default_rng(2)
    rig = world.rig(2)
    fitter = FrameFitter(world.model, rig)
    estimator = IdentityEstimator(world.model, config=IdentityConfig(converged_gain=0.2))
    shape = rng.normal(size=90)
    sizes, distances = [], []
    for _ in range(12):
        truth = replace(world.head(rng, 50.0), shape=shape)
        seen = world.see(truth, rig, rng)
        if not estimator.wants(truth, rig, rig.names):
            continue
        result = fitter.fit(seen, start=truth, shape=estimator.belief, solve_shape=True)
        assert estimator.add(seen, rig, result)
        belief = estimator.belief
        d = belief.mean - shape
        sizes.append(np.trace(belief.covariance))
        distances.append(d @ np.linalg.solve(belief.covariance, d) / 90)
    assert np.all(np.diff(sizes) < 0)
    assert sizes[-1] < 0.4 * sizes[0]
    assert 0.5 < np.mean(distances) < 1.6
    assert estimator.converged
    before = estimator.belief.mean
    estimator.relinearise(fitter)
    spread = np.sqrt(np.diagonal(estimator.belief.covariance))
    assert np.abs(estimator.belief.mean - before).max() < spread.max()


def test_keyframes_are_limited_by_viewpoint(world, rng) -> None:
    rig = world.rig(1)
    fitter = FrameFitter(world.model, rig)
    config = IdentityConfig(keyframes_per_viewpoint=2)
    estimator = IdentityEstimator(world.model, config=config)
    truth = world.head(rng, 0.0)
    seen = world.see(truth, rig, rng)
    added = []
    for _ in range(3):
        result = fitter.fit(seen, start=truth, shape=estimator.belief, solve_shape=True)
        added.append(estimator.add(seen, rig, result))
    assert added == [True, True, False]
    turned = retract(truth, fitter.tracking, np.eye(59)[4] * 0.6)
    assert estimator.wants(turned, rig, rig.names)
    assert viewpoint_of(truth, rig, rig.names, 15.0) != viewpoint_of(turned, rig, rig.names, 15.0)


def test_add_refuses_a_fit_without_shape(world, followed) -> None:
    fitter, _, _, _, first = followed
    with pytest.raises(ValueError, match="solve_shape"):
        IdentityEstimator(world.model).add([], fitter.rig, first)


def test_what_earlier_frames_say_takes_the_place_of_the_static_prior(world, rng) -> None:
    """Of all but the shape, which it says nothing of."""
    rig, truth = world.rig(1), world.head(rng)
    fitter = FrameFitter(world.model, rig)
    views, belief = stack_views(world.see(truth, rig, rng), rig), unit_shape_belief(world.model)
    prior = prior_of(world.model, truth, fitter.tracking, np.eye(59))
    rows = [
        [prior_term(world.model, p, made.unknowns).rows.tolist() for p in made.priors]
        for made in (fitter.problem(views, p, belief, True) for p in (None, prior))
    ]
    everything = list(range(59 + 90))
    assert rows == [[everything[6:]], [everything[59:], everything[:59]]]
