"""The tracker on what goes wrong: clutter, broken fits, bad sets, answers that lack points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from track_world import (
    FPS,
    LEFT,
    MIDDLE,
    RIGHT,
    FakeAligner,
    FakeFinder,
    World,
    camera_at,
    error_m,
    facing,
    ids,
    make_tracker,
    run,
    still,
    swaying,
)

from flowface_ros.align.aligner import FaceAlignment, Picture
from flowface_ros.align.crop import Crop
from flowface_ros.fit.frame_fit import FrameFitter
from flowface_ros.fit.result import FitResult
from flowface_ros.head.model import HeadModel
from flowface_ros.head.state import state_vector
from flowface_ros.track import head_tracker
from flowface_ros.track.association import Assigned, assign
from flowface_ros.track.frames import ViewFrame
from flowface_ros.track.head_tracker import HeadTracker
from flowface_ros.track.pipeline import Tracker
from flowface_ros.track.tracked_head import Status
from flowface_ros.track.view_aligner import ViewAligner


def test_clutter_never_becomes_a_confirmed_head(model: HeadModel) -> None:
    world = World(model, [LEFT, RIGHT], [still(facing(model, [0.9, 0, 0]))])
    world.clutter = [("left", 0.0, np.array([90.0, 90.0]))]
    results = run(world, make_tracker(world), 6)
    assert {h.id for r in results for h in r.heads if h.status is Status.TRACKED} == {
        ids(results[-1])[0]
    }
    assert len(results[-1].heads) == 1


def test_doubtful_detections_must_be_found_again(model: HeadModel) -> None:
    """A pattern that looks like a face now and then is none; a half hidden face is found again."""
    motion = still(facing(model, [0.9, 0, 0]))
    for found_in, heads in (((0,), [0, 0, 0]), ((0, 1, 2), [0, 1, 1])):
        world = World(model, [MIDDLE], [motion])
        finder = FakeFinder(world, score=0.6)
        finder.blind_to = lambda t, found_in=found_in: round(t * FPS) not in found_in
        tracker = Tracker(model, FakeAligner(world), finder)
        results = run(world, tracker, 3)
        assert [len(r.heads) for r in results] == heads
        assert results[0].statistics.counters["doubtful_detection"] == 1


def test_no_more_heads_than_max_faces(model: HeadModel) -> None:
    places = [[1.6, -0.5, 0], [1.6, 0, 0], [1.6, 0.5, 0]]
    people = [still(facing(model, place, seed=i)) for i, place in enumerate(places)]
    world = World(model, [camera_at("wide", [0, 0, 0], [1.6, 0, 0])], people)
    for result in run(world, make_tracker(world, max_faces=2), 5):
        assert len(result.heads) == 2


def test_cameras_in_the_same_place_are_refused(model: HeadModel) -> None:
    world = World(model, [LEFT, replace(LEFT, name="copy")], [still(facing(model, [0.9, 0, 0]))])
    tracker = make_tracker(world)
    with pytest.raises(ValueError, match=r"'left'.*'copy'"):
        tracker.update(world.frames(0))


def test_bad_sets_are_refused_and_change_nothing(model: HeadModel) -> None:
    world = World(model, [LEFT, RIGHT], [still(facing(model, [0.9, 0, 0]))])
    tracker = make_tracker(world)
    run(world, tracker, 3)
    frames = world.frames(3)
    for bad, message in (
        ([], "empty"),
        ([frames[0], frames[0]], "different names"),
        (world.frames(2), "later than"),
    ):
        with pytest.raises(ValueError, match=message):
            tracker.update(bad)
    assert ids(tracker.update(frames)) == ["p1"]


def test_nonsense_in_every_view_loses_the_head_without_a_trace(model: HeadModel) -> None:
    """An aligner that is sure of random places must not drag the head along."""
    motion = still(facing(model, [0.9, 0, 0]))
    world = World(model, [LEFT, RIGHT], [motion])
    world.clutter = [(c, 6 / FPS, np.array([320.0, 240.0])) for c in ("left", "right")]
    world.blind = lambda camera, t: abs(t - 6 / FPS) < 0.01
    results = run(world, make_tracker(world), 10)
    assert results[6].heads[0].status is Status.COASTING
    for result in results[5:]:
        assert error_m(result, motion(0.0)) < 0.005
        assert np.isfinite(result.heads[0].state.covariance).all()
    assert ids(results[-1]) == ["p1"]


@pytest.mark.parametrize("fault", ["not a number", "singular", "degenerate covariance"])
def test_a_fit_that_breaks_down_is_counted_and_forgotten(
    model: HeadModel, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    motion = still(facing(model, [0.9, 0, 0]))
    world = World(model, [LEFT, RIGHT], [motion])
    tracker = make_tracker(world)
    run(world, tracker, 4)
    fit = FrameFitter.fit

    def broken(self: FrameFitter, *args: object, **options: object) -> FitResult:
        result = fit(self, *args, **options)
        if fault == "singular":
            raise np.linalg.LinAlgError("singular")
        if fault == "not a number":
            state = replace(result.state, translation=np.full(3, np.nan))
        else:
            state = replace(result.state, covariance=np.full_like(result.state.covariance, np.inf))
        return replace(result, state=state)

    monkeypatch.setattr(FrameFitter, "fit", broken)
    for result in run(world, tracker, 2, start=4):
        assert result.statistics.counters["fit_failed"] >= 1
        assert [h.status for h in result.heads] == [Status.COASTING]
        assert np.isfinite(state_vector(result.heads[0].state)).all()
    monkeypatch.undo()
    (head,) = run(world, tracker, 1, start=6)[0].heads
    assert (head.id, head.status) == ("p1", Status.TRACKED)
    assert np.linalg.norm(head.state.translation - motion(0).translation) < 0.005


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((100, 100, 3), np.uint8), "'left' is 100x100"),
        (np.zeros((480, 640, 4), np.uint8), r"'left': image has shape \(480, 640, 4\)"),
        (np.zeros((480, 640, 3), np.float32), "'left': image is float32"),
    ],
)
def test_images_that_are_none_are_refused(image: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ViewFrame(LEFT, image, 0)


def test_grey_images_are_images() -> None:
    assert ViewFrame(LEFT, np.zeros((480, 640), np.uint8), 0).image.ndim == 2


def test_the_joint_part_refuses_what_does_not_fit_together(model: HeadModel) -> None:
    world = World(model, [LEFT, RIGHT], [still(facing(model, [0.9, 0, 0]))])
    views, tracker = ViewAligner(model, FakeAligner(world), FakeFinder(world)), HeadTracker(model)
    alignments = views.align(world.frames(0, ["right"])).alignments
    assert len(alignments) == 1
    with pytest.raises(ValueError, match=r"alignments are of \['right'\], the set has \['left'\]"):
        tracker.update([LEFT], [0], alignments)
    with pytest.raises(ValueError, match="stamps_ns has 1 stamps for 2 cameras"):
        tracker.update([LEFT, RIGHT], [0], alignments)
    assert ids(tracker.update([LEFT, RIGHT], [0, 0], alignments)) == ["p1"]


def test_further_people_are_counted(model: HeadModel) -> None:
    """Each of two views that do not overlap shows a person, and there may be one."""
    cameras = [
        camera_at("left", [0, 0.8, 0], [1, 0.8, 0]),
        camera_at("right", [0, -1, 0], [1, -1, 0]),
    ]
    people = [still(facing(model, [1.0, y, 0], seed=i)) for i, y in enumerate((0.8, -1.0))]
    world = World(model, cameras, people)
    (result,) = run(world, make_tracker(world, max_faces=1), 1)
    assert len(result.heads) == 1 and result.statistics.counters["too_many_faces"] == 1


@pytest.mark.parametrize("reach", [{"max_distance_m": 0.5}, {"min_distance_m": 1.5}])
def test_heads_out_of_reach_are_refused(model: HeadModel, reach: dict[str, float]) -> None:
    world = World(model, [MIDDLE], [still(facing(model, [0.9, 0, 0]))])
    (result,) = run(world, make_tracker(world, **reach), 1)
    assert result.heads == () and result.statistics.counters["implausible"] == 1


def test_a_head_that_is_to_be_forgotten_is_a_newcomer(model: HeadModel) -> None:
    world = World(model, [MIDDLE], [still(facing(model, [0.9, 0, 0]))])
    tracker = make_tracker(world)
    run(world, tracker, 4)
    tracker.forget(["p1", "p7"])
    (result,) = run(world, tracker, 1, start=4)
    assert ids(result) == ["p2"] and result.removed == ()


class GappyAligner(FakeAligner):
    """Leaves its first points out, as aligners do whose network gives no number for them."""

    def _answer(self, picture: Picture, crop: Crop) -> FaceAlignment:
        answer = super()._answer(picture, crop)
        return replace(answer, observation=answer.observation[slice(40, None)])


def test_answers_that_lack_points_are_used(model: HeadModel) -> None:
    motion = swaying(facing(model, [0.9, 0, 0]))
    world = World(model, [LEFT, RIGHT], [motion])
    results = run(world, Tracker(model, GappyAligner(world), FakeFinder(world)), 6)
    assert {i for r in results for i in ids(r)} == {"p1"}
    assert error_m(results[-1], motion(5 / FPS)) < 0.005


@pytest.mark.parametrize("frozen", [False, True])
def test_two_heads_that_are_one_person_are_merged(
    model: HeadModel, monkeypatch: pytest.MonkeyPatch, frozen: bool
) -> None:
    """The older one goes on, with its shape."""
    motion = still(facing(model, [0.9, 0, 0], seed=3))
    world = World(model, [LEFT, RIGHT], [motion])
    tracker = make_tracker(world)
    before = [tracker.update(world.frames(i, ["left"])) for i in range(4)][-1]
    tracker.freeze_identity(frozen)

    def apart(*arguments: object) -> Assigned:
        """The right view's face is taken for a stranger's."""
        assigned = assign(*arguments)
        faces = [a for of_head in assigned.of_head.values() for a in of_head]
        right = [a for a in faces if a.camera.name == "right"]
        of_head = {id: [a for a in f if a not in right] for id, f in assigned.of_head.items()}
        return Assigned(of_head, [*assigned.free, *right], assigned.duplicates)

    monkeypatch.setattr(head_tracker, "assign", apart)
    monkeypatch.setattr(head_tracker, "misfit", lambda *_: np.inf)
    monkeypatch.setattr(head_tracker, "_TOO_CLOSE_M", 0.0)
    result = tracker.update(world.frames(4))
    assert result.statistics.counters["merged"] == 1
    (head,) = result.heads
    assert (head.id, head.views, head.status) == ("p1", ("left", "right"), Status.TRACKED)
    assert error_m(result, motion(0)) < 0.005
    assert np.array_equal(head.state.shape, before.heads[0].state.shape) == frozen
