"""Runs nodes and players as processes, and keeps what they say."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import DurabilityPolicy, QoSProfile
from scipy.spatial.transform import Rotation
from tf2_msgs.msg import TFMessage

from flowface_ros.bag.face_messages import stamp_ns
from flowface_ros.msg import FaceArray, FaceMesh, HeadModel
from flowface_ros.rigid import transform
from flowface_ros.track.head_frames import HEAD_FRAMES

PATIENCE_S = 60.0


@contextmanager
def process(*command: Any) -> Iterator[subprocess.Popen]:
    """A process that is gone afterwards, and ended cleanly when asked to."""
    running = subprocess.Popen([sys.executable, *map(str, command)])
    try:
        yield running
        if running.poll() is None:
            running.send_signal(signal.SIGINT)
        assert running.wait(timeout=PATIENCE_S) == 0
    finally:
        running.kill()
        running.wait()


def ros_args(*remappings: str, **parameters: Any) -> list[str]:
    arguments = ["--ros-args"]
    for remapping in remappings:
        arguments += ["-r", remapping]
    for name, value in parameters.items():
        arguments += ["-p", f"{name.replace('__', '.')}:={value}"]
    return arguments


class Recorder:
    """Keeps what a node that publishes heads says."""

    def __init__(self, node: Any, name: str) -> None:
        self._node = node
        self.faces: list[FaceArray] = []
        self.meshes: dict[tuple[str, int], FaceMesh] = {}
        self.models: list[HeadModel] = []
        self.transforms: dict[tuple[str, int], np.ndarray] = {}
        self.repeated = 0
        self.values: dict[str, str] = {}
        self._name = name
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        node.create_subscription(FaceArray, f"/{name}/faces", self.faces.append, 100)
        node.create_subscription(FaceMesh, f"/{name}/meshes", self._on_mesh, 100)
        node.create_subscription(HeadModel, f"/{name}/head_model", self.models.append, latched)
        node.create_subscription(TFMessage, "/tf", self._on_transforms, 100)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def answer(self, stamp: int) -> FaceArray | None:
        """The last FaceArray of a stamp."""
        return next((faces for faces in reversed(self.faces) if stamp_ns(faces) == stamp), None)

    def has_all(self, faces: FaceArray | None) -> bool:
        """Whether the meshes and frames of a FaceArray are there too."""
        if faces is None:
            return False
        stamp = stamp_ns(faces)
        return all(
            (face.id, stamp) in self.meshes
            and all((f"{kind}_{face.id}", stamp) in self.transforms for kind in HEAD_FRAMES)
            for face in faces.faces
        )

    def forget(self) -> None:
        """What it heard so far."""
        self.faces.clear()
        self.meshes.clear()
        self.transforms.clear()
        self.repeated = 0

    @property
    def ready(self) -> bool:
        return self.values.get("state") == "active"

    def spin_until(self, condition: Callable[[], Any]) -> bool:
        end = time.monotonic() + PATIENCE_S
        while not condition() and time.monotonic() < end:
            rclpy.spin_once(self._node, timeout_sec=0.02)
        return bool(condition())

    def settle(self) -> None:
        """Spin until two reports in a row say that nothing is on the way and nothing has come."""
        counts: list[tuple[int, int]] = []

        def settled() -> bool:
            counts.append(self._next_counts())
            sets, done = counts[-1]
            return 0 < sets == done and counts[-2:-1] == counts[-1:]

        assert self.spin_until(settled), self.values

    def _next_counts(self) -> tuple[int, int]:
        """Sets, and those that were answered or dropped, in the next report."""
        self.values = {}
        assert self.spin_until(lambda: self.ready), self.values
        return int(self.values["sets"]), self.answered_or_dropped

    @property
    def answered_or_dropped(self) -> int:
        drops = [int(v) for k, v in self.values.items() if k.startswith("dropped sets:")]
        return int(self.values["answers"]) + sum(drops)

    def _on_mesh(self, message: FaceMesh) -> None:
        self.meshes[message.id, stamp_ns(message)] = message

    def _on_transforms(self, message: TFMessage) -> None:
        for entry in message.transforms:
            t, q = entry.transform.translation, entry.transform.rotation
            rotation = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
            key = entry.child_frame_id, stamp_ns(entry)
            self.repeated += key in self.transforms
            self.transforms[key] = transform(rotation, [t.x, t.y, t.z])

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == f"{self._name}: {self._name}":
                self.values = {entry.key: entry.value for entry in status.values}


def play(bag: Path, recorder: Recorder, *options: Any) -> None:
    with process("-m", "flowface_ros.ros.player", bag, *options) as player:
        assert recorder.spin_until(lambda: player.poll() is not None)
    recorder.settle()
