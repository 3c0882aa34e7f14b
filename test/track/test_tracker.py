"""The whole tracker on a world of exact faces with noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from track_world import (
    FPS,
    FakeAligner,
    FakeFinder,
    World,
    camera_at,
    facing,
    make_tracker,
    run,
)

from flowface_ros.camera.camera import Camera
from flowface_ros.fit.frame_fit import FrameFitter
from flowface_ros.fit.result import FitResult
from flowface_ros.head.model import HeadModel
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.head.state import HeadState, state_vector
from flowface_ros.track.config import TrackerConfig
from flowface_ros.track.frames import TrackResult, ViewFrame
from flowface_ros.track.pipeline import Tracker
from flowface_ros.track.tracked_head import Status

LEFT = camera_at("left", [0, 0.35, 0], [0.9, 0, 0])
RIGHT = camera_at("right", [0, -0.35, 0], [0.9, 0, 0])
MIDDLE = camera_at("middle", [0, 0, 0.02], [0.9, 0, 0])


def still(state: HeadState):
    return lambda t: state


def moving(state: HeadState, velocity: Sequence[float]):
    return lambda t: replace(state, translation=state.translation + t * np.array(velocity))


def swaying(state: HeadState):
    """A head that sways by centimetres and talks."""
    count = len(state.expression)

    def at(t: float) -> HeadState:
        sway = [0.02 * np.sin(2 * t), 0.06 * np.sin(3 * t), 0.02 * np.sin(5 * t)]
        talk = np.clip(0.3 * np.sin(np.arange(count) + 6 * t), 0, 1)
        return replace(state, translation=state.translation + sway, expression=talk)

    return at


def ids(result: TrackResult) -> list[str]:
    return [head.id for head in result.heads]


def error_m(result: TrackResult, state: HeadState) -> float:
    """Distance of the nearest head from a true one."""
    return min(float(np.linalg.norm(h.state.translation - state.translation)) for h in result.heads)


def test_ids_begin_with_the_prefix(model: HeadModel) -> None:
    world = World(model, [MIDDLE], [still(facing(model, [0.9, 0, 0]))])
    tracker = make_tracker(world, id_prefix="left_")
    assert ids(run(world, tracker, 1)[0]) == ["left_1"]
    tracker.reset()
    assert ids(run(world, tracker, 1)[0]) == ["left_2"]


@pytest.mark.parametrize("cameras", [[MIDDLE], [LEFT, RIGHT]], ids=["one view", "two views"])
def test_a_person_is_confirmed_and_followed(model: HeadModel, cameras: list[Camera]) -> None:
    motion = swaying(facing(model, [0.9, 0, 0]))
    world = World(model, cameras, [motion])
    results = run(world, make_tracker(world), 12)
    statuses = [[head.status for head in r.heads] for r in results]
    assert statuses == [[Status.TENTATIVE]] * 2 + [[Status.TRACKED]] * 10
    assert {i for r in results for i in ids(r)} == {"p1"}
    for index, result in enumerate(results[3:], start=3):
        (head,), truth = result.heads, motion(index / FPS)
        assert head.views == tuple(c.name for c in cameras)
        assert head.confidence > 0.9
        # One view tells size from distance only as well as it knows the person's shape.
        assert error_m(result, truth) < (0.08 if len(cameras) == 1 else 0.003)
    face = model.vertex_groups["face"]
    distance = pose_vertices(model, head.state)[face] - pose_vertices(model, truth)[face]
    if len(cameras) > 1:
        assert np.linalg.norm(distance, axis=1).mean() < 1e-3


def test_nobody_gives_no_head(model: HeadModel) -> None:
    world = World(model, [LEFT, RIGHT], [])
    for result in run(world, make_tracker(world), 3):
        assert result.heads == () and result.removed == ()


def test_equal_input_gives_equal_heads_and_a_reset_only_other_ids(model: HeadModel) -> None:
    world = World(model, [LEFT, RIGHT], [swaying(facing(model, [0.9, 0, 0]))])
    tracker = make_tracker(world)
    first = run(world, tracker, 5)
    tracker.reset()
    second, fresh = run(world, tracker, 5), run(world, make_tracker(world), 5)
    assert [ids(r) for r in first] == [ids(r) for r in fresh] == [["p1"]] * 5
    assert [ids(r) for r in second] == [["p2"]] * 5
    assert second[0].removed == ()
    for others in (second, fresh):
        for a, b in zip(first, others, strict=True):
            x, y = a.heads[0].state, b.heads[0].state
            np.testing.assert_array_equal(state_vector(x), state_vector(y))
            np.testing.assert_array_equal(x.covariance, y.covariance)
            assert a.statistics.counters == b.statistics.counters


def test_a_lost_head_coasts_then_goes_and_comes_back_under_another_id(model: HeadModel) -> None:
    base = facing(model, [0.9, 0, 0])
    world = World(model, [LEFT, RIGHT], [moving(base, [0, 0.1, 0])])
    world.blind = lambda camera, t: 0.31 < t < 1.2
    results = run(world, make_tracker(world, coast_time_s=0.29), 42)
    status = [r.heads[0].status if r.heads else None for r in results]
    assert status[9] is Status.TRACKED
    coasting = [i for i, s in enumerate(status) if s is Status.COASTING]
    assert coasting == list(range(10, 18))
    gone = results[18]
    assert gone.removed == ("p1",) and gone.heads == () and gone.statistics.counters["lost"] == 1
    sigmas = [np.trace(results[i].heads[0].state.covariance[:6, :6]) for i in range(9, 18)]
    assert np.all(np.diff(sigmas) > 0)
    confidences = [results[i].heads[0].confidence for i in coasting]
    assert np.all(np.diff(confidences) < 0) and confidences[-1] >= 0
    assert all(results[i].heads[0].views == () for i in coasting)
    last = results[12].heads[0].state
    assert np.linalg.norm(last.translation - world.states(12 / FPS)[0].translation) < 0.01
    assert ids(results[-1]) == ["p2"]


def test_a_short_occlusion_keeps_the_id(model: HeadModel) -> None:
    world = World(model, [MIDDLE], [moving(facing(model, [0.9, -0.1, 0]), [0, 0.2, 0])])
    world.blind = lambda camera, t: 0.31 < t < 0.6
    results = run(world, make_tracker(world), 26)
    assert {i for r in results for i in ids(r)} == {"p1"}
    assert results[-1].heads[0].status is Status.TRACKED


def test_a_camera_that_drops_out_and_comes_back(model: HeadModel) -> None:
    motion = swaying(facing(model, [0.9, 0, 0]))
    world = World(model, [LEFT, RIGHT], [motion])
    tracker = make_tracker(world)
    spread = {}
    for index in range(30):
        without = 10 <= index < 20
        result = tracker.update(world.frames(index, ["left"] if without else None))
        assert ids(result) == ["p1"]
        assert error_m(result, motion(index / FPS)) < 0.02
        spread[index] = np.trace(result.heads[0].state.covariance[:3, :3])
    assert spread[19] > 2 * spread[9]
    assert set(result.heads[0].views) == {"left", "right"}


def test_a_view_gone_black_is_used_again(model: HeadModel) -> None:
    world = World(model, [LEFT, RIGHT], [swaying(facing(model, [0.9, 0, 0]))])
    world.blind = lambda camera, t: camera == "left" and 0.2 < t < 0.5
    results = run(world, make_tracker(world), 20)
    assert results[10].heads[0].views == ("right",)
    assert results[10].statistics.counters["low_presence"] >= 1
    assert results[-1].heads[0].views == ("left", "right")
    assert {i for r in results for i in ids(r)} == {"p1"}


def test_two_people_in_two_views(model: HeadModel) -> None:
    truth = [facing(model, [1.3, 0.22, 0], seed=1), facing(model, [1.3, -0.22, 0.03], seed=2)]
    cameras = [
        camera_at("left", [0, 0.4, 0], [1.3, 0, 0]),
        camera_at("right", [0, -0.4, 0], [1.3, 0, 0]),
    ]
    world = World(model, cameras, [still(state) for state in truth])
    results = run(world, make_tracker(world), 8)
    assert [len(r.heads) for r in results] == [2] * 8
    assert {i for r in results for i in ids(r)} == {"p1", "p2"}
    for state in truth:
        assert error_m(results[-1], state) < 0.005
    assert all(set(head.views) == {"left", "right"} for head in results[-1].heads)


@pytest.mark.parametrize("cameras", [1, 2])
def test_two_people_who_cross_keep_their_ids(model: HeadModel, cameras: int) -> None:
    rig = [
        camera_at("left", [0, 0.05, 0], [1.4, 0, 0]),
        camera_at("right", [0, -0.45, 0], [1.4, 0, 0]),
    ][:cameras]
    near = moving(facing(model, [1.1, 0.3, 0], seed=3), [0, -0.5, 0])
    far = moving(facing(model, [1.6, -0.3, 0.02], seed=4), [0, 0.5, 0])
    world = World(model, rig, [near, far])
    results = run(world, make_tracker(world), 38)

    def nearest(result: TrackResult, state: HeadState) -> str:
        heads = {h.id: h.state.translation for h in result.heads}
        distance = {id: np.linalg.norm(place - state.translation) for id, place in heads.items()}
        return min(distance, key=distance.__getitem__)

    before = [nearest(results[4], person(4 / FPS)) for person in (near, far)]
    after = [nearest(results[-1], person(37 / FPS)) for person in (near, far)]
    assert len(set(before)) == 2
    assert after == before
    assert all(len(r.heads) <= 2 for r in results)
    assert [h.status for h in results[-1].heads] == [Status.TRACKED] * 2


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
        assert len(result.heads) <= 2


def test_views_without_overlap(model: HeadModel) -> None:
    """Two cameras that look away from each other: a person before each."""
    front = facing(model, [0.9, 0, 0], seed=1)
    turn = np.diag([-1.0, -1.0, 1.0])
    behind = replace(
        front,
        translation=turn @ front.translation,
        rotation=_turned(front.rotation, turn),
    )
    cameras = [
        camera_at("front", [0, 0, 0], [0.9, 0, 0]),
        camera_at("back", [-0.05, 0, 0], [-0.9, 0, 0]),
    ]
    world = World(model, cameras, [still(front), still(behind)])
    result = run(world, make_tracker(world), 4)[-1]
    assert sorted(head.views for head in result.heads) == [("back",), ("front",)]


def test_a_person_walks_from_one_view_into_another(model: HeadModel) -> None:
    cameras = [
        camera_at("a", [0, 0, 0], [1.0, 0.55, 0]),
        camera_at("b", [0, 0, 0.05], [1.0, -0.55, 0]),
    ]
    world = World(model, cameras, [moving(facing(model, [1.1, 0.6, 0]), [0, -0.8, 0])])
    results = run(world, make_tracker(world), 45)
    assert {i for r in results for i in ids(r)} == {"p1"}
    assert results[5].heads[0].views == ("a",)
    assert results[-1].heads[0].views == ("b",)


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
    with pytest.raises(ValueError, match="'left' is 100x100"):
        ViewFrame(LEFT, np.zeros((100, 100, 3), np.uint8), 0)


def test_stamps_of_one_set_are_compensated(model: HeadModel) -> None:
    motion = moving(facing(model, [0.9, -0.25, 0]), [0, 0.6, 0])
    errors = {}
    for compensate in (True, False):
        world = World(model, [LEFT, RIGHT], [motion], offset_ns={"right": 4_000_000})
        results = run(world, make_tracker(world, compensate_stamps=compensate), 20)
        errors[compensate] = np.mean(
            [error_m(r, motion(i / FPS)) for i, r in enumerate(results) if i >= 12]
        )
        assert results[-1].heads[0].stamp_spread_s == pytest.approx(0.004)
    assert errors[True] < 0.5 * errors[False]


def test_frozen_shapes_stay(model: HeadModel) -> None:
    world = World(model, [LEFT, RIGHT], [swaying(facing(model, [0.9, 0, 0]))])
    tracker = make_tracker(world)
    run(world, tracker, 4)
    tracker.freeze_identity(True)
    frozen = [r.heads[0].state.shape for r in run(world, tracker, 6, start=4)]
    for shape in frozen[1:]:
        np.testing.assert_array_equal(shape, frozen[0])
    tracker.freeze_identity(False)
    free = run(world, tracker, 6, start=10)
    assert any(not np.array_equal(r.heads[0].state.shape, frozen[0]) for r in free)


def test_known_heads_are_not_searched_for_in_every_set(model: HeadModel) -> None:
    world = World(model, [LEFT, RIGHT], [still(facing(model, [0.9, 0, 0]))])
    finder = FakeFinder(world)
    tracker = Tracker(model, FakeAligner(world), finder, TrackerConfig(detection_interval_s=0.5))
    run(world, tracker, 31)
    assert 2 < finder.calls <= 2 + 2 * 3
    assert len(finder.followed) == 1


def test_all_crops_of_a_set_are_one_batch(model: HeadModel) -> None:
    people = [still(facing(model, [1.3, y, 0], seed=1)) for y in (-0.22, 0.22)]
    world = World(model, [LEFT, RIGHT], people)
    aligner = FakeAligner(world)
    tracker = Tracker(model, aligner, FakeFinder(world), TrackerConfig(max_faces=2))
    run(world, tracker, 3)
    assert aligner.batches == [4, 4, 4]


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


def test_statistics_name_stages_and_views(model: HeadModel) -> None:
    world = World(model, [LEFT, RIGHT], [still(facing(model, [0.9, 0, 0]))])
    statistics = run(world, make_tracker(world), 2)[-1].statistics
    assert set(statistics.stage_ms) == {"detect", "align", "associate", "fit"}
    assert all(ms >= 0 for ms in statistics.stage_ms.values())
    assert statistics.view_rmse_px.keys() == {"left", "right"}
    assert all(0.3 < rmse < 1.2 for rmse in statistics.view_rmse_px.values())


def _turned(rotvec: np.ndarray, turn: np.ndarray) -> np.ndarray:
    return (Rotation.from_matrix(turn) * Rotation.from_rotvec(rotvec)).as_rotvec()
