"""Heads as RViz markers, on demand: a mesh, the direction of gaze, and the id."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import Point, Vector3
from numpy.typing import NDArray
from rclpy.duration import Duration
from rclpy.node import Node
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from flowface_ros.bag.face_messages import header_message
from flowface_ros.head.model import HeadModel
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.ros.convert import RclpyTypes
from flowface_ros.ros.pace import Pace
from flowface_ros.ros.topics import MARKERS
from flowface_ros.track.head_frames import gaze_pose
from flowface_ros.track.tracked_head import Status, TrackedHead

_LIFETIME = Duration(seconds=1)
"""A head that is not published again vanishes."""
_GAZE_M = 0.3
_ABOVE_M = 0.2
_TEXT_M = 0.05
_COLORS = {
    Status.TENTATIVE: (0.9, 0.8, 0.3),
    Status.TRACKED: (0.75, 0.8, 0.85),
    Status.COASTING: (0.5, 0.5, 0.6),
}


class MarkerOutput:
    """Publishes `~/markers` while somebody subscribes."""

    def __init__(self, node: Node, model: HeadModel) -> None:
        self._node, self._model, self._pace = node, model, Pace()
        self._publisher = node.create_publisher(MARKERS.kind, MARKERS.name, MARKERS.qos)
        self._corners = _skin(model).reshape(-1).tolist()

    def publish(
        self, heads: Sequence[TrackedHead], time_ns: int, frame: str, rate_hz: float
    ) -> None:
        """Publish if it is time and somebody listens."""
        if not self._publisher.get_subscription_count() or not self._pace.is_due(rate_hz):
            return
        header = header_message(RclpyTypes(), time_ns, frame)
        message = MarkerArray()
        for head in heads:
            for kind, marker in (
                ("mesh", self._mesh(head)),
                ("gaze", self._gaze(head)),
                ("id", self._text(head)),
            ):
                marker.header, marker.ns, marker.lifetime = header, kind, _LIFETIME.to_msg()
                marker.id = _number(head.id)
                message.markers.append(marker)
        self._publisher.publish(message)

    def destroy(self) -> None:
        """Remove the publisher."""
        self._node.destroy_publisher(self._publisher)

    def _mesh(self, head: TrackedHead) -> Marker:
        marker = Marker(type=Marker.TRIANGLE_LIST, scale=Vector3(x=1.0, y=1.0, z=1.0))
        marker.color = _color(head.status)
        # Corners share the points: a tenth of the time of new ones.
        points = _points(pose_vertices(self._model, head.state))
        marker.points = [points[i] for i in self._corners]
        return marker

    def _gaze(self, head: TrackedHead) -> Marker:
        pose = gaze_pose(self._model, head.state)
        marker = Marker(type=Marker.ARROW, scale=Vector3(x=0.008, y=0.016, z=0.03))
        marker.color = ColorRGBA(r=0.2, g=0.7, b=1.0, a=1.0)
        marker.points = _points(pose[:3, 3] + np.outer([0.0, _GAZE_M], pose[:3, 2]))
        return marker

    def _text(self, head: TrackedHead) -> Marker:
        marker = Marker(type=Marker.TEXT_VIEW_FACING, scale=Vector3(x=0.0, y=0.0, z=_TEXT_M))
        marker.text, marker.color = f"{head.id} {head.status.name.lower()}", _color(head.status)
        above = head.state.rig_from_head @ np.array([0.0, _ABOVE_M, 0.0, 1.0])
        (marker.pose.position,) = _points(above[None, :3])
        return marker


def _skin(model: HeadModel) -> NDArray[np.int32]:
    """Triangles of the outer skin and the eyes; what lies inside the mouth costs and is hidden."""
    shown = np.zeros(model.vertex_count, bool)
    for group in ("skin", "left_eyeball", "right_eyeball"):
        shown[model.vertex_groups.get(group, [])] = True
    return model.triangles[shown[model.triangles].all(axis=1)]


def _points(positions: NDArray[np.float64]) -> list[Point]:
    return [Point(x=x, y=y, z=z) for x, y, z in np.asarray(positions, np.float64).tolist()]


def _color(status: Status) -> ColorRGBA:
    r, g, b = _COLORS[status]
    return ColorRGBA(r=r, g=g, b=b, a=1.0)


def _number(head_id: str) -> int:
    digits = "".join(c for c in head_id if c.isdigit())
    return int(digits or 0) % 2**31
