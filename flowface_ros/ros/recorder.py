"""Records topics as a rosbag2, for machines without `ros2 bag record`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile

from flowface_ros.bag.message_types import message_types
from flowface_ros.bag.writer import BagWriter
from flowface_ros.ros.convert import RclpyTypes

_QUEUE_DEPTH = 1000


@dataclass(frozen=True)
class Recorded:
    """A topic that is recorded. type: as "std_msgs/msg/Header"; latched: transient local."""

    type: str
    latched: bool = False


@dataclass(frozen=True)
class Received:
    """A message as it came: serialized (CDR), at `time_ns` of the system's clock."""

    topic: str
    time_ns: int
    data: bytes


class Recorder:
    """Keeps what arrives on topics, undecoded, in memory; a node's callbacks stay cheap."""

    def __init__(self, node: Node, topics: Mapping[str, Recorded]) -> None:
        self._node, self._topics = node, dict(topics)
        self.received: list[Received] = []
        types = RclpyTypes()
        self._subscriptions = [
            node.create_subscription(
                types[topic.type], name, self._keeper(name), _qos(topic.latched), raw=True
            )
            for name, topic in self._topics.items()
        ]

    def count(self, topic: str) -> int:
        """Messages of a topic so far."""
        return sum(message.topic == topic for message in self.received)

    def close(self) -> None:
        """Stop listening."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def write(self, path: Path, shift_ns: int = 0) -> None:
        """Write a bag; its times are those of arrival plus `shift_ns`.

        Raises FileExistsError when the path exists, ValueError for its suffix.
        """
        store = message_types()
        with BagWriter(path, "sqlite3" if path.suffix == ".db3" else "mcap") as bag:
            for message in self.received:
                topic = self._topics[message.topic]
                decoded = store.deserialize_cdr(message.data, topic.type)
                time_ns = message.time_ns + shift_ns
                bag.write(message.topic, decoded, time_ns, latched=topic.latched)

    def _keeper(self, topic: str) -> Callable[[bytes], None]:
        def keep(data: bytes) -> None:
            self.received.append(Received(topic, time.time_ns(), bytes(data)))

        return keep


def _qos(latched: bool) -> QoSProfile:
    durability = QoSDurabilityPolicy.TRANSIENT_LOCAL if latched else QoSDurabilityPolicy.VOLATILE
    return QoSProfile(depth=_QUEUE_DEPTH, durability=durability)
