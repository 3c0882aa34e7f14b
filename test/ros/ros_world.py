"""A node under test with its own executor, and a robot that talks to it over DDS."""

from __future__ import annotations

import re
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

from flowface_ros.bag.face_messages import (
    RosbagsTypes,
    camera_info_message,
    header_message,
    stamp_ns,
    tf_message,
)
from flowface_ros.bag.images import image_fields
from flowface_ros.bag.message_types import message_types
from flowface_ros.bag.writer import BagWriter
from flowface_ros.head.atlas import texel_grid
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.msg import FaceArray
from flowface_ros.ros.convert import RclpyTypes
from flowface_ros.ros.run import make_executor
from flowface_ros.track.frames import ViewFrame

sys.path.insert(0, str(Path(__file__).parents[1] / "track"))
from track_world import START_NS, FakeAligner, FakeFinder, World, camera_at, facing

CAMERAS = ("left", "center", "right")
RIG_FRAME = "rig"
TYPES = RclpyTypes()
PATIENCE_S = 20.0
BAG_SETS = 20
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def make_world(names: Iterable[str] = CAMERAS, noise_px: float = 0.3) -> World:
    """Up to three cameras in a row, 0.9 m before one person who moves a little."""
    model = load_builtin_head()
    places = {"left": 0.3, "center": 0.0, "right": -0.3}
    cameras = [camera_at(name, (0.0, places[name], 0.0), (0.9, 0.0, 0.0)) for name in names]
    still = facing(model, (0.9, 0.0, 0.0))

    def person(t: float) -> Any:
        from dataclasses import replace

        way = 0.03 * np.array([np.sin(2 * t), np.sin(3 * t), np.cos(2 * t)])
        return replace(still, translation=still.translation + way)

    return World(model, cameras, [person], noise_px)


def fake_networks(world: World, before: Callable[[], None] = lambda: None) -> Any:
    """Networks that know the world; `before` runs before each call of the aligner."""

    def make(settings: Any, model: Any) -> Any:
        aligner = FakeAligner(world)
        aligner.grid = texel_grid(model, 20)
        answer = aligner.align

        def align(*arguments: Any) -> Any:
            before()
            return answer(*arguments)

        aligner.align = align
        return aligner, FakeFinder(world)

    return make


class Running:
    """A node that spins in a thread of its own until `close`."""

    def __init__(self, make: Callable[..., Any], start: bool = True, **parameters: Any) -> None:
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        self.node = make(parameter_overrides=overrides)
        self._executor = make_executor()
        self._executor.add_node(self.node)
        self._stop = threading.Event()
        self.started = self.node.start() if start else False
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Deactivate and destroy it."""
        self._stop.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        self.node.finish()
        self._executor.shutdown()
        self.node.destroy_node()

    def _spin(self) -> None:
        while not self._stop.is_set():
            self._executor.spin_once(timeout_sec=0.05)


class Robot:
    """Publishes a world's images, calibrations and transforms, and collects what comes back."""

    def __init__(
        self,
        world: World,
        node_name: str = "tracker",
        compressed: Iterable[str] = (),
        read_stderr: Callable[[], str] = str,
    ) -> None:
        """read_stderr: what was written there since the last call."""
        self.world, self._compressed = world, set(compressed)
        self._read_stderr, self._stderr = read_stderr, ""
        self.node = rclpy.create_node("robot")
        create = self.node.create_publisher
        self.images, self.infos = {}, {}
        for camera in world.cameras:
            kind, topic = Image, f"/{camera.name}/image_raw"
            if camera.name in self._compressed:
                kind, topic = CompressedImage, f"{topic}/compressed"
            self.images[camera.name] = create(kind, topic, 10)
            self.infos[camera.name] = create(CameraInfo, f"/{camera.name}/camera_info", 10)
        self.tf = create(TFMessage, "/tf", 100)
        self.tf_static = create(TFMessage, "/tf_static", LATCHED)
        self.faces: list[FaceArray] = []
        self.transforms: list[Any] = []
        self.reports: dict[str, DiagnosticStatus] = {}
        self.node.create_subscription(FaceArray, f"/{node_name}/faces", self.faces.append, 100)
        self.node.create_subscription(
            TFMessage, "/tf", lambda m: self.transforms.extend(m.transforms), 100
        )
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._name = node_name

    def close(self) -> None:
        self.node.destroy_node()

    def mount(self, cameras: Iterable[str] | None = None) -> None:
        """Say on /tf_static where the cameras are."""
        chosen = [c for c in self.world.cameras if cameras is None or c.name in cameras]
        poses = [(RIG_FRAME, frame_of(c.name), c.rig_from_camera, 0) for c in chosen]
        self.tf_static.publish(tf_message(TYPES, poses))

    def wait(self, condition: Callable[[], Any], timeout_s: float = PATIENCE_S) -> bool:
        """Spin until a condition holds; whether it does."""
        end = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end:
                return False
            rclpy.spin_once(self.node, timeout_sec=0.01)
        return True

    def connect(self) -> None:
        """Wait until the node under test and this one see each other."""
        publishers = [*self.images.values(), *self.infos.values(), self.tf_static]
        assert self.wait(lambda: all(p.get_subscription_count() for p in publishers))
        topic = f"/{self._name}/faces"
        assert self.wait(lambda: self.node.count_publishers(topic))

    def send(
        self, index: int, cameras: Iterable[str] | None = None, change: Any = None
    ) -> list[ViewFrame]:
        """Publish the set of an index. change(name, image, info) edits messages; None drops one."""
        frames = self.world.frames(index, cameras)
        for frame in frames:
            name = frame.camera.name
            image = image_message(frame, name in self._compressed)
            info = camera_info_message(TYPES, frame.camera, frame.stamp_ns)
            info.header.frame_id = frame_of(name)
            if change is not None:
                image, info = change(name, image, info)
            if info is not None:
                self.infos[name].publish(info)
            if image is not None:
                self.images[name].publish(image)
        return frames

    def ask(self, index: int, **options: Any) -> FaceArray | None:
        """Publish a set and wait for its answer."""
        before = len(self.faces)
        frames = self.send(index, **options)
        stamps = {frame.stamp_ns for frame in frames}
        answered = self.wait(lambda: any(stamp_ns(f) in stamps for f in self.faces[before:]), 5.0)
        return self.faces[-1] if answered else None

    def follow(self, count: int, start: int = 0, **options: Any) -> list[FaceArray]:
        """Answers to `count` sets that are sent one after the other; all must come."""
        answers = [self.ask(start + i, **options) for i in range(count)]
        assert all(answer is not None for answer in answers)
        return answers

    def report(self, part: str = "") -> DiagnosticStatus:
        """The next diagnostic status of a camera, or of the node."""
        name = f"{self._name}: {part or self._name}"
        self.reports.pop(name, None)
        assert self.wait(lambda: name in self.reports, 5.0), f"no status {name}"
        return self.reports[name]

    def count(self, key: str, part: str = "") -> int:
        """A counter of the next diagnostics, 0 when it is not there."""
        values = {entry.key: entry.value for entry in self.report(part).values}
        return int(values.get(key, 0))

    @property
    def logs(self) -> list[str]:
        """Entries of the log so far, tracebacks in one piece."""
        self._stderr += self._read_stderr()
        return re.split(r"\n(?=\[[A-Z]+\] \[)", self._stderr)

    def logged(self, *words: str) -> bool:
        """Whether one entry of the log has all these words; waits for it."""
        return self.wait(lambda: any(all(w in line for w in words) for line in self.logs), 5.0)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.reports.update({status.name: status for status in message.status})


def frame_of(camera: str) -> str:
    return f"{camera}_optical_frame"


def image_message(frame: ViewFrame, compressed: bool = False) -> Any:
    header = header_message(TYPES, frame.stamp_ns, frame_of(frame.camera.name))
    height, width = frame.image.shape[:2]
    if compressed:
        import cv2

        data = cv2.imencode(".png", frame.image[:, :, ::-1])[1].tobytes()
        return CompressedImage(header=header, format="png", data=array("B", data))
    return Image(
        header=header,
        height=height,
        width=width,
        encoding="rgb8",
        step=3 * width,
        data=array("B", frame.image.tobytes()),
    )


def write_world_bag(path: Path, sets: int) -> None:
    """A bag of the world that the fake networks know."""
    world, types = make_world(), RosbagsTypes(message_types().types)
    with BagWriter(path) as bag:
        mounted = [(RIG_FRAME, frame_of(c.name), c.rig_from_camera, 0) for c in world.cameras]
        bag.write("/tf_static", tf_message(types, mounted), START_NS, latched=True)
        for index in range(sets):
            for frame in world.frames(index):
                name, stamp = frame.camera.name, frame.stamp_ns
                header = header_message(types, stamp, frame_of(name))
                info = camera_info_message(types, frame.camera, stamp)
                info.header.frame_id = frame_of(name)
                fields = image_fields(frame.image)
                image = types["sensor_msgs/msg/Image"](header=header, **fields)
                bag.write(f"/{name}/camera_info", info, stamp)
                bag.write(f"/{name}/image_raw", image, stamp)
