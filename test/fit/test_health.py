"""A knocked camera is named, a good rig is left alone, a refined rig is the true one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flowface_ros import rigid
from flowface_ros.camera.rig import Rig
from flowface_ros.fit.camera_terms import whitened_rows, zoom_terms
from flowface_ros.fit.config import HealthConfig
from flowface_ros.fit.frame_fit import FrameFitter
from flowface_ros.fit.health import RigHealth
from flowface_ros.fit.views import stack_views


def knocked(rig: Rig, name: str, degrees: float) -> Rig:
    turn = rigid.transform(
        rigid.rotation_from_rotvec(np.radians(degrees) * np.array([0.6, 0.8, 0.0])), np.zeros(3)
    )
    return Rig(
        tuple(c.moved(c.rig_from_camera @ turn) if c.name == name else c for c in rig), rig.frame
    )


def checked(world, rig: Rig, believed: Rig, seed: int, frames: int = 2) -> RigHealth:
    rng = np.random.default_rng(seed)
    fitter, health = FrameFitter(world.model, believed), RigHealth(believed)
    for _ in range(frames):
        truth = world.head(rng, 40.0)
        seen = world.see(truth, rig, rng)
        health.add(fitter, seen, fitter.fit(seen, start=truth, solve_shape=True))
    return health


@pytest.mark.parametrize("victim", ["cam0", "cam2"])
def test_knocked_camera_is_named(world, victim) -> None:
    rig = world.rig(4)
    report = checked(world, rig, knocked(rig, victim, 1.0), 1).report()
    assert report.suspect == victim
    assert repr(victim) in report.message
    worst = max(report.cameras, key=lambda c: c.explained)
    assert worst.camera == victim
    assert worst.p_value < 1e-6
    assert 5 < worst.shift_px < 25


@pytest.mark.parametrize("count", [2, 3, 4])
def test_good_rig_is_left_alone(world, count) -> None:
    rig = world.rig(count)
    report = checked(world, rig, rig, 2).report()
    assert report.suspect == ""
    assert not report.ambiguous
    assert all(c.residual_rms == pytest.approx(1.0, abs=0.1) for c in report.cameras)


def test_two_cameras_that_disagree_are_both_named(world) -> None:
    rig = world.rig(2)
    report = checked(world, rig, knocked(rig, "cam1", 1.0), 3).report()
    assert report.ambiguous
    assert "'cam0' and 'cam1'" in report.message


def test_one_view_says_nothing(world) -> None:
    rig = world.rig(1)
    report = checked(world, rig, rig, 4).report()
    assert report.message == "too few views to compare cameras"
    assert RigHealth(rig, HealthConfig()).report().suspect == ""


def test_refined_rig_is_nearer_to_the_truth(world) -> None:
    rig = world.rig(4)
    believed = knocked(rig, "cam2", 0.7)
    refined = checked(world, rig, believed, 5, frames=3).refined(believed, np.radians(1.0), 3e-3)

    def worst(cameras: Rig) -> float:
        """Largest angle between relative rotations of camera pairs and the truth's."""
        angles = []
        for a in rig:
            for b in rig:
                want = a.camera_from_rig[:3, :3] @ b.rig_from_camera[:3, :3]
                have = cameras[a.name].camera_from_rig[:3, :3]
                have = have @ cameras[b.name].rig_from_camera[:3, :3]
                angles.append(np.arccos(np.clip((np.trace(want.T @ have) - 1) / 2, -1, 1)))
        return float(np.degrees(max(angles)))

    assert worst(refined) < 0.5 * worst(believed)
    with pytest.raises(ValueError, match="sigma"):
        checked(world, rig, rig, 5, 1).refined(rig, 0.0, 1.0)
    with pytest.raises(ValueError, match="rig has"):
        checked(world, rig, rig, 5, 1).refined(world.rig(3), 1.0, 1.0)


def test_camera_terms_by_finite_differences(world, rng, finite_difference) -> None:
    """Gradient of the loss by a camera's pose and focal length."""
    rig = world.rig(2)
    truth = world.head(rng, 20.0)
    views = stack_views(world.see(truth, rig, rng), rig)
    points = world.evaluator.positions(truth)
    jacobian = np.zeros((len(points), 3, 0))
    nu, scale = 5.0, 1.5

    def loss(changed) -> float:
        squared = changed.squared_residuals(points)[0] / scale**2
        return float(0.5 * (nu + 2) * np.log1p(squared / nu).sum())

    def posed(step: np.ndarray) -> float:
        moved = views.rotation.copy(), views.translation.copy()
        turn = rigid.rotation_from_rotvec(step[:3])
        moved[0][1] = turn @ moved[0][1]
        moved[1][1] = turn @ moved[1][1] + step[3:]
        return loss(replace(views, rotation=moved[0], translation=moved[1]))

    rows = whitened_rows(views, points, jacobian, 1, nu, scale)
    gradient = -np.einsum("kij,ki->j", rows.jacobian, rows.residual)
    numeric = finite_difference(posed, 6)
    np.testing.assert_allclose(gradient, numeric, rtol=1e-4, atol=1e-5 * np.abs(numeric).max())
    _, _, score = zoom_terms(views, points, "cam1", nu, scale)
    numeric = finite_difference(lambda s: loss(views.with_zoom("cam1", float(np.exp(s[0])))), 1)
    assert -score == pytest.approx(float(numeric[0]), rel=1e-4)
