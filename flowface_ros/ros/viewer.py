"""Live topics to a view in the browser."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions

from flowface_ros.ros.convert import RclpyTypes
from flowface_ros.ros.counters import Drops
from flowface_ros.ros.guard import Guard
from flowface_ros.ros.run import make_executor
from flowface_ros.ros.transforms import TransformListener
from flowface_ros.view.live_view import LiveView
from flowface_ros.view.scene import SceneOptions
from flowface_ros.view.topics import HEAD_MODEL, ViewTopics

_DISCOVERY_S = 1.0
_HINT_S = 10.0
_POLL_S = 0.2
# A view never makes a publisher wait or send again: what is lost is lost.
_NEWEST = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
_LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)


class ViewerNode(Node):
    """Subscribes to the topics that a view shows as they appear, and hands on their messages."""

    def __init__(
        self,
        recording: Any,
        options: SceneOptions,
        namespace: str | None = None,
        cameras: Sequence[str] = (),
        say: Callable[[str], None] = print,
    ) -> None:
        super().__init__("viewer")
        drops = Drops()
        self._guard, self._say, self._types = Guard(self, drops), say, RclpyTypes()
        self._transforms = TransformListener(self, drops, self._guard)
        self.view = LiveView(recording, self._lookup, options, namespace, cameras)
        self._topics = ViewTopics()
        self._topic_subscriptions: dict[str, Any] = {}
        self._hint_at_s = time.monotonic() + _HINT_S
        self._timer = self.create_timer(_DISCOVERY_S, self._guard(self.discover))

    def discover(self) -> None:
        """Subscribe to what is new, and leave what something better took the place of."""
        types = {name: kinds[0] for name, kinds in self.get_topic_names_and_types()}
        topics = self.view.find(types)
        if topics != self._topics:
            self._topics = topics
            for name in self._topic_subscriptions.keys() - set(topics.names):
                self.destroy_subscription(self._topic_subscriptions.pop(name))
            for name in topics.names:
                if name not in self._topic_subscriptions:
                    self._topic_subscriptions[name] = self._subscribe(name, types[name])
            images = ", ".join(topics.images) or "no images"
            self._say(f"showing {images}; {topics.faces or 'no faces'}")
        elif (missing := self.view.missing(topics)) and time.monotonic() > self._hint_at_s:
            self._hint_at_s = time.monotonic() + _HINT_S
            self._say(f"waiting: {missing} in ROS domain {self.context.get_domain_id()}")

    def _subscribe(self, name: str, kind: str) -> Any:
        def take(message: Any) -> None:
            self.view.put(self._topics, name, message)

        qos = _LATCHED if kind == HEAD_MODEL else _NEWEST
        return self.create_subscription(self._types[kind], name, self._guard(take), qos)

    def _lookup(self, target: str, source: str, stamp_ns: int) -> Any:
        """Without waiting: what is not known yet is shown the next time."""
        return self._transforms.lookup(target, source, stamp_ns, until_s=0.0)


def view_topics(
    recording: Any,
    options: SceneOptions,
    namespace: str | None,
    cameras: Sequence[str],
    going: Callable[[], bool],
    say: Callable[[str], None] = print,
) -> None:
    """Show topics until `going` says no. say: gets what is shown, and what is missing."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = ViewerNode(recording, options, namespace, cameras, say)
        stop = Event()
        shower = Thread(target=node.view.run, args=(stop, say), daemon=True)
        shower.start()
        executor = make_executor()
        executor.add_node(node)
        node.discover()
        try:
            while going() and rclpy.ok():
                executor.spin_once(timeout_sec=_POLL_S)
        finally:
            stop.set()
            shower.join(timeout=1.0)
            executor.shutdown()
            node.destroy_node()
    finally:
        rclpy.try_shutdown()
