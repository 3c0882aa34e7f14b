"""Answers about a textured head move as its skin does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from textured_world import TexturedHead, play
from track_world import FakeAligner, FakeFinder, World, camera_at, facing

from flowface_ros.align.aligner import Picture
from flowface_ros.align.crop import cut
from flowface_ros.head.model import HeadModel
from flowface_ros.track.config import TrackerConfig
from flowface_ros.track.pipeline import Tracker
from flowface_ros.track.texture_memory import TextureMemory


@pytest.fixture(scope="module")
def head(model: HeadModel) -> TexturedHead:
    return TexturedHead(model)


def turning(head: TexturedHead, count: int = 16) -> list:
    return [head.turned(0.25 * np.sin(i / 5), 0.01 * np.sin(i / 3)) for i in range(count)]


def test_misread_turns_are_taken_back(head: TexturedHead) -> None:
    errors = play(head, turning(head))
    assert errors.said.mean() > 1.0
    assert errors.steadied[4:].mean() < 0.4 * errors.said[4:].mean()


def test_right_answers_stay_right(head: TexturedHead) -> None:
    errors = play(head, turning(head), misread_rad=0.0)
    assert errors.steadied.mean() < 0.25


def test_a_hand_before_the_face_does_not_drag_it_along(head: TexturedHead) -> None:
    states = turning(head)
    rng = np.random.default_rng(1)
    pictures = [head.picture(s) for s in states]
    for index, picture in enumerate(pictures[6:]):
        x = 250 + 8 * index
        picture[200:330, x : x + 50] = rng.integers(0, 255, (130, 50, 1), np.uint8)
    errors = play(head, states, pictures)
    assert errors.steadied[4:].mean() < 0.55 * errors.said[4:].mean()


def test_changing_light_is_not_motion(head: TexturedHead) -> None:
    states = turning(head)
    ramp = np.linspace(-1, 1, 640)[None, :, None]
    pictures = [
        np.clip(head.picture(s) * (1 + 0.3 * np.sin(i / 4) * ramp) + 2 * i, 0, 255).astype(np.uint8)
        for i, s in enumerate(states)
    ]
    errors = play(head, states, pictures)
    assert errors.steadied[4:].mean() < 0.5 * errors.said[4:].mean()


def test_pictures_that_show_nothing_leave_answers_near_where_they_are(head: TexturedHead) -> None:
    states = turning(head, 8)
    blank = [np.full((480, 640, 3), 90, np.uint8)] * len(states)
    errors = play(head, states, blank)
    assert np.abs(errors.steadied - errors.said).max() < 0.5 * errors.said.max()
    assert errors.steadied.mean() == pytest.approx(errors.said.mean(), rel=0.2)


def test_points_that_were_covered_are_believed_again_at_once(head: TexturedHead) -> None:
    memory = TextureMemory(head.skin)
    state = head.turned(0.0)
    crop = head.crop(state)
    truth = head.pixels(state)
    covered = (truth[:, 0] > np.median(truth[:, 0]))[:, None]
    (blank,) = cut(np.full((480, 640, 3), 90, np.uint8), [crop])
    errors = []
    for index in range(30):
        said = truth + covered * [45.0, 30.0] if 5 <= index < 25 else truth
        observation = head.observation(said, index)
        answer = memory.steadied(blank, crop, head.camera, state, observation)
        errors.append(np.linalg.norm(answer.pixels - truth, axis=1)[head.skin.rows].mean())
    assert max(errors[:5]) < 0.1
    assert max(errors[25:]) < 1.0


def test_what_cannot_be_compared_is_returned_as_it_is(head: TexturedHead) -> None:
    state = head.turned(0.0)
    crop = head.crop(state)
    (picture,) = cut(head.picture(state), [crop])
    memory = TextureMemory(head.skin)
    whole = head.observation(head.pixels(state))
    part = whole[np.arange(100)]
    assert memory.steadied(picture, crop, head.camera, state, part) is part
    behind = replace(state, translation=np.array([-0.6, 0, 0]))
    assert memory.steadied(picture, crop, head.camera, behind, whole) is whole


def test_looks_are_kept_by_direction_and_renewed(head: TexturedHead) -> None:
    memory = TextureMemory(head.skin)

    def look(yaw: float, index: int) -> None:
        state = head.turned(yaw)
        crop = head.crop(state)
        (picture,) = cut(head.picture(state), [crop])
        memory.steadied(
            picture, crop, head.camera, state, head.observation(head.pixels(state), index)
        )

    for index in range(20):
        look(0.001 * index, index)
    assert len(memory._kept) == 1
    first = memory._kept[0].stamp_ns
    look(0.4, 20)
    assert len(memory._kept) == 2
    look(0.0, 30 * 11)
    assert len(memory._kept) == 2
    assert min(k.stamp_ns for k in memory._kept) > first


def test_equal_pictures_give_equal_answers(head: TexturedHead) -> None:
    runs = [play(head, turning(head, 6)).steadied for _ in range(2)]
    assert np.array_equal(*runs)


def test_heads_that_are_gone_are_forgotten(model: HeadModel) -> None:
    camera = camera_at("camera", [0, 0, 0], [1, 0, 0])
    world = World(model, [camera], [lambda t: facing(model, [1, 0, 0]) if t < 0.2 else None])
    tracker = Tracker(model, FakeAligner(world), FakeFinder(world), TrackerConfig())
    kept = []
    for index in range(60):
        tracker.update(world.frames(index))
        kept.append(len(tracker._views._memories))
    assert max(kept) == 1
    assert kept[-1] == 0


def test_without_memory_answers_are_the_aligners(model: HeadModel) -> None:
    camera = camera_at("camera", [0, 0, 0], [1, 0, 0])
    world = World(model, [camera], [lambda t: facing(model, [1, 0, 0])])
    changed = []
    for remembers in (False, True):
        config = TrackerConfig(texture_memory=remembers)
        tracker = Tracker(model, FakeAligner(world), FakeFinder(world), config)
        for index in range(5):
            tracker.update(world.frames(index))
        (frame,) = world.frames(5)
        (alignment,) = tracker._views.align([frame]).alignments
        (answer,) = FakeAligner(world).align_faces(
            Picture(frame.image, camera.name, frame.stamp_ns),
            FakeFinder(world).detect_faces(frame.image),
        )
        changed.append(np.abs(alignment.observation.pixels - answer.observation.pixels).max())
    assert changed[0] < 1e-3
    assert changed[1] > 0.1
