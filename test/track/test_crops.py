"""Where known heads are looked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from track_world import FakeAligner, World, camera_at, facing

from flowface_ros import rigid
from flowface_ros.align.embedding import SKIN_POINTS, landmark_points
from flowface_ros.align.landmark_net import crop_from_landmarks
from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.model import HeadModel
from flowface_ros.track.crops import HeadHistory, HeadProjector, landmark_rows
from flowface_ros.track.tracked_head import Status, TrackedHead

CAMERA = camera_at("camera", [0, 0, 0], [1, 0, 0])
SECOND = 1_000_000_000
FLOAT32 = 1e-6
"""What a history keeps of a pose."""


def head(model: HeadModel, place, turn=(0.0, 0.0, 0.0), id: str = "p1") -> TrackedHead:
    state = facing(model, place)
    rotation = Rotation.from_rotvec(turn) * Rotation.from_rotvec(state.rotation)
    return TrackedHead(id, Status.TRACKED, replace(state, rotation=rotation.as_rotvec()))


def test_history_goes_on_with_constant_velocity(model: HeadModel) -> None:
    history = HeadHistory()
    history.take(0, [head(model, [1, 0, 0])])
    history.take(SECOND // 10, [head(model, [1, 0.02, 0], [0, 0, 0.1])])
    state = history.at("p1", SECOND // 10 + SECOND // 20)
    np.testing.assert_allclose(state.translation, [1, 0.03, 0], atol=FLOAT32)
    wanted = head(model, [1, 0, 0], [0, 0, 0.15]).state.rotation
    between = Rotation.from_rotvec(state.rotation).inv() * Rotation.from_rotvec(wanted)
    assert between.magnitude() < FLOAT32
    far = history.at("p1", 100 * SECOND)
    np.testing.assert_allclose(far.translation, [1, 0.06, 0], atol=FLOAT32)


def test_last_digits_of_a_pose_do_not_matter(model: HeadModel) -> None:
    states = []
    for off in (0.0, 1e-15):
        history = HeadHistory()
        history.take(0, [head(model, [1 + off, 0.3, 0], [0, off, 0.1])])
        states.append(history.at("p1", SECOND))
    assert np.array_equal(states[0].translation, states[1].translation)
    assert np.array_equal(states[0].rotation, states[1].rotation)


def test_history_forgets(model: HeadModel) -> None:
    history = HeadHistory()
    history.take(0, [head(model, [1, 0, 0]), head(model, [1, 1, 0], id="p2")])
    history.take(SECOND, [head(model, [1, 0.5, 0])])
    assert [h.id for h in history.heads] == ["p1"]
    # Two sets a second apart say nothing about velocity.
    np.testing.assert_array_equal(history.at("p1", 2 * SECOND).translation, [1, 0.5, 0])
    history.take(SECOND, [])
    assert history.heads, "a set that is not newer changes nothing"
    history.forget_before(SECOND)
    assert history.heads
    history.forget_before(SECOND + 1)
    assert not history.heads


def test_crop_is_that_of_the_landmarks(model: HeadModel) -> None:
    projector = HeadProjector(model, 256, 100.0)
    state = facing(model, [0.8, 0.1, 0.05], yaw=0.3)
    view = projector.view(CAMERA, state)
    assert view is not None
    points = SurfaceEvaluator(model, landmark_points(model)).positions(state)
    pixels, _ = CAMERA.project(rigid.apply(CAMERA.camera_from_rig, points))
    np.testing.assert_allclose(view.landmarks, pixels)
    wanted = crop_from_landmarks(pixels)
    assert view.crop.scale == pytest.approx(wanted.scale, rel=0.1)
    middle = [127.5, 127.5]
    shift = np.linalg.norm(view.crop.to_image(middle) - wanted.to_image(middle))
    assert shift < 0.05 * 256 * wanted.scale


@pytest.mark.parametrize(
    ("place", "yaw"),
    [([-0.8, 0, 0], 0.0), ([0.8, 3.0, 0], 0.0), ([0.8, 0, 0], np.pi)],
    ids=["behind the camera", "beside the image", "back of the head"],
)
def test_no_crop_of_what_cannot_be_seen(model: HeadModel, place: list[float], yaw: float) -> None:
    projector = HeadProjector(model, 256, 100.0)
    assert projector.view(CAMERA, facing(model, [0.8, 0, 0])) is not None
    assert projector.view(CAMERA, facing(model, place, yaw=yaw)) is None


def test_landmarks_of_an_alignment_are_near_the_landmarks(model: HeadModel) -> None:
    aligner = FakeAligner(World(model, [CAMERA], []), grid=48)
    rows = landmark_rows(model, aligner.points)
    assert rows.shape == (SKIN_POINTS,)
    state = facing(model, [0.8, 0, 0])
    places = SurfaceEvaluator(model, aligner.points).positions(state)[rows]
    landmarks = SurfaceEvaluator(model, landmark_points(model)).positions(state)[:SKIN_POINTS]
    assert np.percentile(np.linalg.norm(places - landmarks, axis=1), 95) < 0.006
