"""What a node that knows heads publishes: faces, meshes, the head model, transforms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rclpy.node import Node
from rclpy.qos_overriding_options import QoSOverridingOptions

from flowface_ros.bag.face_messages import (
    face_array_message,
    face_mesh_message,
    head_model_message,
    tf_message,
)
from flowface_ros.head.model import HeadModel
from flowface_ros.ros.convert import RclpyTypes
from flowface_ros.ros.topics import FACES, HEAD_MODEL, MESHES, TRANSFORMS_OUT, Topic
from flowface_ros.track.head_frames import head_frames
from flowface_ros.track.tracked_head import TrackedHead


class HeadOutputs:
    """Publishers of `~/faces`, `~/meshes`, `~/head_model` and `/tf`.

    One thread publishes at a time. Meshes are computed only while somebody subscribes.
    """

    def __init__(self, node: Node, model: HeadModel) -> None:
        self._node, self._model, self._types = node, model, RclpyTypes()
        overridable = QoSOverridingOptions.with_default_policies()

        def publisher(topic: Topic, **options: Any) -> Any:
            return node.create_publisher(topic.kind, topic.name, topic.qos, **options)

        self._faces = publisher(FACES)
        self._meshes = publisher(MESHES, qos_overriding_options=overridable)
        self._head_model = publisher(HEAD_MODEL)
        self._transforms = publisher(TRANSFORMS_OUT)
        self._frame = ""

    def publish_model(self, time_ns: int, frame: str) -> None:
        """Once; who subscribes later gets it too."""
        self._head_model.publish(head_model_message(self._types, self._model, time_ns, frame))

    def publish(self, heads: Sequence[TrackedHead], time_ns: int, frame: str) -> None:
        """Publish everybody at one stamp."""
        message = face_array_message(self._types, self._model, heads, time_ns, frame)
        if heads:
            poses = head_frames(self._model, heads, frame, time_ns)
            self._transforms.publish(tf_message(self._types, poses))
        self._faces.publish(message)
        self._frame = frame
        if self._meshes.get_subscription_count():
            for head in heads:
                self._meshes.publish(face_mesh_message(self._types, self._model, head, time_ns))

    def publish_nobody(self, time_ns: int) -> None:
        """An empty FaceArray: whoever was there is not followed any more."""
        self._faces.publish(face_array_message(self._types, self._model, (), time_ns, self._frame))

    def destroy(self) -> None:
        """Remove the publishers."""
        for publisher in (self._faces, self._meshes, self._head_model, self._transforms):
            self._node.destroy_publisher(publisher)
