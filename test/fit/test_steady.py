"""Steady errors: what they do to a head, and how they are measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flowface_ros.fit.config import FitConfig, NoiseConfig, SteadyConfig
from flowface_ros.fit.frame_fit import FrameFitter
from flowface_ros.fit.priors import ShapeBelief
from flowface_ros.fit.steady_measure import measure_steady, point_errors
from flowface_ros.head.state import Unknowns, step_between
from flowface_ros.rigid import rotation_from_rotvec
from flowface_ros.track.tracked_head import face_pose_covariance


def known(truth) -> ShapeBelief:
    return ShapeBelief(truth.shape, np.eye(90) * 1e8, np.zeros((90, 90)))


def fitted(world, truth, seen, rig, steady):
    fitter = FrameFitter(world.model, rig, FitConfig(noise=NoiseConfig(steady=steady)))
    return fitter.fit(seen, start=truth, shape=known(truth), solve_shape=False)


def test_all_points_turned_are_a_turned_head(world, rng) -> None:
    """A shift and a turn of all points are a pose; neither the estimate nor its own errors feel
    that they are possible."""
    rig = world.rig(3)
    truth = replace(world.head(rng, 20.0), neck=np.zeros(3))
    seen = world.see(truth, rig, rng)
    steady = SteadyConfig(shift=(0.004, 0.0, 0.0), turn=(0.0, 0.0, 0.05))
    plain, result = (fitted(world, truth, seen, rig, s) for s in (None, steady))
    assert plain.steady is None
    assert step_between(plain.state, result.state, Unknowns()) == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_array_equal(plain.posterior.covariance, result.posterior.covariance)
    np.testing.assert_allclose(result.state.covariance, plain.state.covariance + result.steady)
    added = face_pose_covariance(world.model, replace(result.state, covariance=result.steady))
    head = rotation_from_rotvec(result.state.rotation) @ rotation_from_rotvec(result.state.neck)
    in_head = np.kron(np.eye(2), head.T) @ added @ np.kron(np.eye(2), head)
    deviation = np.sqrt(np.diagonal(in_head))
    assert deviation[0] == pytest.approx(0.004, rel=0.25)
    assert deviation[5] == pytest.approx(0.05, rel=0.2)
    assert deviation[3:5].max() < 0.01


def test_displaced_points_move_the_head_as_stated(world) -> None:
    """Heads fitted to points displaced by random fields, against the stated covariance."""
    rng = np.random.default_rng(3)
    rig, truth = world.rig(3), world.head(rng, 10.0)
    length, variance = 0.05, (0.3, 0.5, 0.2)
    steady = SteadyConfig(field_variance=variance, field_length=length)
    places = world.points.interpolate(world.model.triangles, world.model.template)
    squared = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    root = np.linalg.cholesky(np.exp(-0.5 * squared / length**2) + 1e-6 * np.eye(len(places)))
    head = rotation_from_rotvec(truth.rotation) @ rotation_from_rotvec(truth.neck)
    exact = world.see(truth, rig, rng, noise=0.0)
    points, moved = world.evaluator.positions(truth), []
    stated = fitted(world, truth, exact, rig, steady)
    assert stated.steady is not None
    for _ in range(40):
        # a sigma of one pixel is 0.7 m / 600 on the head
        field = (root @ rng.normal(size=(len(places), 3))) * np.sqrt(variance) * 0.7 / 600
        displaced = points + field @ head.T
        seen = [replace(o, pixels=project(rig[o.camera], displaced)) for o in exact]
        found = fitted(world, truth, seen, rig, None).state
        moved.append(step_between(truth, found, Unknowns()))
    have, want = np.std(moved, axis=0), np.sqrt(np.diagonal(stated.steady)[:6])
    ratio = np.sqrt(np.mean((have / want) ** 2))
    assert 0.7 < ratio < 1.4


def test_views_turn_on_their_own(world) -> None:
    """Heads fitted to points that each view has turned in its own way, against what is stated;
    three views know the head's turn better than one."""
    rng = np.random.default_rng(7)
    turn, stated, have = 0.03, {}, {}
    truth = replace(world.head(rng, 10.0), neck=np.zeros(3))
    head = rotation_from_rotvec(truth.rotation)
    points = world.evaluator.positions(truth)
    middle = points.mean(axis=0)
    for count in (1, 3):
        rig = world.rig(count)
        exact = world.see(truth, rig, rng, noise=0.0)
        steady = SteadyConfig(view_turn=(0.0, turn, 0.0))
        moved = []
        for _ in range(30):
            seen = []
            for o in exact:
                spin = rotation_from_rotvec(head @ [0.0, rng.normal() * turn, 0.0])
                pixels = project(rig[o.camera], (points - middle) @ spin.T + middle)
                seen.append(replace(o, pixels=pixels))
            found = fitted(world, truth, seen, rig, None).state
            moved.append(head.T @ step_between(truth, found, Unknowns())[3:6])
        added = fitted(world, truth, exact, rig, steady).steady
        assert added is not None
        stated[count] = np.sqrt((head.T @ added[3:6, 3:6] @ head)[1, 1])
        have[count] = np.std(moved, axis=0)[1]
        assert have[count] == pytest.approx(stated[count], rel=0.35)
    assert stated[3] < 0.8 * stated[1]


def project(camera, points):
    return camera.project(
        points @ camera.camera_from_rig[:3, :3].T + camera.camera_from_rig[:3, 3]
    )[0]


def test_a_view_from_the_side_is_less_sure_of_turn_and_size(world, rng) -> None:
    """A camera at forty degrees and one in front of a face, each on its own."""
    side_turn, sine2 = 0.1, np.sin(np.radians(40.0)) ** 2
    rig = world.rig(3)
    truth = replace(world.head(rng, 0.0), neck=np.zeros(3))
    truth = replace(truth, rotation=np.array([np.pi, 0.0, 0.0]), translation=np.array([0, 0, 0.7]))
    stated = {}
    for camera in ("cam0", "cam1"):
        seen = world.see(truth, rig, rng, noise=0.0, names=[camera])
        for steady in (
            SteadyConfig(side_turn=(0.0, side_turn, 0.0)),
            SteadyConfig(side_scale=0.05),
        ):
            added = fitted(world, truth, seen, rig, steady).steady
            assert added is not None
            stated[camera, steady.side_scale > 0] = np.sqrt(np.diagonal(added)[[2, 4]])
    assert stated["cam0", False][1] == pytest.approx(side_turn * sine2, rel=0.25)
    assert stated["cam0", True][0] > 0.5 * 0.05 * 0.7 * np.cos(np.radians(40.0)) * sine2
    assert np.all(stated["cam1", False] < 0.02 * stated["cam0", False])
    assert np.all(stated["cam1", True] < 0.02 * stated["cam0", True])


@pytest.mark.parametrize(("own", "side"), [(0.0, 0.0), (0.04, 0.0), (0.0, 0.15)])
def test_steady_errors_are_measured(world, own, side) -> None:
    rng = np.random.default_rng(5)
    lifts = np.random.default_rng(6)
    rig, people, alone = world.rig(3), [], []
    turn, shift, lift = 0.03, 0.002, 0.025 * own
    for _ in range(30):
        truth = world.head(rng, 10.0)
        head = rotation_from_rotvec(truth.rotation) @ rotation_from_rotvec(truth.neck)
        points = world.evaluator.positions(truth)
        middle = points.mean(axis=0)
        spin = rotation_from_rotvec(head @ [rng.normal() * turn, 0.0, 0.0])
        drift = head @ [0.0, 0.0, rng.normal() * shift]
        views = []
        for o in world.see(truth, rig, rng, noise=0.0):
            sine2 = point_errors(world.evaluator, [o], rig, truth).side
            yaw = rng.normal() * np.hypot(own, side * sine2)
            yawed = rotation_from_rotvec(head @ [0.0, yaw, 0.0])
            displaced = (points - middle) @ (yawed @ spin).T + middle + drift
            displaced = displaced + head @ [0.0, lifts.normal() * lift, 0.0]
            seen = replace(o, pixels=project(rig[o.camera], displaced))
            views.append(point_errors(world.evaluator, [seen], rig, truth))
        alone += views
        people.append([view + view for view in views])
    found = measure_steady(world.model, world.points, people, alone)
    assert found.turn[0] == pytest.approx(turn, rel=0.35)
    assert found.shift[2] == pytest.approx(shift, rel=0.35)
    assert max(found.turn[1:]) < 0.4 * turn
    assert found.side_turn[1] == pytest.approx(side, rel=0.35, abs=0.02 + own)
    assert max(found.view_turn[0], found.view_turn[2]) < 0.5 * turn
    if not side:
        assert found.view_turn[1] == pytest.approx(own, rel=0.35, abs=0.2 * turn)
        assert found.view_shift == pytest.approx(lift, rel=0.35, abs=5e-4)
    if not own and not side:
        assert max(found.turn[1:]) < 0.2 * turn
        assert max(found.field_variance) < 0.1
    with pytest.raises(ValueError, match="people"):
        measure_steady(world.model, world.points, people[:2], alone)
    with pytest.raises(ValueError, match="people"):
        measure_steady(world.model, world.points, [views[:1] for views in people], alone)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("shift", (1.0, -1.0, 0.0)),
        ("turn", (1.0,)),
        ("scale", -1.0),
        ("view_shift", -1e-3),
        ("side_scale", -0.1),
        ("shape", -0.1),
        ("field_length", 0.0),
    ],
)
def test_steady_configuration_is_checked(field, value) -> None:
    with pytest.raises(ValueError, match=field):
        SteadyConfig(**{field: value})
