"""A bag through the tracker into a bag."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from track_world import FPS, World, camera_at, facing, make_tracker

from flowface_ros.bag.camera_topics import find_cameras
from flowface_ros.bag.face_messages import (
    RosbagsTypes,
    camera_info_message,
    header_message,
    read_face,
    stamp_ns,
    tf_message,
)
from flowface_ros.bag.images import image_fields
from flowface_ros.bag.message_types import message_types
from flowface_ros.bag.reader import open_bag
from flowface_ros.bag.replay import Replay, ReplaySummary
from flowface_ros.bag.writer import BagWriter
from flowface_ros.camera.camera import Camera
from flowface_ros.head.model import HeadModel
from flowface_ros.ros.synchronizer import Synchronizer, SynchronizerConfig
from flowface_ros.ros.transform_buffer import TransformBuffer
from flowface_ros.track.tracked_head import face_pose

SETS = 5
TYPES = RosbagsTypes(message_types().types)
CAMERAS = [
    replace(camera_at("left", [0, 0.35, 0], [0.9, 0, 0]), frame="left_optical"),
    replace(camera_at("right", [0, -0.35, 0], [0.9, 0, 0]), frame="right_optical"),
]


@pytest.fixture(scope="module")
def world(model: HeadModel) -> World:
    base = facing(model, [0.9, 0, 0])
    return World(
        model,
        CAMERAS,
        [lambda t: replace(base, translation=np.add(base.translation, [0, 0.1 * t, 0]))],
    )


@pytest.fixture(scope="module")
def bag_path(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("replay") / "in.mcap"
    write_bag(path, world)
    return path


def write_bag(path: Path, world: World, broken: str = "") -> None:
    """broken: camera whose second image is of another size."""
    with BagWriter(path) as bag:
        first = world.frames(0)[0].stamp_ns
        mounts = [("rig", c.frame, c.rig_from_camera, first) for c in CAMERAS]
        bag.write("/tf_static", tf_message(TYPES, mounts), first, latched=True)
        for index in range(SETS):
            for view in world.frames(index):
                write_view(bag, view.camera, view.stamp_ns, view.image, index == 1, broken)


def write_view(
    bag: BagWriter, camera: Camera, stamp: int, image: np.ndarray, second: bool, broken: str
) -> None:
    info = camera_info_message(TYPES, camera, stamp)
    bag.write(f"/{camera.name}/camera_info", info, stamp)
    if second and camera.name == broken:
        image = image[:100]
    header = header_message(TYPES, stamp, camera.frame)
    message = TYPES["sensor_msgs/msg/Image"](header=header, **image_fields(image))
    bag.write(f"/{camera.name}/image_raw", message, stamp)


def replayed(world: World, source: Path, out: Path, rig_frame: str = "rig") -> ReplaySummary:
    with open_bag(source) as bag, BagWriter(out) as results:
        cameras = find_cameras(bag)
        sets = Synchronizer([c.name for c in cameras], SynchronizerConfig())
        transforms = TransformBuffer(keep_s=1e8)
        tracker = make_tracker(world)
        return Replay(bag, cameras, world.model, tracker, transforms, sets, rig_frame).run(results)


def test_every_set_gives_one_array_of_true_heads(
    model: HeadModel, world: World, bag_path: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.mcap"
    summary = replayed(world, bag_path, out)
    assert (summary.sets, summary.heads, summary.ids) == (SETS, SETS, {"p1"})
    assert summary.tracked == SETS - 2 and not +summary.drops
    with open_bag(out) as bag:
        counts = {name: topic.count for name, topic in bag.topics.items()}
        faces = [message for _, _, message in bag.messages(["/tracker/faces"])]
        frames = [[t.child_frame_id for t in m.transforms] for _, _, m in bag.messages(["/tf"])]
    assert frames == SETS * [["face_p1", "gaze_p1"]]
    assert counts == {
        "/tracker/head_model": 1,
        "/tracker/faces": SETS,
        "/tracker/meshes": SETS,
        "/tf": SETS,
    }
    for index, message in enumerate(faces):
        assert message.header.frame_id == "rig"
        assert stamp_ns(message) == world.frames(index)[0].stamp_ns
        true = face_pose(model, world.states(index / FPS)[0])
        np.testing.assert_allclose(read_face(message.faces[0]).rig_from_face, true, atol=0.01)


def test_two_replays_write_the_same_messages(world: World, bag_path: Path, tmp_path: Path) -> None:
    written = []
    for name in ("a.mcap", "b.mcap"):
        replayed(world, bag_path, tmp_path / name)
        with open_bag(tmp_path / name) as bag:
            written.append(list(bag.serialized()))
    assert written[0] == written[1]


def test_results_are_in_the_first_camera_without_a_frame(
    model: HeadModel, world: World, bag_path: Path, tmp_path: Path
) -> None:
    replayed(world, bag_path, tmp_path / "out.mcap", rig_frame="")
    with open_bag(tmp_path / "out.mcap") as bag:
        *_, (_, _, message) = bag.messages(["/tracker/faces"])
    assert message.header.frame_id == "left_optical"
    true = CAMERAS[0].camera_from_rig @ face_pose(model, world.states((SETS - 1) / FPS)[0])
    np.testing.assert_allclose(read_face(message.faces[0]).rig_from_face, true, atol=0.01)


def test_images_that_cannot_be_used_are_counted(world: World, tmp_path: Path) -> None:
    write_bag(tmp_path / "in.mcap", world, broken="right")
    summary = replayed(world, tmp_path / "in.mcap", tmp_path / "out.mcap")
    assert summary.sets == SETS
    assert summary.drops == {("right", "size_mismatch"): 1}
    assert "the image is 640x100" in summary.reasons["right", "size_mismatch"]


def test_nothing_is_written_when_no_image_can_be_used(
    world: World, bag_path: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"no image could be used.*left.*'nowhere' unknown"):
        replayed(world, bag_path, tmp_path / "out.mcap", rig_frame="nowhere")
    assert not (tmp_path / "out.mcap").exists()


def test_cameras_are_found_by_their_topics(world: World, bag_path: Path) -> None:
    with open_bag(bag_path) as bag:
        assert [c.name for c in find_cameras(bag)] == ["left", "right"]
        (right,) = find_cameras(bag, ["right"])
        assert (right.image_topic, right.info_topic) == ("/right/image_raw", "/right/camera_info")
        with pytest.raises(ValueError, match="of top; it has left, right"):
            find_cameras(bag, ["top"])
