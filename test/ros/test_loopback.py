"""Whole runs over DDS: a player, the nodes and this recorder, each in its own process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_recorder import Recorder, play, process, ros_args
from ros_world import BAG_SETS as SETS
from ros_world import CAMERAS, RIG_FRAME, make_world
from track_world import START_NS

from flowface_ros.bag.face_messages import (
    read_face,
    read_mesh,
    stamp_ns,
)
from flowface_ros.bag.reader import open_bag
from flowface_ros.bag.recording import FACES_TOPIC, MESHES_TOPIC
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.msg import FaceMesh
from flowface_ros.rigid import apply, inverse
from flowface_ros.track.tracked_head import face_pose

HERE = Path(__file__).parent

PLAYS = 3
"""Four processes on a busy machine may be late for a set, which a second play then tells."""
MM = 1e-3


@pytest.fixture(scope="module")
def two_loops(ros_domain: None, world_bag: Path) -> Iterator[Recorder]:
    """What a tracker said to a bag that was played twice, slowly enough for every set."""
    rclpy.init()
    node = rclpy.create_node("recorder")
    recorder = Recorder(node, "tracker")
    arguments = ros_args(cameras=f"[{','.join(CAMERAS)}]", rig_frame=RIG_FRAME)
    with process(HERE / "fake_node.py", "tracker", *arguments):
        assert recorder.spin_until(lambda: recorder.ready)
        play(world_bag, recorder, "--loop", 2, "--rate", 0.2)
        late = Recorder(node, "tracker")
        assert late.spin_until(lambda: late.models), "a late subscriber gets the head model"
        recorder.models = late.models
    node.destroy_node()
    rclpy.shutdown()
    yield recorder


def test_every_set_is_answered_and_loops_are_equal(two_loops: Recorder) -> None:
    faces = two_loops.faces
    assert len(faces) == int(two_loops.values["answers"])
    assert int(two_loops.values["sets"]) == 2 * SETS
    assert len(faces) == 2 * SETS, "slow enough for no drop"
    for first, second in zip(faces[:SETS], faces[SETS:], strict=True):
        (a,), (b,) = first.faces, second.faces
        assert (a.id, b.id) == ("p1", "p2")
        b.id = "p1"
        assert first == second
        b.id = "p2"


def test_a_late_subscriber_gets_the_head_model(two_loops: Recorder) -> None:
    (model,) = two_loops.models
    assert model.model_hash == make_world().model.model_hash
    assert {mesh.model_hash for mesh in two_loops.meshes} == {model.model_hash}
    assert {3 * model.vertex_count} == {len(mesh.vertices) for mesh in two_loops.meshes}


def test_transforms_faces_and_meshes_agree_with_the_truth(two_loops: Recorder) -> None:
    recorder, world = two_loops, make_world()
    meshes = {(m.id, stamp_ns(m)): m for m in recorder.meshes}
    assert not recorder.repeated, "one transform for each stamp"
    for faces in recorder.faces:
        stamp = stamp_ns(faces)
        (state,) = world.states((stamp - START_NS) * 1e-9)
        (face,) = faces.faces
        record, truth = read_face(face), face_pose(world.model, state)
        assert np.linalg.norm(record.rig_from_face[:3, 3] - truth[:3, 3]) < 2 * MM
        broadcast = recorder.transforms[f"face_{face.id}", stamp]
        assert np.allclose(broadcast, record.rig_from_face, atol=1e-9)
        assert (f"gaze_{face.id}", stamp) in recorder.transforms
        if (face.id, stamp) in meshes:
            vertices = read_mesh(meshes[face.id, stamp])
            true = apply(inverse(truth), pose_vertices(world.model, state))
            skin = world.model.vertex_groups["face"]
            error = np.linalg.norm(vertices - true, axis=1)[skin]
            assert error.mean() < 3 * MM
    assert len(meshes) > SETS


def test_two_aligners_and_a_fitter_give_the_heads_of_one_tracker(
    two_loops: Recorder, node: Any, world_bag: Path
) -> None:
    split, fake = Recorder(node, "fitter"), HERE / "fake_node.py"
    arguments = ros_args(cameras=f"[{','.join(CAMERAS)}]", rig_frame=RIG_FRAME)
    with (
        process(fake, "aligner", *ros_args("__node:=aligner_left", cameras="[left]")),
        process(fake, "aligner", *ros_args("__node:=aligner_right", cameras="[center,right]")),
        # The aligners take their time, and not the same.
        process("-m", "flowface_ros.ros.fitter_node", *arguments, "-p", "max_wait:=0.3"),
    ):
        assert split.spin_until(lambda: split.ready)
        assert split.spin_until(
            lambda: (
                node.count_publishers("/left/alignments")
                and node.count_subscribers("/right/image_raw")
            )
        )
        for _ in range(PLAYS):
            begin = len(split.faces)
            play(world_bag, split, "--rate", 0.15)
            answers = split.faces[begin:]
            if len(answers) == SETS and all(
                len(face.views) == len(CAMERAS) for faces in answers for face in faces.faces
            ):
                break
    assert len(answers) == SETS, split.values
    of_whole = {stamp_ns(faces): faces for faces in two_loops.faces[:SETS]}
    for faces in answers:
        (a,), (b,) = of_whole[stamp_ns(faces)].faces, faces.faces
        pose, other = read_face(a).rig_from_face, read_face(b).rig_from_face
        assert a.views == b.views
        assert np.linalg.norm(pose[:3, 3] - other[:3, 3]) < 0.1 * MM
        assert np.allclose(pose[:3, :3], other[:3, :3], atol=1e-3)


def test_two_subscribers_with_different_qos_both_get_meshes(node: Any, world_bag: Path) -> None:
    recorder = Recorder(node, "tracker")
    got: dict[str, list[FaceMesh]] = {"reliable": [], "best effort": []}
    unreliable = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    for name, qos in (("reliable", QoSProfile(depth=5)), ("best effort", unreliable)):
        node.create_subscription(FaceMesh, "/tracker/meshes", got[name].append, qos)
    arguments = ros_args(cameras="[center]", rig_frame=RIG_FRAME)
    with process(HERE / "fake_node.py", "tracker", *arguments):
        assert recorder.spin_until(lambda: recorder.ready)
        play(world_bag, recorder, "--rate", 0.3)
    assert all(got.values())


@pytest.fixture(scope="module")
def synthetic_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from flowface_ros.bag.recording import record_scene
    from flowface_ros.synth.scene import SceneConfig

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
    assert len(recorder.faces) == int(recorder.values["answers"])
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
