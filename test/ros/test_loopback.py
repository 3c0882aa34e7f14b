"""Whole runs over DDS: a player, the nodes and this recorder, each in its own process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_recorder import Recorder, play, process, ros_args
from ros_world import BAG_SETS as SETS
from ros_world import CAMERAS, RIG_FRAME, Robot, make_world
from track_world import START_NS

from flowface_ros.bag.face_messages import read_face, read_mesh, stamp_ns
from flowface_ros.bag.reader import open_bag
from flowface_ros.bag.recording import FACES_TOPIC, MESHES_TOPIC
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.msg import FaceArray, FaceMesh
from flowface_ros.rigid import apply, inverse
from flowface_ros.track.tracked_head import face_pose

HERE = Path(__file__).parent

MM = 1e-3
BEFORE = 40
"""Sets of a later time, so that the first loop begins with a jump as the second does."""


@dataclass
class Runs:
    """The nodes, and what they said to two loops of sets that were sent one by one.

    loops: FaceArrays of all sets, by loop and by node. meshes: by the QoS of the subscription.
    """

    robot: Robot
    tracker: Recorder
    loops: list[dict[str, list[FaceArray]]]
    meshes: dict[str, list[FaceMesh]]


@pytest.fixture(scope="module")
def runs(ros_domain: None, world_bag: Path) -> Iterator[Runs]:
    """A tracker, and two aligners with a fitter, each in its own process, before one robot."""
    all_cameras = f"[{','.join(CAMERAS)}]"
    patient = {"max_wait": 5.0}
    seen = {f"{name}__reliability": "reliable" for name in CAMERAS}
    rig = {"cameras": all_cameras, "rig_frame": RIG_FRAME, **patient}
    fake = HERE / "fake_node.py"
    with ExitStack() as stack:
        rclpy.init()
        stack.callback(rclpy.shutdown)
        robot = Robot(make_world())
        stack.callback(robot.close)
        recorders = {name: Recorder(robot.node, name) for name in ("tracker", "fitter")}
        for command in (
            (fake, "tracker", *ros_args(**rig, **seen)),
            (fake, "aligner", *ros_args("__node:=aligner_a", cameras="[left]", **patient, **seen)),
            (fake, "aligner", *ros_args("__node:=aligner_b", cameras="[center,right]", **seen)),
            ("-m", "flowface_ros.ros.fitter_node", *ros_args(**rig, id_prefix="q")),
        ):
            stack.enter_context(process(*command))
        got: dict[str, list[FaceMesh]] = {"reliable": [], "best effort": []}
        unreliable = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        for name, qos in (("reliable", QoSProfile(depth=5)), ("best effort", unreliable)):
            robot.node.create_subscription(FaceMesh, "/tracker/meshes", got[name].append, qos)
        assert robot.wait(lambda: all(recorder.ready for recorder in recorders.values()))
        robot.mount()
        index = iter(range(BEFORE, 10**6))
        assert robot.wait(lambda: _all_see_all(robot, recorders, next(index)))
        recorders["tracker"].forget()
        loops = [_loop(robot, recorders) for _ in range(2)]
        yield Runs(robot, recorders["tracker"], loops, got)


def _all_see_all(robot: Robot, recorders: dict[str, Recorder], index: int) -> bool:
    """Whether every node answers with every view, as it does once everybody knows everybody."""
    stamp = robot.send(index)[0].stamp_ns
    robot.wait(lambda: all(r.answer(stamp) for r in recorders.values()), 2.0)
    answers = [recorder.answer(stamp) for recorder in recorders.values()]
    return all(a and a.faces and list(a.faces[0].views) == list(CAMERAS) for a in answers)


def _loop(robot: Robot, recorders: dict[str, Recorder]) -> dict[str, list[FaceArray]]:
    """Answers to all sets, each sent when the one before has been answered in full."""
    answers: dict[str, list[FaceArray]] = {name: [] for name in recorders}
    for index in range(SETS):
        for recorder in recorders.values():
            recorder.faces.clear()
        robot.send(index)
        for name, recorder in recorders.items():
            assert robot.wait(lambda r=recorder: r.faces), f"{name}: no answer to set {index}"
            (faces,) = recorder.faces
            assert robot.wait(lambda r=recorder, f=faces: r.has_all(f))
            answers[name].append(faces)
    return answers


def test_loops_are_equal(runs: Runs) -> None:
    pairs = list(zip(*(loop["tracker"] for loop in runs.loops), strict=True))
    ((old, new),) = {(first.faces[0].id, second.faces[0].id) for first, second in pairs}
    assert old != new
    for first, second in pairs:
        again = deepcopy(second)
        again.faces[0].id = old
        assert again == first


def test_transforms_faces_and_meshes_agree_with_the_truth(runs: Runs) -> None:
    recorder, world = runs.tracker, make_world()
    assert not recorder.repeated, "one transform for each stamp"
    for faces in runs.loops[0]["tracker"] + runs.loops[1]["tracker"]:
        stamp = stamp_ns(faces)
        (state,) = world.states((stamp - START_NS) * 1e-9)
        (face,) = faces.faces
        record, truth = read_face(face), face_pose(world.model, state)
        assert np.linalg.norm(record.rig_from_face[:3, 3] - truth[:3, 3]) < 2 * MM
        broadcast = recorder.transforms[f"face_{face.id}", stamp]
        assert np.allclose(broadcast, record.rig_from_face, atol=1e-9)
        assert (f"gaze_{face.id}", stamp) in recorder.transforms
        vertices = read_mesh(recorder.meshes[face.id, stamp])
        true = apply(inverse(truth), pose_vertices(world.model, state))
        skin = world.model.vertex_groups["face"]
        error = np.linalg.norm(vertices - true, axis=1)[skin]
        assert error.mean() < 3 * MM


def test_two_aligners_and_a_fitter_give_the_heads_of_one_tracker(runs: Runs) -> None:
    for loop in runs.loops:
        for whole, split in zip(loop["tracker"], loop["fitter"], strict=True):
            (a,), (b,) = whole.faces, split.faces
            pose, other = read_face(a).rig_from_face, read_face(b).rig_from_face
            assert a.views == b.views == list(CAMERAS)
            assert np.linalg.norm(pose[:3, 3] - other[:3, 3]) < 0.1 * MM
            assert np.allclose(pose[:3, :3], other[:3, :3], atol=1e-3)


def test_two_subscribers_with_different_qos_both_get_meshes(runs: Runs) -> None:
    assert all(runs.meshes.values())


def test_a_late_subscriber_gets_the_head_model(runs: Runs) -> None:
    late = Recorder(runs.robot.node, "tracker")
    assert runs.robot.wait(lambda: late.models)
    (model,) = late.models
    assert model.model_hash == make_world().model.model_hash
    meshes = runs.tracker.meshes.values()
    assert {mesh.model_hash for mesh in meshes} == {model.model_hash}
    assert {3 * model.vertex_count} == {len(mesh.vertices) for mesh in meshes}


def test_every_image_of_a_bag_in_real_time_is_answered_or_counted(
    runs: Runs, world_bag: Path
) -> None:
    recorder, robot = runs.tracker, runs.robot
    recorder.settle()
    before, answers = _images(robot), int(recorder.values["answers"])
    recorder.forget()
    play(world_bag, recorder)
    answers = int(recorder.values["answers"]) - answers
    assert recorder.spin_until(lambda: len(recorder.faces) == answers > 0)
    for name, (arrived, dropped) in _images(robot).items():
        used = sum(name in faces.faces[0].views for faces in recorder.faces)
        assert arrived - before[name][0] == used + dropped - before[name][1]


def _images(robot: Robot) -> dict[str, tuple[int, int]]:
    """By camera, how many arrived and how many were dropped."""
    counts = {}
    for name in CAMERAS:
        values = {entry.key: entry.value for entry in robot.report(f"camera {name}").values}
        drops = [int(value) for key, value in values.items() if key.startswith("dropped: ")]
        counts[name] = int(values["images"]), sum(drops)
    return counts


@pytest.fixture(scope="module")
def synthetic_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from flowface_ros.bag.recording import record_scene
    from flowface_ros.synth.scene.scene import SceneConfig

    path = tmp_path_factory.mktemp("synthetic") / "scene.mcap"
    record_scene(SceneConfig(seed=3, cameras=3, fps=15.0, duration_s=2.0), path)
    return path


@pytest.mark.slow
def test_synthetic_people_with_the_real_networks(node: Any, synthetic_bag: Path) -> None:
    recorder = Recorder(node, "tracker")
    with open_bag(synthetic_bag) as bag:
        names = [topic.split("/")[1] for topic in bag.topics if topic.endswith("camera_info")]
        truth = {stamp_ns(m): m for _, _, m in bag.messages([FACES_TOPIC])}
        true_meshes = {stamp_ns(m): m for _, _, m in bag.messages([MESHES_TOPIC])}
    names = [name for name in ("left", "center", "right") if name in names] or names
    transports = {f"{name}__transport": "compressed" for name in names}
    arguments = ros_args(cameras=f"[{','.join(names)}]", rig_frame=RIG_FRAME, **transports)
    with process("-m", "flowface_ros.ros.tracker_node", *arguments):
        assert recorder.spin_until(lambda: recorder.ready)
        play(synthetic_bag, recorder, "--loop", 2, "--rate", 0.1)
    assert recorder.spin_until(lambda: len(recorder.faces) == int(recorder.values["answers"]))
    half = len(recorder.faces) // 2
    assert half == len(true_meshes)
    errors = []
    for first, second in zip(recorder.faces[:half], recorder.faces[half:], strict=True):
        assert first.header == second.header
        for a, b in zip(first.faces, second.faces, strict=True):
            pose, again = read_face(a).rig_from_face, read_face(b).rig_from_face
            assert np.array_equal(pose, again), "the second loop equals the first"
            nearest = min(truth, key=lambda stamp: abs(stamp - stamp_ns(first)))
            true = read_face(truth[nearest].faces[0]).rig_from_face
            errors.append(np.linalg.norm(pose[:3, 3] - true[:3, 3]))
    assert len(errors) > 0.8 * half
    assert np.median(errors) < 15 * MM
