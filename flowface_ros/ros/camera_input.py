"""The topics of one camera."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo

from flowface_ros.bag.calibration import Calibration
from flowface_ros.bag.face_messages import stamp_ns
from flowface_ros.ros.counters import Rate
from flowface_ros.ros.guard import Guard
from flowface_ros.ros.parameters import CameraTopics
from flowface_ros.ros.qos_watch import QosWatch
from flowface_ros.ros.topics import CAMERA_INFO, COMPRESSED, IMAGE

OnImage = Callable[[str, int, Any], None]


class CameraInput:
    """Subscribes to one camera's images and CameraInfo, and counts them.

    on_image: called with the camera's name, the stamp (ns) and the message.
    """

    def __init__(self, name: str, topics: CameraTopics, guard: Guard) -> None:
        self.name, self.topics = name, topics.resolved(name)
        # One key for all changes: a zoom lens is another camera with every image.
        self.calibration = Calibration(name, partial(guard.info, f"calibration {name}"))
        self.images, self.infos = Rate(), Rate()
        self._guard = guard
        self._info_subscription: Any = None
        self._image_subscriptions: dict[str, Any] = {}
        self._transport: str | None = None

    def subscribe(self, node: Node, on_image: OnImage, watch: QosWatch) -> None:
        """Begin to listen."""
        topics = published(node, self.topics.image_topics)
        self._transport = next(iter(topics)) if len(topics) == 1 else None

        def take_image(transport: str, message: Any) -> None:
            self._transport = self._transport or transport
            if transport == self._transport:
                self.images.tick()
                on_image(self.name, stamp_ns(message), message)

        def take_info(message: CameraInfo) -> None:
            self.infos.tick()
            self.calibration.add(message)

        where = node.resolve_topic_name(self.topics.info_topic)
        purpose = f"camera {self.name!r} (images on {self._places(node)}, CameraInfo on {where})"
        for topic in (*topics.values(), self.topics.info_topic):
            watch.describe(topic, purpose)
        for transport, topic in topics.items():
            images = COMPRESSED if transport == "compressed" else IMAGE
            self._image_subscriptions[transport] = node.create_subscription(
                images.kind,
                topic,
                self._guard(partial(take_image, transport)),
                self._image_qos(images.qos),
            )
        self._info_subscription = node.create_subscription(
            CAMERA_INFO.kind, self.topics.info_topic, self._guard(take_info), CAMERA_INFO.qos
        )

    def drop_unused(self, node: Node) -> None:
        """Once images come by one transport, do not ask for the other."""
        for transport in [t for t in self._image_subscriptions if self._transport not in (None, t)]:
            node.destroy_subscription(self._image_subscriptions.pop(transport))

    def _image_qos(self, qos: QoSProfile) -> QoSProfile:
        if self.topics.reliability == "reliable":
            return QoSProfile(depth=qos.depth, reliability=ReliabilityPolicy.RELIABLE)
        return qos

    def _places(self, node: Node) -> str:
        return " or ".join(node.resolve_topic_name(t) for t in self.topics.image_topics.values())

    def unsubscribe(self, node: Node) -> None:
        """Stop listening."""
        for subscription in (*self._image_subscriptions.values(), self._info_subscription):
            if subscription is not None:
                node.destroy_subscription(subscription)
        self._image_subscriptions.clear()
        self._info_subscription = None

    def missing(self, node: Node) -> str:
        """What never came though its counterpart did, or "" when both or neither did."""
        if self.images.total and not self.infos.total:
            topic = node.resolve_topic_name(self.topics.info_topic)
            return f"camera {self.name!r}: images arrive, but no CameraInfo on {topic}"
        if self.infos.total and not self.images.total:
            return f"camera {self.name!r}: CameraInfo arrives, but no image on {self._places(node)}"
        return ""


def published(node: Node, topics: Mapping[str, str]) -> dict[str, str]:
    """The first of some topics that somebody publishes, by its key; all when nobody does."""
    for key, topic in topics.items():
        if node.count_publishers(node.resolve_topic_name(topic)):
            return {key: topic}
    return dict(topics)
