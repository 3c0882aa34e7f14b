"""Aligners and a fitter give the heads of a tracker: real networks, each node its own process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from ros_recorder import Recorder, process, ros_args
from ros_world import LATCHED, PATIENCE_S, RIG_FRAME
from tf2_msgs.msg import TFMessage

from flowface_ros.bag.face_messages import read_face, read_mesh, stamp_ns
from flowface_ros.bag.reader import open_bag
from flowface_ros.bag.recording import record_scene
from flowface_ros.msg import FaceArray
from flowface_ros.rigid import apply
from flowface_ros.ros.convert import RclpyTypes
from flowface_ros.synth.scene.scene import SceneConfig

MM = 1e-3
FPS = 15.0
DURATION_S = 2.0
ALIGNERS = 2
BEFORE = 15
"""A set of a later time, so that the comparison begins with a jump: everybody starts anew."""


class Feeder:
    """Publishes the recorded sets of a bag one by one, and hears what the nodes say."""

    def __init__(self, bag: Path, node: Any) -> None:
        self.node, types = node, RclpyTypes()
        with open_bag(bag) as reader:
            self._messages: dict[str, list[bytes]] = {}
            for topic, _, data in reader.serialized():
                self._messages.setdefault(topic, []).append(data)
            kinds = {name: topic.type for name, topic in reader.topics.items()}
        self.cameras = [t.split("/")[1] for t in kinds if t.endswith("/camera_info")]
        # CameraInfo first: an image needs one.
        inputs = [t for t in sorted(kinds) if t.split("/")[1] in self.cameras]
        self._publishers = {t: node.create_publisher(types[kinds[t]], t, 10) for t in inputs}
        self._static = node.create_publisher(TFMessage, "/tf_static", LATCHED)
        self._static.publish(self._messages["/tf_static"][0])
        self.recorders = {name: Recorder(node, name) for name in ("tracker", "fitter")}
        self.followed: dict[str, int] = {}
        """FaceArrays that the aligners have heard of, as of their last reports."""
        self._reports = 0
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def __len__(self) -> int:
        return len(self._messages[f"/{self.cameras[0]}/camera_info"])

    def feed(self, index: int, timeout_s: float = PATIENCE_S) -> dict[str, FaceArray]:
        """The answers to a set; none of them when one is missing."""
        for recorder in self.recorders.values():
            recorder.forget()
        for topic, publisher in self._publishers.items():
            publisher.publish(self._messages[topic][index])
        if not self._spin(lambda: all(r.faces for r in self.recorders.values()), timeout_s):
            return {}
        answers = {name: recorder.faces[0] for name, recorder in self.recorders.items()}
        assert self._spin(lambda: all(self.recorders[n].has_all(f) for n, f in answers.items()))
        return answers

    def settle(self) -> None:
        """Hear every aligner once more, whatever was on the way."""
        before = self._reports
        assert self._spin(lambda: self._reports >= before + 2 * ALIGNERS + 1)

    def wait_for_aligners(self, before: dict[str, int]) -> None:
        """Until they have heard the fitter's answer."""
        after = {name: count + 1 for name, count in before.items()}
        assert self._spin(lambda: self.followed == after), f"{self.followed}, not {after}"

    def _spin(self, condition: Any, timeout_s: float = PATIENCE_S) -> bool:
        end = self.node.get_clock().now().nanoseconds + timeout_s * 1e9
        while not condition():
            if self.node.get_clock().now().nanoseconds > end:
                return False
            rclpy.spin_once(self.node, timeout_sec=0.02)
        return True

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {entry.key: entry.value for entry in status.values}
            if "faces of the fitter" in values:
                self.followed[status.name] = int(values["faces of the fitter"])
                self._reports += 1


@pytest.fixture(scope="module")
def feeder(ros_domain: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Feeder]:
    """Before a tracker, and two aligners with a fitter."""
    path = tmp_path_factory.mktemp("split") / "scene.mcap"
    record_scene(SceneConfig(seed=3, cameras=3, fps=FPS, duration_s=DURATION_S), path)
    rclpy.init()
    feeder = Feeder(path, rclpy.create_node("feeder"))
    first, *others = feeder.cameras
    seen = {f"{name}__transport": "compressed" for name in feeder.cameras}
    seen |= {f"{name}__reliability": "reliable" for name in feeder.cameras} | {"max_wait": 5.0}
    all_cameras = {"cameras": f"[{','.join(feeder.cameras)}]", "rig_frame": RIG_FRAME}
    of_aligners = {"a": f"[{first}]", "b": f"[{','.join(others)}]"}
    with ExitStack() as stack:
        start = lambda kind, arguments: stack.enter_context(  # noqa: E731
            process("-m", f"flowface_ros.ros.{kind}_node", *arguments)
        )
        start("tracker", ros_args(**all_cameras, **seen))
        start("fitter", ros_args(**all_cameras, max_wait=5.0, id_prefix="q"))
        for name, cameras in of_aligners.items():
            start("aligner", ros_args(f"__node:=aligner_{name}", cameras=cameras, **seen))
        yield feeder
    feeder.node.destroy_node()
    rclpy.shutdown()


@pytest.mark.slow
def test_split_equals_whole_with_the_real_networks(feeder: Feeder) -> None:
    def see_all() -> bool:
        answers = feeder.feed(next(later), 5.0)
        return bool(answers) and all(
            faces.faces and len(faces.faces[0].views) == len(feeder.cameras)
            for faces in answers.values()
        )

    later = iter([*range(BEFORE, len(feeder))] * 10)
    while not see_all():
        pass
    feeder.settle()
    assert len(feeder.followed) == ALIGNERS
    apart, heads = [], 0
    for index in range(len(feeder)):
        before = dict(feeder.followed)
        answers = feeder.feed(index)
        assert answers, f"set {index}"
        feeder.wait_for_aligners(before)
        whole, split = answers["tracker"], answers["fitter"]
        assert [f.views for f in whole.faces] == [f.views for f in split.faces]
        for a, b in zip(whole.faces, split.faces, strict=True):
            heads += 1
            apart.append(np.abs(_vertices(feeder, "tracker", a, whole)
                                - _vertices(feeder, "fitter", b, split)).max())  # fmt: skip
    print(f"{heads} heads, farthest vertices apart {max(apart) / MM:.4f} mm")
    assert heads >= 0.9 * len(feeder)
    assert max(apart) < 0.1 * MM


def _vertices(feeder: Feeder, node: str, face: Any, faces: FaceArray) -> np.ndarray:
    """Of a face's mesh, in the rig frame."""
    mesh = feeder.recorders[node].meshes[face.id, stamp_ns(faces)]
    return apply(read_face(face).rig_from_face, read_mesh(mesh))
