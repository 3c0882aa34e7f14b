"""Pictures with the heads drawn on, on demand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage

from flowface_ros.bag.face_messages import header_message
from flowface_ros.bag.images import encode_jpeg
from flowface_ros.head.model import HeadModel
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.ros.convert import RclpyTypes
from flowface_ros.ros.pace import Pace
from flowface_ros.ros.topics import OVERLAY
from flowface_ros.synth.sheets.overlay import draw_mesh, wireframe
from flowface_ros.track.frames import ViewFrame
from flowface_ros.track.tracked_head import TrackedHead

_JPEG_QUALITY = 80


class OverlayOutput:
    """Publishes `~/overlay/<camera>/compressed` of cameras that somebody subscribes to."""

    def __init__(self, node: Node, model: HeadModel, cameras: Sequence[str]) -> None:
        self._node, self._model, self._types = node, model, RclpyTypes()
        self._wireframe = wireframe(model)
        self._publishers = {
            name: node.create_publisher(OVERLAY.kind, OVERLAY.of(name), OVERLAY.qos)
            for name in cameras
        }
        self._paces = {name: Pace() for name in cameras}

    def publish(self, view: ViewFrame, heads: Sequence[TrackedHead], rate_hz: float) -> None:
        """Publish if it is time and somebody listens."""
        name = view.camera.name
        publisher = self._publishers[name]
        if not publisher.get_subscription_count() or not self._paces[name].is_due(rate_hz):
            return
        image = np.array(view.image)
        for head in heads:
            vertices = pose_vertices(self._model, head.state)
            image = draw_mesh(image, view.camera, vertices, self._wireframe)
        message = CompressedImage(format="rgb8; jpeg compressed bgr8")
        message.header = header_message(self._types, view.stamp_ns, view.camera.frame)
        jpeg = np.frombuffer(encode_jpeg(image, _JPEG_QUALITY), np.uint8)
        message.data = self._types.sequence(jpeg)
        publisher.publish(message)

    def destroy(self) -> None:
        """Remove the publishers."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)
