"""The topics of one camera."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo

from flowface_ros.bag.face_messages import stamp_ns
from flowface_ros.ros.calibration import Calibration
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
        self.calibration = Calibration(name, lambda text: guard.info(f"calibration {text}", text))
        self.images, self.infos = Rate(), Rate()
        self._guard = guard
        self._subscriptions: list[Any] = []

    def subscribe(self, node: Node, on_image: OnImage, watch: QosWatch) -> None:
        """Begin to listen."""
        topics = self.topics
        images = COMPRESSED if topics.transport == "compressed" else IMAGE
        qos = images.qos
        if topics.reliability == "reliable":
            qos = QoSProfile(depth=qos.depth, reliability=ReliabilityPolicy.RELIABLE)

        def take_image(message: Any) -> None:
            self.images.tick()
            on_image(self.name, stamp_ns(message), message)

        def take_info(message: CameraInfo) -> None:
            self.infos.tick()
            self.calibration.add(message)

        names = (node.resolve_topic_name(t) for t in (topics.image_topic, topics.info_topic))
        purpose = "camera {!r} (images on {}, CameraInfo on {})".format(self.name, *names)
        for kind, topic, callback, profile in (
            (images.kind, topics.image_topic, take_image, qos),
            (CAMERA_INFO.kind, topics.info_topic, take_info, CAMERA_INFO.qos),
        ):
            watch.describe(topic, purpose)
            self._subscriptions.append(
                node.create_subscription(kind, topic, self._guard(callback), profile)
            )

    def unsubscribe(self, node: Node) -> None:
        """Stop listening."""
        for subscription in self._subscriptions:
            node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def missing(self, node: Node) -> str:
        """What never came though its counterpart did, or "" when both or neither did."""
        if self.images.total and not self.infos.total:
            topic = node.resolve_topic_name(self.topics.info_topic)
            return f"camera {self.name!r}: images arrive, but no CameraInfo on {topic}"
        if self.infos.total and not self.images.total:
            topic = node.resolve_topic_name(self.topics.image_topic)
            return f"camera {self.name!r}: CameraInfo arrives, but no image on {topic}"
        return ""
