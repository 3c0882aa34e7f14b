"""The topics of one camera."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from flowface_ros.bag.face_messages import stamp_ns
from flowface_ros.ros.calibration import Calibration
from flowface_ros.ros.counters import Rate
from flowface_ros.ros.guard import Guard
from flowface_ros.ros.parameters import CameraTopics
from flowface_ros.ros.qos_events import subscription_events

_IMAGE_DEPTH = 5
"""The callback takes microseconds; this covers a burst while another callback runs."""
_INFO_DEPTH = 10

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

    def subscribe(self, node: Node, on_image: OnImage) -> None:
        """Begin to listen."""
        compressed = self.topics.transport == "compressed"
        reliable = self.topics.reliability == "reliable"

        def take_image(message: Any) -> None:
            self.images.tick()
            on_image(self.name, stamp_ns(message), message)

        def take_info(message: CameraInfo) -> None:
            self.infos.tick()
            self.calibration.add(message)

        purpose = f"camera {self.name!r} (images on {{}}, CameraInfo on {{}})".format(
            *(node.resolve_topic_name(t) for t in (self.topics.image_topic, self.topics.info_topic))
        )
        for kind, topic, callback, depth, reliability in (
            (
                CompressedImage if compressed else Image,
                self.topics.image_topic,
                take_image,
                _IMAGE_DEPTH,
                ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            ),
            (
                CameraInfo,
                self.topics.info_topic,
                take_info,
                _INFO_DEPTH,
                ReliabilityPolicy.BEST_EFFORT,
            ),
        ):
            self._subscriptions.append(
                node.create_subscription(
                    kind,
                    topic,
                    self._guard(callback),
                    QoSProfile(depth=depth, reliability=reliability),
                    event_callbacks=subscription_events(node, topic, purpose, self._guard),
                )
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
