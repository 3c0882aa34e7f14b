"""`rig`: says where the cameras of a rig file are, and what their lenses are like."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo
from tf2_msgs.msg import TFMessage

from flowface_ros.bag.face_messages import camera_info_message, tf_message
from flowface_ros.ros.convert import RclpyTypes
from flowface_ros.ros.parameters import declare
from flowface_ros.ros.rig_file import read_any_rig
from flowface_ros.ros.run import started
from flowface_ros.ros.settings import RigSettings

_ARGUMENTS = "--ros-args -p rig_file:=FILE [-p info:=all]"
_PERIOD_S = 0.5
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class RigNode(Node):
    """Publishes /tf_static once and CameraInfo for drivers that have none."""

    def __init__(self, **options: Any) -> None:
        super().__init__("rig", **options)
        settings = declare(self, RigSettings)
        if not settings.rig_file:
            raise ValueError("rig_file is empty, must name a file")
        self._types, self._rig = RclpyTypes(), read_any_rig(Path(settings.rig_file).expanduser())
        self._static = self.create_publisher(TFMessage, "/tf_static", _LATCHED)
        poses = [(self._rig.frame, camera.frame, camera.rig_from_camera, 0) for camera in self._rig]
        self._static.publish(tf_message(self._types, poses))
        chosen = _chosen(settings.info, self._rig.names)
        self._infos = {
            name: self.create_publisher(CameraInfo, f"{name}/camera_info", _LATCHED)
            for name in chosen
        }
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_PERIOD_S, self._publish_infos, clock=steady)

    def _publish_infos(self) -> None:
        now_ns = self.get_clock().now().nanoseconds
        for name, publisher in self._infos.items():
            publisher.publish(camera_info_message(self._types, self._rig[name], now_ns))


def _chosen(text: str, names: tuple[str, ...]) -> tuple[str, ...]:
    chosen = names if text == "all" else tuple(filter(None, (n.strip() for n in text.split(","))))
    if strangers := sorted(set(chosen) - set(names)):
        raise ValueError(f"info names {', '.join(strangers)}; the rig has {', '.join(names)}")
    return chosen


def main() -> int:
    """The program `flowface-rig`."""
    node = started(RigNode, sys.argv, _ARGUMENTS, SignalHandlerOptions.ALL)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
