"""The whole tracker on a world of exact faces with noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
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
    moving,
    run,
    still,
    swaying,
)

from flowface_ros.camera.camera import Camera
from flowface_ros.head.model import HeadModel
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.head.state import HeadState, state_vector
from flowface_ros.track.config import TrackerConfig
from flowface_ros.track.frames import TrackResult
from flowface_ros.track.pipeline import Tracker
from flowface_ros.track.tracked_head import Status


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


def test_a_head_that_may_not_coast_is_followed_all_the_same(model: HeadModel) -> None:
    """However far apart sets are, a head is lost by the first that misses it."""
    world = World(model, [MIDDLE], [still(facing(model, [0.9, 0, 0]))])
    world.blind = lambda camera, t: t > 5.5 / FPS
    results = run(world, make_tracker(world, coast_time_s=0.0), 8)
    assert {i for r in results for i in ids(r)} == {"p1"}
    assert [len(r.heads) for r in results] == [1] * 6 + [0] * 2
    assert results[5].heads[0].status is Status.TRACKED and results[6].removed == ("p1",)


def test_everybody_is_a_newcomer_after_a_long_pause(model: HeadModel) -> None:
    world = World(model, [MIDDLE], [still(facing(model, [0.9, 0, 0]))])
    tracker = make_tracker(world)
    run(world, tracker, 4)
    assert ids(tracker.update(world.frames(round(0.8 * FPS)))) == ["p1"]
    assert ids(tracker.update(world.frames(round(3 * FPS)))) == ["p2"]


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


def test_statistics_name_stages_and_views(model: HeadModel) -> None:
    world = World(model, [LEFT, RIGHT], [still(facing(model, [0.9, 0, 0]))])
    statistics = run(world, make_tracker(world), 2)[-1].statistics
    assert set(statistics.stage_ms) == {"detect", "align", "associate", "fit"}
    assert all(ms >= 0 for ms in statistics.stage_ms.values())
    assert statistics.view_rmse_px.keys() == {"left", "right"}
    assert all(0.3 < rmse < 1.2 for rmse in statistics.view_rmse_px.values())


def _turned(rotvec: np.ndarray, turn: np.ndarray) -> np.ndarray:
    return (Rotation.from_matrix(turn) * Rotation.from_rotvec(rotvec)).as_rotvec()
