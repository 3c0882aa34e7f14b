"""Known answers of the fit, starts from nothing, and input that must not give a head."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flowface_ros.align.observation import Observation
from flowface_ros.camera.rig import Rig
from flowface_ros.fit.config import AcceptConfig, FitConfig
from flowface_ros.fit.frame_fit import FrameFitter
from flowface_ros.fit.priors import ShapeBelief, prior_of
from flowface_ros.fit.result import FitStatus
from flowface_ros.head.state import retract


def turn_between(a, b) -> float:
    return float(
        (Rotation.from_rotvec(a.rotation) * Rotation.from_rotvec(b.rotation).inv()).magnitude()
    )


@pytest.mark.parametrize("views", [1, 2, 3])
def test_exact_observations_give_the_exact_head_from_nothing(world, views) -> None:
    rig = world.rig(views)
    rng = np.random.default_rng(0)
    truth = world.head(rng, 75.0)
    result = FrameFitter(world.model, rig).fit(world.see(truth, rig, rng, 1e-4, noise=0.0))
    assert result.status is FitStatus.OK
    np.testing.assert_allclose(result.state.translation, truth.translation, atol=1e-6)
    assert turn_between(result.state, truth) < 1e-5
    found, wanted = (world.evaluator.positions(s) for s in (result.state, truth))
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("yaw_deg", [-80, -45, 0, 45, 80])
@pytest.mark.parametrize("views", [1, 2])
def test_first_fit_succeeds_from_any_yaw(world, yaw_deg, views) -> None:
    rng = np.random.default_rng(abs(yaw_deg))
    rig = world.rig(views)
    turn = Rotation.from_euler("x", 180, degrees=True) * Rotation.from_euler(
        "y", yaw_deg, degrees=True
    )
    truth = replace(world.head(rng), rotation=turn.as_rotvec())
    result = FrameFitter(world.model, rig).fit(world.see(truth, rig, rng, 2.0))
    assert result.valid
    skulls = [
        Rotation.from_rotvec(s.rotation) * Rotation.from_rotvec(s.neck)
        for s in (truth, result.state)
    ]
    assert np.degrees((skulls[0] * skulls[1].inv()).magnitude()) < 2.0


def test_outliers_and_one_wrong_view_do_not_pull(world, rng) -> None:
    rig = world.rig(3)
    truth = world.head(rng, 30.0)
    seen = world.see(truth, rig, rng)
    fitter = FrameFitter(world.model, rig)
    clean = fitter.fit(seen)
    dirty = []
    for observation in seen:
        pixels = observation.pixels.copy()
        wrong = rng.random(len(pixels)) < 0.2
        pixels[wrong] += rng.normal(0, 50, (wrong.sum(), 2))
        dirty.append(replace(observation, pixels=pixels))
    found = fitter.fit(dirty)
    assert found.valid
    errors = [
        np.linalg.norm(world.evaluator.positions(r.state) - world.evaluator.positions(truth))
        for r in (clean, found)
    ]
    assert errors[1] < 1.5 * errors[0]


def test_statistics_name_the_view_that_does_not_agree(world, rng) -> None:
    rig = world.rig(3)
    truth = world.head(rng, 20.0)
    seen = world.see(truth, rig, rng)
    seen[1] = replace(seen[1], pixels=seen[1].pixels + rng.normal(0, 30, seen[1].pixels.shape))
    result = FrameFitter(world.model, rig).fit(seen)
    assert [view.camera for view in result.views] == ["cam0", "cam1", "cam2"]
    assert [view.consistent for view in result.views] == [True, False, True]
    assert result.views[0].rmse_px == pytest.approx(np.sqrt(2), rel=0.15)
    assert result.views[1].rmse_px > 30


def test_prior_holds_what_is_not_seen_and_yields_to_what_is(world, rng) -> None:
    rig = world.rig(1)
    truth = world.head(rng, 20.0)
    fitter = FrameFitter(world.model, rig)
    unknowns = fitter.tracking
    sigma = np.full(unknowns.size, 0.01)
    mean = retract(truth, unknowns, rng.normal(0, 0.01, unknowns.size))
    belief = ShapeBelief(truth.shape, np.eye(90) * 1e4, np.eye(90) * 1e-4)
    prior = prior_of(world.model, mean, unknowns, np.diag(sigma**2))
    tongue = 18 + world.model.expression_names.index("tongueOut")
    result = fitter.fit(world.see(truth, rig, rng), prior, shape=belief)
    assert result.valid
    assert result.used_prior
    assert result.unknowns is unknowns
    deviation = np.sqrt(np.diagonal(result.state.covariance))
    assert deviation[tongue] == pytest.approx(0.01, rel=0.3)
    assert deviation[3:6].max() < 0.008
    np.testing.assert_array_equal(result.state.shape, truth.shape)


def test_far_start_is_made_anew(world, rng) -> None:
    rig = world.rig(1)
    truth = world.head(rng, 30.0)
    fitter = FrameFitter(world.model, rig)
    lost = replace(truth, rotation=-truth.rotation, translation=truth.translation + 0.3)
    result = fitter.fit(world.see(truth, rig, rng), start=lost, solve_shape=True)
    assert result.valid
    assert turn_between(result.state, truth) < np.radians(8)


def test_unknown_focal_length(world, rng) -> None:
    rig = world.rig(1)
    truth = world.head(rng, 30.0)
    truth = replace(truth, translation=np.array([0.02, 0.0, 0.45]))
    seen = world.see(truth, rig, rng, 0.3)
    camera = rig.cameras[0]
    K = camera.intrinsics.copy()
    K[[0, 1], [0, 1]] /= 1.15
    wrong = Rig((replace(camera, intrinsics=K),))
    fitter = FrameFitter(world.model, wrong, FitConfig(unknown_focal="cam0"))
    result = fitter.fit(seen)
    assert result.valid
    assert abs(result.focal_factor - 1.15) < 3 * result.focal_sigma
    assert 0 < result.focal_sigma < 0.1
    with pytest.raises(ValueError, match="unknown_focal is 'nobody'"):
        FrameFitter(world.model, wrong, FitConfig(unknown_focal="nobody"))


def test_no_views_and_few_points_are_named(world, rng) -> None:
    rig = world.rig(2)
    fitter = FrameFitter(world.model, rig)
    nothing = fitter.fit([])
    assert nothing.status is FitStatus.NO_VIEWS
    assert not nothing.valid
    assert nothing.state.covariance is None
    few = world.see(world.head(rng), rig, rng)[0][slice(0, 5)]
    assert fitter.fit([few]).status is FitStatus.TOO_FEW_POINTS


def test_huge_sigmas_are_uncertain(world, rng) -> None:
    rig = world.rig(1)
    seen = world.see(world.head(rng), rig, rng, 1e5, noise=1.0)
    assert not FrameFitter(world.model, rig).fit(seen).valid


@pytest.mark.parametrize("views", [1, 2])
def test_one_place_seen_many_times_is_uncertain(world, rng, views) -> None:
    rig, truth = world.rig(views), world.head(rng, 20.0)
    one = np.full(20, 200)
    seen = [
        replace(o, points=o.points[one], pixels=o.pixels[one], sigma=o.sigma[one])
        for o in world.see(truth, rig, rng)
    ]
    result = FrameFitter(world.model, rig).fit(seen, start=truth)
    assert result.status is FitStatus.UNCERTAIN
    assert result.state.covariance is None
    assert len(result.views) == views


def test_points_behind_the_cameras_are_no_head(world, rng) -> None:
    rig = world.rig(1)
    truth = world.head(rng, 20.0)
    seen = world.see(truth, rig, rng)
    behind = replace(truth, translation=truth.translation * -1)
    result = FrameFitter(world.model, rig).fit(seen, start=behind, solve_shape=True)
    assert result.valid
    assert result.state.translation[2] > 0.5
    mirrored = [replace(o, pixels=2 * np.array([322.0, 238.0]) - o.pixels) for o in seen]
    points = world.evaluator.positions(FrameFitter(world.model, rig).fit(mirrored).state)
    assert points[:, 2].min() > 0


def test_a_head_held_behind_the_camera_is_none(world, rng) -> None:
    """A prior so sure of a place behind the camera that observations cannot move it."""
    rig = world.rig(1)
    truth = world.head(rng, 20.0)
    fitter = FrameFitter(world.model, rig)
    behind = replace(truth, translation=truth.translation * -1)
    sure = np.eye(fitter.tracking.size) * 1e-12
    prior = prior_of(world.model, behind, fitter.tracking, sure)
    result = fitter.fit(world.see(truth, rig, rng), prior)
    assert not result.valid


@pytest.mark.parametrize("kind", ["noise", "one place"])
def test_observations_of_no_head_give_none(world, rng, kind) -> None:
    rig = world.rig(2)
    seen = world.see(world.head(rng), rig, rng)
    count = len(world.points)
    pixels = rng.uniform(0, 480, (count, 2)) if kind == "noise" else np.full((count, 2), 200.0)
    wrong = [replace(o, pixels=pixels) for o in seen]
    assert not FrameFitter(world.model, rig).fit(wrong).valid


def test_bad_observations_are_refused_by_name(world, rng) -> None:
    rig = world.rig(1)
    fitter = FrameFitter(world.model, rig)
    (good,) = world.see(world.head(rng), rig, rng)
    with pytest.raises(ValueError, match="'attic'"):
        fitter.fit([replace(good, camera="attic")])
    for name, value in (
        ("pixels", np.full_like(good.pixels, np.nan)),
        ("sigma", np.zeros_like(good.sigma)),
        ("sigma", -good.sigma),
        ("sigma", np.full_like(good.sigma, np.inf)),
        ("sigma", np.full_like(good.sigma, np.nan)),
        ("sigma", good.sigma[:-1]),
        ("pixels", good.pixels[:-1]),
    ):
        broken = object.__new__(Observation)
        fields = {"points": good.points, "pixels": good.pixels, "sigma": good.sigma}
        for key, held in {**fields, "camera": "cam0", "stamp_ns": 0, name: value}.items():
            object.__setattr__(broken, key, held)
        with pytest.raises(ValueError, match=name):
            fitter.fit([broken])


def test_two_cameras_in_one_place_are_named(world) -> None:
    camera = world.rig(1).cameras[0]
    with pytest.raises(ValueError, match="'cam0' and 'twin'"):
        FrameFitter(world.model, Rig((camera, replace(camera, name="twin"))))


def test_acceptance_is_configurable(world, rng) -> None:
    rig = world.rig(1)
    seen = world.see(world.head(rng), rig, rng)
    strict = FitConfig(accept=AcceptConfig(max_position_sigma=1e-6))
    assert FrameFitter(world.model, rig, strict).fit(seen).status is FitStatus.UNCERTAIN
