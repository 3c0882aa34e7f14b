"""Live topics over DDS become a view."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile

sys.path.insert(0, str(Path(__file__).parents[1] / "view"))
from view_world import Log, write_bags

from flowface_ros.bag.reader import open_bag
from flowface_ros.ros.convert import RclpyTypes
from flowface_ros.view.scene import SceneOptions

pytest.importorskip("rerun", reason='rerun-sdk is not installed: pip install "flowface-ros[view]"')

PATIENCE_S = 30.0
PERIOD_S = 0.05
WANTED = (
    ("/rig/face_p1", "Transform3D:translation"),
    ("/rig/gaze_p1", "Transform3D:translation"),
    ("/rig/face_p1/mesh", "Mesh3D:vertex_positions"),
    ("/rig/left/image", "EncodedImage:blob"),
    ("/rig/right/image", "EncodedImage:blob"),
    ("/rig/left/heads/p1", "LineStrips2D:strips"),
    ("/plots/eyes/p1", "Scalars:scalars"),
)


class Publisher:
    """Publishes what bags hold, topic by topic as they were recorded."""

    def __init__(self, node: Any, bags: tuple[Path, ...]) -> None:
        self.topics: dict[str, Any] = {}
        self._messages: list[tuple[int, str, bytes]] = []
        for path in bags:
            with open_bag(path) as bag:
                for name, topic in bag.topics.items():
                    latched = DurabilityPolicy.TRANSIENT_LOCAL
                    volatile = DurabilityPolicy.VOLATILE
                    qos = QoSProfile(depth=10, durability=latched if topic.latched else volatile)
                    kind = RclpyTypes()[topic.type]
                    self.topics[name] = node.create_publisher(kind, name, qos)
                self._messages += [(t, name, data) for name, t, data in bag.serialized()]

    def moments(self) -> Iterator[None]:
        """Publishes everything; yields between two moments."""
        before = None
        for time_ns, name, data in sorted(self._messages, key=lambda message: message[0]):
            if before not in (None, time_ns):
                yield
            before = time_ns
            self.topics[name].publish(data)


def spin_until(executor: Any, condition: Callable[[], Any]) -> bool:
    end = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < end:
        executor.spin_once(timeout_sec=0.02)
    return bool(condition())


def spin_for(executor: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        executor.spin_once(timeout_sec=0.01)


def test_topics_that_appear_are_shown(node: Any, tmp_path: Path) -> None:
    from flowface_ros.ros.viewer import ViewerNode
    from flowface_ros.view.sdk import new_recording

    recording = new_recording()
    recording.save(tmp_path / "live.rrd")
    said: list[str] = []
    viewer = ViewerNode(recording, SceneOptions(), say=said.append)
    executor = SingleThreadedExecutor()
    executor.add_node(viewer)
    stop = threading.Event()
    shower = threading.Thread(target=viewer.view.run, args=(stop, said.append))
    shower.start()
    try:
        publisher = Publisher(node, write_bags(tmp_path))
        matched = [p.get_subscription_count for p in publisher.topics.values()]
        assert spin_until(executor, lambda: all(count() for count in matched)), said
        for _ in publisher.moments():
            spin_for(executor, PERIOD_S)
        spin_for(executor, 1.0)
    finally:
        stop.set()
        shower.join(PATIENCE_S)
        executor.shutdown()
        viewer.destroy_node()
    assert not shower.is_alive()
    recording.disconnect()
    log = Log(tmp_path / "live.rrd")
    for entity, component in WANTED:
        assert log.times(entity, component), (entity, said)
    assert any("/tracker/faces" in line for line in said)
    assert rclpy.ok()
