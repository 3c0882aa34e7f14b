"""Which topics are a camera's, in bags as others record them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from flowface_ros.bag.camera_topics import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    camera_name,
    camera_sources,
    find_cameras,
)
from flowface_ros.bag.evaluation_input import find_topics, read_transforms
from flowface_ros.bag.face_messages import RosbagsTypes, header_message, tf_message
from flowface_ros.bag.images import image_fields
from flowface_ros.bag.message_types import message_types
from flowface_ros.bag.reader import open_bag
from flowface_ros.bag.writer import BagWriter
from flowface_ros.ros.transform_buffer import TransformBuffer

TYPES = RosbagsTypes(message_types().types)


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        ("/left/image_raw", "left"),
        ("/left/camera_info", "left"),
        ("/head/right/image_raw/compressed", "head/right"),
        ("/image_left/image_raw", "image_left"),
        ("/rig/image_left/camera_info", "rig/image_left"),
        ("/image_raw", "camera"),
        ("/camera_info", "camera"),
    ],
)
def test_a_camera_is_called_as_its_namespace(topic: str, name: str) -> None:
    assert camera_name(topic) == name


def test_cameras_without_a_namespace_and_of_similar_names() -> None:
    types = {"/image_raw": IMAGE, "/camera_info": CAMERA_INFO}
    for name in ("image_left", "image_right"):
        types |= {f"/{name}/image": IMAGE, f"/{name}/camera_info": CAMERA_INFO}
    sources = {s.name: s for s in camera_sources(types, compressed_first=False)}
    assert sources.keys() == {"camera", "image_left", "image_right"}
    assert sources["camera"].info_topic == "/camera_info"


def test_raw_or_compressed_images_come_first() -> None:
    types = {
        "/left/image_raw": IMAGE,
        "/left/image_raw/compressed": COMPRESSED_IMAGE,
        "/left/camera_info": CAMERA_INFO,
        "/right/image_raw/compressed": COMPRESSED_IMAGE,
        "/right/camera_info": CAMERA_INFO,
    }
    for compressed_first, leaf in ((True, "/compressed"), (False, "")):
        left, right = camera_sources(types, compressed_first=compressed_first)
        assert left.image_topic == f"/left/image_raw{leaf}"
        assert right.image_topic == "/right/image_raw/compressed"


def record(path: Path, counts: dict[str, int]) -> None:
    """A bag of one image or CameraInfo topic after the other, as `ros2 bag record` leaves those
    where nothing came."""
    store = message_types()
    image = np.zeros((2, 2, 3), np.uint8)
    message = TYPES[IMAGE](header=header_message(TYPES, 1, "left"), **image_fields(image))
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, count in counts.items():
            kind = {"camera_info": CAMERA_INFO, "compressed": COMPRESSED_IMAGE}.get(
                topic.rpartition("/")[2], IMAGE
            )
            connection = writer.add_connection(topic, kind, typestore=store)
            for index in range(count):
                writer.write(connection, index, store.serialize_cdr(message, IMAGE))


def test_topics_without_messages_are_not_there(tmp_path: Path) -> None:
    info = "/left/camera_info"
    record(tmp_path / "a", {"/left/image_raw": 0, "/left/image_raw/compressed": 2, info: 2})
    with open_bag(tmp_path / "a") as bag:
        assert [c.image_topic for c in find_cameras(bag)] == ["/left/image_raw/compressed"]
    record(tmp_path / "b", {"/left/image_raw": 2, info: 0})
    with (
        open_bag(tmp_path / "b") as bag,
        pytest.raises(ValueError, match="no images with a camera_info"),
    ):
        find_cameras(bag)


def test_who_names_no_tracker_is_told_what_there_is(tmp_path: Path) -> None:
    faces = TYPES["flowface_ros/msg/FaceArray"](header=header_message(TYPES, 0, "rig"), faces=[])
    with BagWriter(tmp_path / "a.mcap") as out:
        out.write("/ground_truth/faces", faces, 0)
    with open_bag(tmp_path / "a.mcap") as bag:
        with pytest.raises(ValueError, match=r"of a tracker.*it has /ground_truth/faces"):
            find_topics(bag)
        with pytest.raises(ValueError, match=r"in namespace /left.*it has /ground_truth/faces"):
            find_topics(bag, "/left")


@pytest.mark.parametrize("length", [0.0, 0.9, np.nan])
def test_transforms_that_are_none_do_not_keep_others_out(tmp_path: Path, length: float) -> None:
    """As tf2 does: one broken joint of a robot is not the cameras' fault."""
    pose = np.eye(4)
    pose[0, 3] = 0.5
    message = tf_message(TYPES, [("base", "arm", np.eye(4), 0), ("base", "left", pose, 0)])
    message.transforms[0].transform.rotation.w = length
    message.transforms[1].transform.rotation.w = 1.004  # as much as tf2 lets pass
    with BagWriter(tmp_path / "a.mcap") as out:
        out.write("/tf_static", message, 0)
    buffer = TransformBuffer()
    with open_bag(tmp_path / "a.mcap") as bag:
        read_transforms(bag, buffer)
    np.testing.assert_allclose(buffer.lookup("base", "left", 0), pose)
    with pytest.raises(ValueError, match="'arm' unknown"):
        buffer.lookup("base", "arm", 0)
