"""Faces as REP-155 (ROS4HRI) publishes them, for machines that have hri_msgs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from flowface_ros.bag.face_messages import header_message
from flowface_ros.bag.images import image_fields
from flowface_ros.camera.camera import Camera
from flowface_ros.head.blendshapes import ARKIT_NAMES, blendshapes_from_state
from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.model import HeadModel
from flowface_ros.rigid import apply
from flowface_ros.ros.convert import RclpyTypes
from flowface_ros.ros.memory import forget_destroyed
from flowface_ros.track.tracked_head import TrackedHead

_LANDMARKS = ("ibug68", "right_iris", "left_iris")
"""In the order of hri_msgs/FacialLandmarks."""
_MARGIN = 0.25
"""Of the region around the landmarks, over its size on each side."""
_CROPPED_PX = 128
"""Side of ~/cropped, as REP-155 says."""
_ACTION_UNITS = 99
_DEPTH = 10

_BLENDSHAPES_OF_UNITS: dict[int, tuple[str, ...]] = {
    1: ("browInnerUp",),
    2: ("browOuterUpLeft", "browOuterUpRight"),
    4: ("browDownLeft", "browDownRight"),
    5: ("eyeWideLeft", "eyeWideRight"),
    6: ("cheekSquintLeft", "cheekSquintRight"),
    7: ("eyeSquintLeft", "eyeSquintRight"),
    9: ("noseSneerLeft", "noseSneerRight"),
    10: ("mouthUpperUpLeft", "mouthUpperUpRight"),
    12: ("mouthSmileLeft", "mouthSmileRight"),
    14: ("mouthDimpleLeft", "mouthDimpleRight"),
    15: ("mouthFrownLeft", "mouthFrownRight"),
    16: ("mouthLowerDownLeft", "mouthLowerDownRight"),
    17: ("mouthShrugLower",),
    18: ("mouthPucker",),
    20: ("mouthStretchLeft", "mouthStretchRight"),
    22: ("mouthFunnel",),
    24: ("mouthPressLeft", "mouthPressRight"),
    26: ("jawOpen",),
    28: ("mouthRollLower", "mouthRollUpper"),
    29: ("jawForward",),
    34: ("cheekPuff",),
    45: ("eyeBlinkLeft", "eyeBlinkRight"),
    61: ("eyeLookOutLeft", "eyeLookInRight"),
    62: ("eyeLookInLeft", "eyeLookOutRight"),
    63: ("eyeLookUpLeft", "eyeLookUpRight"),
    64: ("eyeLookDownLeft", "eyeLookDownRight"),
}
"""Action units of FACS that ARKit's blendshapes have a counterpart of; both sides' mean."""


class Rep155Output:
    """Publishes /humans/faces/tracked and roi, cropped, landmarks, facs of each face.

    Raises ValueError when hri_msgs is not installed.
    """

    def __init__(self, node: Node, model: HeadModel) -> None:
        if find_spec("hri_msgs") is None:
            raise ValueError("publish_rep155 is set, but the package hri_msgs is not installed")
        self._node, self._model, self._types = node, model, RclpyTypes()
        self._landmarks = [SurfaceEvaluator(model, model.landmarks[name]) for name in _LANDMARKS]
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._tracked = self._publisher("IdsList", "/humans/faces/tracked", latched)
        self._faces: dict[str, dict[str, Any]] = {}

    def publish(
        self,
        heads: Sequence[TrackedHead],
        cameras: Mapping[str, Camera],
        images: Mapping[str, NDArray[np.uint8]],
        time_ns: int,
    ) -> None:
        """Each head in the first view that took part. images: of the views that there are."""
        for head in heads:
            view = next((name for name in head.views if name in cameras), None)
            if view is not None:
                header = header_message(self._types, time_ns, cameras[view].frame)
                self._publish_face(head, header, cameras[view], images.get(view))
        gone = self._faces.keys() - {head.id for head in heads}
        header = header_message(self._types, time_ns, "")
        ids = [head.id for head in heads]
        self._tracked.publish(self._types["hri_msgs/msg/IdsList"](header=header, ids=ids))
        for head_id in gone:
            self._forget(head_id)

    def destroy(self) -> None:
        """Remove the publishers."""
        for head_id in list(self._faces):
            self._forget(head_id)
        self._node.destroy_publisher(self._tracked)

    def _forget(self, head_id: str) -> None:
        for publisher in self._faces.pop(head_id).values():
            self._node.destroy_publisher(publisher)
        forget_destroyed(self._node)

    def _publishers_of(self, head_id: str) -> dict[str, Any]:
        if head_id not in self._faces:
            base = f"/humans/faces/{head_id}"
            self._faces[head_id] = {
                "roi": self._publisher("NormalizedRegionOfInterest2D", f"{base}/roi", _DEPTH),
                "landmarks": self._publisher("FacialLandmarks", f"{base}/landmarks", _DEPTH),
                "facs": self._publisher("FacialActionUnits", f"{base}/facs", _DEPTH),
                "cropped": self._node.create_publisher(
                    self._types["sensor_msgs/msg/Image"], f"{base}/cropped", _DEPTH
                ),
            }
        return self._faces[head_id]

    def _publisher(self, kind: str, topic: str, qos: QoSProfile | int) -> Any:
        return self._node.create_publisher(self._types[f"hri_msgs/msg/{kind}"], topic, qos)

    def _publish_face(
        self, head: TrackedHead, header: Any, camera: Camera, image: NDArray[np.uint8] | None
    ) -> None:
        publishers = self._publishers_of(head.id)
        points = np.concatenate([part.positions(head.state) for part in self._landmarks])
        pixels, seen = camera.project(apply(camera.camera_from_rig, points))
        if seen.all():
            size = np.array([camera.width, camera.height])
            region = _region(pixels, size)
            self._publish_region(publishers, header, head, pixels / size, region / np.tile(size, 2))
            if image is not None and publishers["cropped"].get_subscription_count():
                fields = image_fields(_cropped(image, region))
                fields["data"] = self._types.sequence(fields["data"])
                message = self._types["sensor_msgs/msg/Image"](header=header, **fields)
                publishers["cropped"].publish(message)
        publishers["facs"].publish(self._action_units(head, header))

    def _publish_region(
        self, publishers: dict[str, Any], header: Any, head: TrackedHead, points: Any, box: Any
    ) -> None:
        left, top, right, bottom = (float(v) for v in np.clip(box, 0.0, 1.0))
        confidence = float(head.confidence)
        roi = self._types["hri_msgs/msg/NormalizedRegionOfInterest2D"]
        publishers["roi"].publish(
            roi(header=header, xmin=left, ymin=top, xmax=right, ymax=bottom, c=confidence)
        )
        point = self._types["hri_msgs/msg/NormalizedPointOfInterest2D"]
        publishers["landmarks"].publish(
            self._types["hri_msgs/msg/FacialLandmarks"](
                header=header,
                landmarks=[
                    point(x=float(x), y=float(y), c=confidence) for x, y in np.clip(points, 0, 1)
                ],
            )
        )

    def _action_units(self, head: TrackedHead, header: Any) -> Any:
        intensity, confidence = np.zeros((2, _ACTION_UNITS), np.float32)
        if self._model.blendshapes is not None:
            weights = dict(
                zip(ARKIT_NAMES, blendshapes_from_state(self._model, head.state), strict=True)
            )
            for unit, names in _BLENDSHAPES_OF_UNITS.items():
                intensity[unit] = np.mean([weights[name] for name in names])
                confidence[unit] = head.confidence
        return self._types["hri_msgs/msg/FacialActionUnits"](
            header=header,
            intensity=self._types.sequence(intensity),
            confidence=self._types.sequence(confidence),
        )


def _region(pixels: NDArray[np.float64], size: NDArray) -> NDArray[np.float64]:
    """x_min, y_min, x_max, y_max of a square around points (N, 2), inside the image, pixels."""
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    half = (0.5 + _MARGIN) * np.max(high - low)
    centre = (low + high) / 2
    return np.concatenate([np.clip(centre - half, 0, size), np.clip(centre + half, 0, size)])


def _cropped(image: NDArray[np.uint8], region: NDArray[np.float64]) -> NDArray[np.uint8]:
    left, top, right, bottom = np.round(region).astype(int)
    part = image[top : max(bottom, top + 1), left : max(right, left + 1)]
    if part.size == 0:
        return np.zeros((_CROPPED_PX, _CROPPED_PX, 3), np.uint8)
    return cv2.resize(part, (_CROPPED_PX, _CROPPED_PX), interpolation=cv2.INTER_AREA)
