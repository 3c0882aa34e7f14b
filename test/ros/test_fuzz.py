"""Random messages on every input: nothing but counted drops."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import TransformStamped
from ros_world import CAMERAS, RIG_FRAME, TYPES, Robot, frame_of
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

from flowface_ros.bag.face_messages import camera_info_message, header_message

QUIET_S = 0.6
"""After which stamps that leap ahead are not taken for leftovers of a jump."""
BLOCK = 250
"""Messages, before those of the other kind come: with good stamps, or with any."""
ENCODINGS = ("rgb8", "mono8", "bgra8", "mono16", "bayer_rggb8", "yuv422", "nv12", "", "💥", "8UC3")
NUMBERS = (0.0, 1.0, -1.0, 500.0, 1e-300, 1e300, float("nan"), float("inf"))
SIZES = (0, 1, 2, 3, 16, 640, 480, 2**31, 2**32 - 1)
FRAMES = ("", "/", RIG_FRAME, *map(frame_of, CAMERAS), "world", "a" * 300, "ü")
NAMES = ("plumb_bob", "rational_polynomial", "equidistant", "", "none", "plumb_bob" * 50)


class Noise:
    """Random messages, from one seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def number(self) -> float:
        pick = self._random
        return pick.choice(NUMBERS) if pick.random() < 0.5 else pick.gauss(0, 100)

    def numbers(self, count: int) -> list[float]:
        return [self.number() for _ in range(count)]

    def data(self, beginning: bytes = b"") -> array:
        return array("B", beginning + self._random.randbytes(self._random.randrange(3000)))

    def header(self, header: Any) -> None:
        pick = self._random
        header.frame_id = pick.choice(FRAMES)
        header.stamp.sec = pick.choice((0, 1, 10**6, 10**6 + 1, 2**31 - 1, -(2**31)))
        header.stamp.nanosec = pick.choice((0, 5 * 10**8, 10**9 - 1, 2**32 - 1))

    def image(self) -> Image:
        pick, message = self._random, Image()
        self.header(message.header)
        message.height, message.width = pick.choice(SIZES), pick.choice(SIZES)
        message.encoding = pick.choice(ENCODINGS)
        message.is_bigendian = pick.randrange(2)
        message.step = pick.choice(SIZES)
        message.data = self.data()
        return message

    def compressed(self) -> CompressedImage:
        message = CompressedImage()
        self.header(message.header)
        message.format = self._random.choice(("jpeg", "png", "compressedDepth", "", "💥"))
        starts = (b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"", b"\xff\xd8\xff\xd9")
        message.data = self.data(self._random.choice(starts))
        return message

    def info(self) -> CameraInfo:
        pick, message = self._random, CameraInfo()
        self.header(message.header)
        message.height, message.width = pick.choice(SIZES), pick.choice(SIZES)
        message.distortion_model = pick.choice(NAMES)
        message.d = self.numbers(pick.randrange(15))
        message.k, message.r = np.array(self.numbers(9)), np.array(self.numbers(9))
        message.binning_x, message.binning_y = pick.choice(SIZES), pick.choice(SIZES)
        roi = message.roi
        roi.x_offset, roi.y_offset = pick.choice(SIZES), pick.choice(SIZES)
        roi.width, roi.height = pick.choice(SIZES), pick.choice(SIZES)
        return message

    def transforms(self) -> TFMessage:
        message = TFMessage()
        for _ in range(self._random.randrange(4)):
            entry = TransformStamped()
            self.header(entry.header)
            # Not the rig itself: who says that it hangs on a camera makes a loop, and is believed.
            entry.child_frame_id = self._random.choice([f for f in FRAMES if f != RIG_FRAME])
            t, q = entry.transform.translation, entry.transform.rotation
            t.x, t.y, t.z = self.numbers(3)
            if self._random.random() < 0.5:
                q.x, q.y, q.z, q.w = self.numbers(4)
            message.transforms.append(entry)
        return message


@pytest.mark.parametrize(
    "count", [1000, pytest.param(10_000, marks=pytest.mark.slow)], ids=["short", "long"]
)
def test_random_messages_are_counted_drops(track: Callable[..., Any], count: int) -> None:
    node, robot = track(compressed=("right",), max_wait=0.05)
    assert robot.wait(lambda: _tracks(robot, 0))
    _send(robot, Noise(count), count)
    values = {entry.key: entry.value for entry in robot.report().values}
    print(f"sets {node._collector.released}; dropped: {node.set_drops()}")
    for name in CAMERAS:
        print(f"{name}: {node.dropped(name)}")
    assert "exception" not in node.set_drops()
    assert "callbacks: exception" not in values
    assert sum(node.dropped("left").values()) > 0
    robot.mount()
    index = iter(range(1, 10**6))
    assert robot.wait(lambda: _tracks(robot, next(index))), "it tracks again"


def _send(robot: Robot, noise: Noise, count: int) -> None:
    frames = {frame.camera.name: frame for frame in robot.world.frames(0)}
    for index in range(count):
        name = CAMERAS[index % 3]
        image = noise.compressed() if name == "right" else noise.image()
        info = noise.info()
        if index % (2 * BLOCK) == 0:
            robot.wait(lambda: False, QUIET_S)
        if index % (2 * BLOCK) < BLOCK:
            # Good stamps and calibrations let images through to their decoder.
            stamp_ns = frames[name].stamp_ns + index // 3 * 33_000_000
            info = camera_info_message(TYPES, frames[name].camera, stamp_ns)
            image.header = header_message(TYPES, stamp_ns, frame_of(name))
        robot.infos[name].publish(info)
        robot.images[name].publish(image)
        (robot.tf_static if index % 7 == 0 else robot.tf).publish(noise.transforms())
        rclpy.spin_once(robot.node, timeout_sec=0.001)


def _tracks(robot: Robot, index: int) -> bool:
    faces = robot.try_to_ask(index, 2.0)
    return bool(faces and faces.faces and faces.faces[0].views == list(CAMERAS))
