"""The player publishes what a bag holds, over real DDS, from its own process."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from tf2_msgs.msg import TFMessage

from flowface_ros.bag.camera_topics import IMAGE
from flowface_ros.bag.face_messages import RosbagsTypes, header_message, tf_message
from flowface_ros.bag.images import image_fields
from flowface_ros.bag.message_types import message_types
from flowface_ros.bag.writer import BagWriter
from flowface_ros.msg import FaceMesh

START_NS = 5_000_000_000
PERIOD_NS = 20_000_000
COUNT = 20
DEADLINE_S = 60.0
QUIET_S = 6.0
"""The player starts, and would have waited long enough for all who listen."""


def mesh(index: int):
    types = message_types().types
    stamp = types["builtin_interfaces/msg/Time"](sec=5, nanosec=index * PERIOD_NS)
    return types["flowface_ros/msg/FaceMesh"](
        header=types["std_msgs/msg/Header"](stamp=stamp, frame_id="face_a"),
        id="a",
        model_hash=2**64 - 1,
        vertices=np.arange(300, dtype=np.float32) + index,
        vertex_sigma=np.zeros(0, np.float32),
    )


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    path = tmp_path / "bag.mcap"
    with BagWriter(path) as writer:
        writer.write("/latched", mesh(99), START_NS, latched=True)
        for index in range(COUNT):
            writer.write("/meshes", mesh(index), START_NS + index * PERIOD_NS)
    return path


def play(node, bag: Path, *options: str, until) -> int:
    """Run the player process and spin the node until `until()` holds; its exit code."""
    command = [sys.executable, "-m", "flowface_ros.ros.player", bag, *options]
    process = subprocess.Popen(list(map(str, command)))
    try:
        end = time.monotonic() + DEADLINE_S
        while (not until() or process.poll() is None) and time.monotonic() < end:
            rclpy.spin_once(node, timeout_sec=0.05)
        return process.wait(timeout=DEADLINE_S)
    finally:
        process.kill()
        process.wait()


def test_every_message_arrives_as_recorded(node, bag: Path) -> None:
    meshes, clocks, latched = [], [], []
    keep = QoSProfile(depth=10, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    all_of_them = 2 * COUNT  # a busy machine lets many wait
    node.create_subscription(FaceMesh, "/meshes", meshes.append, all_of_them)
    node.create_subscription(FaceMesh, "/latched", latched.append, keep)
    node.create_subscription(Clock, "/clock", clocks.append, 10)
    options = ("--clock", "--loop", "2", "--rate", "2")
    assert play(node, bag, *options, until=lambda: len(meshes) >= 2 * COUNT) == 0
    assert len(meshes) == 2 * COUNT
    expected = mesh(3)
    assert meshes[3] == meshes[COUNT + 3]
    assert np.array_equal(meshes[3].vertices, expected.vertices)
    assert meshes[3].model_hash == expected.model_hash
    assert meshes[3].header.stamp.nanosec == 3 * PERIOD_NS
    assert latched[0].vertices[0] == 99
    seconds = [c.clock.sec + c.clock.nanosec * 1e-9 for c in clocks]
    assert max(seconds) == pytest.approx((START_NS + (COUNT - 1) * PERIOD_NS) * 1e-9)


def test_a_foreign_file_is_refused(node, tmp_path: Path) -> None:
    path = tmp_path / "foreign.mcap"
    path.write_bytes(b"no bag at all")
    assert play(node, path, until=lambda: True) == 2


def test_topics_of_unknown_types_are_left_out(
    node, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A robot's recording has messages of packages that are not here."""
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg("uint8 count\n", "far_away_msgs/msg/Thing"))
    thing = store.types["far_away_msgs/msg/Thing"](count=3)
    kinds = message_types()
    with Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        far = writer.add_connection("/thing", thing.__msgtype__, typestore=store)
        near = writer.add_connection("/meshes", mesh(0).__msgtype__, typestore=kinds)
        writer.write(far, START_NS, store.serialize_cdr(thing, thing.__msgtype__))
        for index in range(COUNT):
            data = kinds.serialize_cdr(mesh(index), mesh(0).__msgtype__)
            writer.write(near, START_NS + index * PERIOD_NS, data)
    meshes: list[FaceMesh] = []
    node.create_subscription(FaceMesh, "/meshes", meshes.append, 10)
    assert play(node, tmp_path / "bag", until=lambda: len(meshes) >= COUNT) == 0
    assert "/thing is left out: message type 'far_away_msgs/msg/Thing'" in capfd.readouterr().err
    assert play(node, tmp_path / "bag", "--topics", "/thing", until=lambda: True) == 2


def test_whoever_listens_to_tf_alone_is_not_waited_for(node, tmp_path: Path) -> None:
    """A viewer is there before the tracker, which the images are for."""
    types = RosbagsTypes(message_types().types)
    header = header_message(types, START_NS, "left")
    fields = image_fields(np.zeros((2, 2, 3), np.uint8))
    with BagWriter(tmp_path / "bag.mcap") as bag:
        bag.write("/tf", tf_message(types, [("rig", "left", np.eye(4), START_NS)]), START_NS)
        bag.write("/left/image_raw", types[IMAGE](header=header, **fields), START_NS)
    transforms: list[TFMessage] = []
    images: list[Image] = []
    node.create_subscription(TFMessage, "/tf", transforms.append, 10)
    command = [sys.executable, "-m", "flowface_ros.ros.player", tmp_path / "bag.mcap"]
    with subprocess.Popen([*map(str, command), "--wait", str(DEADLINE_S)]) as process:
        quiet_until = time.monotonic() + QUIET_S
        while time.monotonic() < quiet_until:
            rclpy.spin_once(node, timeout_sec=0.05)
        assert process.poll() is None and not transforms
        node.create_subscription(Image, "/left/image_raw", images.append, 10)
        end = time.monotonic() + DEADLINE_S
        while process.poll() is None and time.monotonic() < end:
            rclpy.spin_once(node, timeout_sec=0.05)
        assert process.returncode == 0
        while not (images and transforms) and time.monotonic() < end:
            rclpy.spin_once(node, timeout_sec=0.05)
    assert len(images) == len(transforms) == 1


@pytest.mark.parametrize("options", [("--loop", "-1"), ("--rate", "0"), ("--rate", "nan")])
def test_a_pace_that_cannot_be_is_refused(node, bag: Path, options: tuple[str, str]) -> None:
    assert play(node, bag, *options, until=lambda: True) == 2


def test_an_unknown_topic_is_refused(node, bag: Path) -> None:
    assert play(node, bag, "--topics", "/nothing", until=lambda: True) == 2
