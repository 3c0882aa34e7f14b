"""Aligners and fitter apart, in lock-step, give the heads that the tracker gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from track_world import FPS, FakeAligner, FakeFinder, World, camera_at, facing, make_tracker, run

from flowface_ros.align.observation import Observation
from flowface_ros.head.model import HeadModel
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.track.config import TrackerConfig
from flowface_ros.track.frames import ViewAlignment
from flowface_ros.track.head_tracker import HeadTracker
from flowface_ros.track.tracked_head import TrackedHead
from flowface_ros.track.view_aligner import ViewAligner

CAMERAS = [
    camera_at("left", [0, 0.4, 0], [1.2, 0, 0]),
    camera_at("right", [0, -0.4, 0], [1.2, 0, 0]),
]


def world_of_two(model: HeadModel) -> World:
    def motion(place: Sequence[float], seed: int):
        base = facing(model, place, seed=seed)
        return lambda t: replace(
            base, translation=np.add(base.translation, [0, 0.05 * np.sin(4 * t + seed), 0])
        )

    world = World(model, CAMERAS, [motion([1.2, -0.2, 0], 1), motion([1.25, 0.2, 0], 2)])
    world.blind = lambda camera, t: camera == "left" and 0.2 < t < 0.3
    return world


def rounded(alignment: ViewAlignment) -> ViewAlignment:
    """As after a message of float32."""
    o = alignment.observation
    pixels, sigma = o.pixels.astype(np.float32), o.sigma.astype(np.float32)
    return replace(
        alignment, observation=Observation(o.points, pixels, sigma, o.camera, o.stamp_ns)
    )


def rounded_head(head: TrackedHead) -> TrackedHead:
    names = ("neck", "jaw", "left_eye", "right_eye", "expression", "shape")
    values = {n: getattr(head.state, n).astype(np.float32).astype(float) for n in names}
    return replace(head, state=replace(head.state, covariance=None, **values))


def test_split_equals_whole(model: HeadModel) -> None:
    world, config = world_of_two(model), TrackerConfig()
    whole = run(world, make_tracker(world), 12)
    aligners = {
        c.name: ViewAligner(model, FakeAligner(world), FakeFinder(world), config) for c in CAMERAS
    }
    fitter = HeadTracker(model, config)
    for index, wanted in enumerate(whole):
        frames = world.frames(index)
        alignments = [
            rounded(alignment)
            for frame in frames
            for alignment in aligners[frame.camera.name].align([frame]).alignments
        ]
        result = fitter.update([f.camera for f in frames], [f.stamp_ns for f in frames], alignments)
        for aligner in aligners.values():
            aligner.follow(result.stamp_ns, [rounded_head(h) for h in result.heads])
        assert [(h.id, h.status, h.views) for h in result.heads] == [
            (h.id, h.status, h.views) for h in wanted.heads
        ]
        for a, b in zip(result.heads, wanted.heads, strict=True):
            assert np.array_equal(pose_vertices(model, a.state), pose_vertices(model, b.state))
    assert len(whole[-1].heads) == 2


def test_an_aligner_without_word_of_the_fitter_goes_on_with_its_own(model: HeadModel) -> None:
    world = world_of_two(model)
    finder = FakeFinder(world)
    aligner = ViewAligner(model, FakeAligner(world), finder, TrackerConfig(max_faces=2))
    for index in range(6):
        aligned = aligner.align(world.frames(index, ["right"]))
        assert [a.id for a in aligned.alignments] == ["", ""]
    assert finder.calls == 1, "both faces are followed by their own alignments"


def test_stale_heads_are_forgotten(model: HeadModel) -> None:
    world = world_of_two(model)
    config = TrackerConfig(coast_time_s=0.1)
    heads = run(world, make_tracker(world), 3)[-1].heads
    aligner = ViewAligner(model, FakeAligner(world), FakeFinder(world), config)
    aligner.follow(world.frames(2)[0].stamp_ns, heads)
    known = aligner.align(world.frames(3, ["right"])).alignments
    assert {a.id for a in known} == {"p1", "p2"}
    late = aligner.align(world.frames(round(2 * FPS), ["right"])).alignments
    assert {a.id for a in late} == {""}
