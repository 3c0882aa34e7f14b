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
from rosgraph_msgs.msg import Clock

from flowface_ros.bag.message_types import message_types
from flowface_ros.bag.writer import BagWriter
from flowface_ros.msg import FaceMesh

START_NS = 5_000_000_000
PERIOD_NS = 20_000_000
COUNT = 20
DEADLINE_S = 60.0


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
    node.create_subscription(FaceMesh, "/meshes", meshes.append, 10)
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


def test_an_unknown_topic_is_refused(node, bag: Path) -> None:
    assert play(node, bag, "--topics", "/nothing", until=lambda: True) == 2
