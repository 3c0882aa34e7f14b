"""Synthetic rigs: names, geometry, lenses and a rig that moves."""

from __future__ import annotations

import numpy as np
import pytest

from flowface_ros import rigid
from flowface_ros.synth.scene.rigs import (
    FACE_SPACING_M,
    LENS_MODELS,
    MAX_CAMERAS,
    camera_names,
    look_at,
    people_places,
    sample_rig,
    subject_distance,
)

SIZE = (640, 480)


def test_names() -> None:
    assert camera_names(1) == ("camera",)
    assert camera_names(2) == ("left", "right")
    assert camera_names(3) == ("left", "center", "right")
    assert camera_names(5) == ("cam0", "cam1", "cam2", "cam3", "cam4")


@pytest.mark.parametrize("count", [0, -1, 9])
def test_impossible_counts_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match="cameras"):
        camera_names(count)


def test_look_at_puts_the_target_in_the_middle_and_up_upwards() -> None:
    pose = look_at([0, 0, 0], [1.0, 0, 0])
    np.testing.assert_allclose(rigid.apply(rigid.inverse(pose), [2.0, 0, 0]), [0, 0, 2], atol=1e-12)
    # Above the target is up in the image (-y), the rig's left is left in the image (-x).
    above_left = rigid.apply(rigid.inverse(pose), [1.0, 0.3, 0.2])
    np.testing.assert_allclose(above_left, [-0.3, -0.2, 1.0], atol=1e-12)


@pytest.mark.parametrize("count", range(1, MAX_CAMERAS + 1))
@pytest.mark.parametrize("faces", [1, 2, 4])
def test_every_camera_sees_every_head(count: int, faces: int) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        distance = subject_distance(rng, faces)
        places = people_places(rng, faces, distance)
        rig = sample_rig(rng, count, SIZE, distance, faces).at(0.0)
        for camera in rig:
            pixels, valid = camera.project(rigid.apply(camera.camera_from_rig, places))
            assert valid.all()
            assert camera.contains(pixels).all()
            assert camera.frame == f"{camera.name}_optical_frame"


def test_one_head_fills_its_share_of_the_image() -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        distance = subject_distance(rng, 1)
        assert 0.6 <= distance <= 1.2
        camera = sample_rig(rng, 1, SIZE, distance).cameras[0]
        ends = np.array([[distance, 0, 0.13], [distance, 0, -0.13]])
        pixels, _ = camera.project(rigid.apply(camera.camera_from_rig, ends))
        assert 0.38 < np.linalg.norm(pixels[1] - pixels[0]) / SIZE[1] < 0.68


@pytest.mark.parametrize("lens", LENS_MODELS)
def test_lenses_are_one_to_one_over_the_image(lens: str) -> None:
    for seed in range(10):
        camera = sample_rig(np.random.default_rng(seed), 1, SIZE, 0.8, lens=lens).cameras[0]
        x, y = np.meshgrid(
            np.linspace(-0.5, SIZE[0] - 0.5, 17), np.linspace(-0.5, SIZE[1] - 0.5, 13)
        )
        pixels = np.stack([x, y], axis=-1)
        rays, valid = camera.unproject(pixels)
        assert valid.all()
        again, seen = camera.project(rays)
        assert seen.all()
        np.testing.assert_allclose(again, pixels, atol=1e-6)


@pytest.mark.parametrize("lens", ["plumb_bob", "rational_polynomial"])
def test_corners_move_by_percents(lens: str) -> None:
    camera = sample_rig(np.random.default_rng(1), 1, SIZE, 0.8, lens=lens).cameras[0]
    corner = np.array([0.0, 0.0])
    normalised, _ = camera.undistort(corner)
    K = camera.intrinsics
    straight = K[:2, :2] @ normalised + K[:2, 2]
    moved = np.linalg.norm(straight - corner) / np.linalg.norm(straight - K[:2, 2])
    assert 0.01 < moved < 0.1


def test_unknown_lens_and_tiny_size_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"lens.*fisheye.*plumb_bob"):
        sample_rig(rng, 1, SIZE, 0.8, lens="fisheye")
    with pytest.raises(ValueError, match="size"):
        sample_rig(rng, 1, (8, 8), 0.8)


def test_static_rig_stands_still_and_moving_rig_moves_as_one() -> None:
    still = sample_rig(np.random.default_rng(0), 3, SIZE, 0.8)
    assert still.at(0.0) == still.at(2.0)
    moving = sample_rig(np.random.default_rng(0), 3, SIZE, 0.8, moving=True)
    a, b = moving.at(0.0), moving.at(2.0)
    assert not np.allclose(a["left"].rig_from_camera, b["left"].rig_from_camera, atol=1e-3)
    between = [r["left"].camera_from_rig @ r["right"].rig_from_camera for r in (a, b)]
    np.testing.assert_allclose(*between, atol=1e-12)


def test_moving_rig_is_interpolated_well_at_100_hz() -> None:
    for seed in range(5):
        rig = sample_rig(np.random.default_rng(seed), 1, SIZE, 0.8, moving=True)
        point, camera = np.array([0.8, 0.05, 0.05]), rig.cameras[0]
        for t in np.linspace(0, 5, 40):
            before, middle, after = (rig.carrier_pose(t + d) for d in (-0.005, 0.0, 0.005))
            halfway = (before + after) / 2
            pixels = [
                camera.project(rigid.apply(rigid.inverse(c @ camera.rig_from_camera), point))[0]
                for c in (middle, _orthonormal(halfway))
            ]
            assert np.linalg.norm(pixels[1] - pixels[0]) < 0.01


def _orthonormal(pose: np.ndarray) -> np.ndarray:
    u, _, v = np.linalg.svd(pose[:3, :3])
    return rigid.transform(u @ v, pose[:3, 3])


@pytest.mark.parametrize("faces", [2, 6])
def test_people_do_not_touch(faces: int) -> None:
    places = people_places(np.random.default_rng(0), faces, 1.5)
    gaps = np.linalg.norm(places[1:] - places[:-1], axis=1)
    assert gaps.min() >= FACE_SPACING_M
    assert people_places(np.random.default_rng(0), 0, 1.0).shape == (0, 3)
    with pytest.raises(ValueError, match="faces"):
        people_places(np.random.default_rng(0), 7, 1.5)
