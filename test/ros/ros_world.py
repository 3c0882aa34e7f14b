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
from flowface_ros.ros.transform_buffer import TransformError
from flowface_ros.track.frames import ViewFrame
from flowface_ros.track.head_frames import HEAD_FRAMES

sys.path.insert(0, str(Path(__file__).parents[1] / "track"))
from track_world import START_NS, FakeAligner, FakeFinder, World, camera_at, facing

CAMERAS = ("left", "center", "right")
RIG_FRAME = "rig"
TYPES = RclpyTypes()
PATIENCE_S = 60.0
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
    """Publishes a world's images, calibrations and transforms, and collects what comes back.

    With a node of this process under test it goes in step with it: what was sent has arrived when
    a call returns.
    """

    def __init__(
        self,
        world: World,
        node: Any = None,
        compressed: Iterable[str] = (),
        read_stderr: Callable[[], str] = str,
    ) -> None:
        """node: under test, None for one in another process called `tracker`.
        read_stderr: what was written there since the last call."""
        self.world, self._compressed, self._tested = world, set(compressed), node
        self._name = node.get_name() if node is not None else "tracker"
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
        self._reported_ns: dict[str, int] = {}
        subscribe = self.node.create_subscription
        self._listening = (
            subscribe(FaceArray, f"/{self._name}/faces", self.faces.append, 100),
            subscribe(TFMessage, "/tf", lambda m: self.transforms.extend(m.transforms), 100),
            subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10),
        )

    def close(self) -> None:
        self.node.destroy_node()

    def mount(self, cameras: Iterable[str] | None = None) -> None:
        """Say on /tf_static where the cameras are."""
        chosen = [c for c in self.world.cameras if cameras is None or c.name in cameras]
        self.place([(RIG_FRAME, frame_of(c.name), c.rig_from_camera, 0) for c in chosen])

    def place(self, poses: list[Any], moving: bool = False) -> None:
        """Say where frames are: parent, child, matrix and stamp of each."""
        (self.tf if moving else self.tf_static).publish(tf_message(TYPES, poses))
        if self._transforms_arrive:
            assert self.wait(lambda: all(self._has_arrived(*pose) for pose in poses))

    def _has_arrived(self, parent: str, child: str, matrix: Any, stamp: int) -> bool:
        listener = self._tested._transforms
        try:
            return np.allclose(listener.lookup(parent, child, stamp, 0.0), matrix)
        except TransformError:
            return False

    @property
    def _transforms_arrive(self) -> bool:
        return self._tested is not None and self._tested._transforms is not None

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
        outputs = [*self.images.values(), *self.infos.values(), self.tf_static]
        if self._transforms_arrive:
            outputs.append(self.tf)
        assert self.wait(lambda: all(p.get_subscription_count() for p in outputs))
        assert self.wait(lambda: all(s.get_publisher_count() for s in self._listening[::2]))
        if self._tested is not None:
            theirs = self._tested._outputs
            # This robot, and on /tf the node itself.
            assert self.wait(lambda: theirs._faces.get_subscription_count() >= 1)
            assert self.wait(lambda: theirs._transforms.get_subscription_count() >= 2)

    def send(
        self, index: int, cameras: Iterable[str] | None = None, change: Any = None
    ) -> list[ViewFrame]:
        """Publish the set of an index. change(name, image, info) edits messages; None drops one."""
        frames = self.world.frames(index, cameras)
        messages = {}
        for frame in frames:
            name = frame.camera.name
            image = image_message(frame, name in self._compressed)
            info = camera_info_message(TYPES, frame.camera, frame.stamp_ns)
            info.header.frame_id = frame_of(name)
            messages[name] = change(name, image, info) if change else (image, info)
        infos = {name: info for name, (_, info) in messages.items() if info is not None}
        images = {name: image for name, (image, _) in messages.items() if image is not None}
        self._deliver(self.infos, infos, "infos")
        self._deliver(self.images, images, "images")
        return frames

    def _deliver(self, publishers: dict[str, Any], messages: dict[str, Any], kind: str) -> None:
        in_step = self._tested is not None and self._tested.active
        inputs = self._tested._cameras.inputs if in_step else {}
        before = {name: getattr(inputs[name], kind).total for name in messages if in_step}
        for name, message in messages.items():
            publishers[name].publish(message)
        for name, count in before.items():
            rate = getattr(inputs[name], kind)
            assert self.wait(lambda c=count, r=rate: r.total > c), f"{kind} of {name}: lost"

    def ask(self, index: int, timeout_s: float = PATIENCE_S, **options: Any) -> FaceArray:
        """Publish a set and wait for its answer."""
        answer = self.try_to_ask(index, timeout_s, **options)
        assert answer is not None, f"no answer to set {index}"
        return answer

    def try_to_ask(self, index: int, timeout_s: float = 5.0, **options: Any) -> FaceArray | None:
        """The same, None when there is no answer."""
        before = len(self.faces)
        stamps = {frame.stamp_ns for frame in self.send(index, **options)}

        def answer() -> FaceArray | None:
            return next((f for f in self.faces[before:] if stamp_ns(f) in stamps), None)

        self.wait(answer, timeout_s)
        faces = answer()
        if faces is not None:
            self._wait_for_frames(faces)
        return faces

    def _wait_for_frames(self, faces: FaceArray) -> None:
        """Transforms come before the FaceArray, on a topic of their own."""
        wanted = {f"{kind}_{face.id}" for face in faces.faces for kind in HEAD_FRAMES}
        stamp = stamp_ns(faces)
        assert self.wait(
            lambda: wanted <= {t.child_frame_id for t in self.transforms if stamp_ns(t) == stamp}
        )

    def follow(self, count: int, start: int = 0, **options: Any) -> list[FaceArray]:
        """Answers to `count` sets that are sent one after the other; all must come."""
        return [self.ask(start + i, **options) for i in range(count)]

    def report(self, part: str = "") -> DiagnosticStatus:
        """The next diagnostic status of a camera, or of the node; none that was on its way."""
        name = f"{self._name}: {part or self._name}"
        asked_ns = time.time_ns()
        assert self.wait(lambda: self._reported_ns.get(name, 0) >= asked_ns), f"no status {name}"
        return self.reports[name]

    def counts(self, key: str, expected: int, part: str = "") -> bool:
        """Whether diagnostics say, now or soon, that a counter is at a number."""

        def count() -> int:
            values = {entry.key: entry.value for entry in self.report(part).values}
            return int(values.get(key, 0))

        return self.wait(lambda: count() >= expected) and count() == expected

    @property
    def logs(self) -> list[str]:
        """Entries of the log so far, tracebacks in one piece."""
        self._stderr += self._read_stderr()
        return re.split(r"\n(?=\[[A-Z]+\] \[)", self._stderr)

    def logged(self, *words: str) -> bool:
        """Whether one entry of the log has all these words; waits for it."""
        return self.wait(lambda: self.has_logged(*words))

    def has_logged(self, *words: str) -> bool:
        """The same, now."""
        return any(all(w in line for w in words) for line in self.logs)

    def _on_diagnostics(self, message: DiagnosticArray, info: dict[str, int]) -> None:
        self.reports.update({status.name: status for status in message.status})
        self._reported_ns |= {status.name: info["source_timestamp"] for status in message.status}


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
