"""Latency budget of the tracker node: from the camera's publisher to /tf, over DDS.

A process publishes raw or JPEG images of a synthetic person who keeps still, another runs the
tracker, this one listens. Then the price of ingestion alone: four cameras of 1280x720 at 30 Hz
without CameraInfo, whose images arrive and are dropped undecoded. Needs rclpy.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import harness

harness.pin_threads(1)

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

CONFIG = Path(__file__).resolve().parents[1] / "config"
SIZES = ((640, 480), (1280, 720))
CAMERA_COUNTS = (1, 2, 3)
TRANSPORTS = ("raw", "compressed")
FPS = 30.0
JPEG_QUALITY = 90
INGESTED = 4
STAGES = ("arrival", "decode", "transform", "detect", "align", "associate", "fit", "publish")
WARM_UP_S = 3.0
PATIENCE_S = 60.0
_NS = 1_000_000_000


@dataclass(frozen=True)
class Load:
    """What the cameras send: images by camera, each (H, W, 3) uint8 RGB, at `fps`.

    transport: raw or compressed.
    """

    images: dict[str, NDArray[np.uint8]]
    infos: list[Any]
    fps: float
    transport: str = "raw"


def publish(load: Load) -> None:
    """Publish images with the present time as stamp until the process is ended."""
    import rclpy
    from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
    from rclpy.signals import SignalHandlerOptions
    from sensor_msgs.msg import CameraInfo
    from tf2_msgs.msg import TFMessage

    from flowface_ros.bag.face_messages import camera_info_message, header_message, tf_message
    from flowface_ros.ros.convert import RclpyTypes

    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node, types = rclpy.create_node("cameras"), RclpyTypes()
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    static = node.create_publisher(TFMessage, "/tf_static", latched)
    static.publish(tf_message(types, [("rig", c.frame, c.rig_from_camera, 0) for c in load.infos]))
    outputs, infos, messages = {}, {}, {}
    for name, image in load.images.items():
        messages[name], suffix = image_message(image, load.transport)
        topic = f"{name}/image_raw{suffix}"
        outputs[name] = node.create_publisher(type(messages[name]), topic, qos_profile_sensor_data)
    for camera in load.infos:
        infos[camera.name] = node.create_publisher(CameraInfo, f"{camera.name}/camera_info", 10)
    due = time.monotonic()
    while True:
        due += 1 / load.fps
        time.sleep(max(0.0, due - time.monotonic()))
        stamp_ns = time.time_ns()
        for camera in load.infos:
            infos[camera.name].publish(camera_info_message(types, camera, stamp_ns))
        for name, message in messages.items():
            message.header = header_message(types, stamp_ns, f"{name}_optical_frame")
            outputs[name].publish(message)


def image_message(image: NDArray[np.uint8], transport: str) -> tuple[Any, str]:
    """A message of an image, and what its topic's name ends with."""
    from sensor_msgs.msg import CompressedImage, Image

    from flowface_ros.bag.images import encode_jpeg

    if transport == "compressed":
        data = array("B", encode_jpeg(image, JPEG_QUALITY))
        return CompressedImage(format="rgb8; jpeg compressed bgr8", data=data), "/compressed"
    height, width = image.shape[:2]
    data = array("B", image.tobytes())
    return Image(height=height, width=width, encoding="rgb8", step=3 * width, data=data), ""


@contextmanager
def publisher(load: Load) -> Iterator[None]:
    """The publishing process."""
    process = multiprocessing.get_context("spawn").Process(target=publish, args=(load,))
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


@contextmanager
def tracker(cameras: list[str], transport: str = "raw") -> Iterator[int]:
    """The tracker's process; its id."""
    command = [
        sys.executable, "-m", "flowface_ros.ros.tracker_node", "--ros-args",
        "-p", f"cameras:=[{','.join(cameras)}]", "-p", "rig_frame:=rig", "--log-level", "error",
        *(f for name in cameras for f in ("-p", f"{name}.transport:={transport}")),
    ]  # fmt: skip
    process = subprocess.Popen(command)
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


class Listener:
    """Keeps the tracker's diagnostics and how late its transforms are."""

    def __init__(self, node: Any) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from tf2_msgs.msg import TFMessage

        self.values: dict[str, str] = {}
        self.late_s: list[float] = []
        self._node = node
        self._subscriptions = (
            node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10),
            node.create_subscription(TFMessage, "/tf", self._on_transforms, 100),
        )

    def spin(self, seconds: float) -> None:
        """Listen for so long."""
        import rclpy

        end = time.monotonic() + seconds
        while time.monotonic() < end:
            rclpy.spin_once(self._node, timeout_sec=0.05)

    def wait_until_active(self) -> None:
        """Raises TimeoutError when the tracker does not become active."""
        end = time.monotonic() + PATIENCE_S
        while self.values.get("state") != "active":
            if time.monotonic() > end:
                raise TimeoutError(f"the tracker is not active: {self.values}")
            self.spin(0.1)

    def close(self) -> None:
        """Stop listening."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            if status.name == "tracker: tracker":
                self.values = {entry.key: entry.value for entry in status.values}

    def _on_transforms(self, message: Any) -> None:
        now_ns = time.time_ns()
        for entry in message.transforms:
            if entry.child_frame_id.startswith("face_"):
                stamp = entry.header.stamp
                self.late_s.append((now_ns - stamp.sec * _NS - stamp.nanosec) / _NS)


def still_scene(cameras: int, size: tuple[int, int]) -> Load:
    """One moment of a synthetic scene, again and again."""
    from flowface_ros.synth.scene.scene import Scene, SceneConfig

    scene = Scene(SceneConfig(seed=3, cameras=cameras, width=size[0], height=size[1]))
    infos = list(scene.moving_rig.cameras)
    images = {c.name: scene.render(i, 0.5).color for i, c in enumerate(infos)}
    return Load(images, infos, FPS)


def cpu_seconds(pid: int) -> float:
    """Processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_budget(node: Any, load: Load, seconds: float) -> dict[str, Any]:
    """One row: rates, processor time and the stages' medians, milliseconds."""
    listener = Listener(node)
    with tracker(list(load.images), load.transport) as pid, publisher(load):
        listener.wait_until_active()
        listener.spin(WARM_UP_S)
        listener.late_s.clear()
        answers, cpu, start = int(listener.values["answers"]), cpu_seconds(pid), time.monotonic()
        listener.spin(seconds)
        elapsed = time.monotonic() - start
        late_ms = 1e3 * np.array(listener.late_s or [np.nan])
        values = listener.values
        answered, used_s = int(values["answers"]) - answers, cpu_seconds(pid) - cpu
        row = {
            "sets/s": answered / elapsed,
            "core %": 100 * used_s / elapsed,
            "CPU ms/set": 1e3 * used_s / max(answered, 1),
            **{stage: float(values.get(f"{stage} p50 ms", "nan")) for stage in STAGES},
            "to TF p50": float(np.median(late_ms)),
            "to TF p95": float(np.percentile(late_ms, 95)),
        }
    listener.close()
    return row


def measure_ingestion(node: Any, seconds: float) -> dict[str, Any]:
    """Processor time of the tracker while images arrive that it does not look at."""
    noise = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), np.uint8)
    names = [f"camera{i}" for i in range(INGESTED)]
    listener = Listener(node)
    with tracker(names) as pid, publisher(Load(dict.fromkeys(names, noise), [], FPS)):
        listener.wait_until_active()
        listener.spin(WARM_UP_S)
        sets, cpu, start = int(listener.values["sets"]), cpu_seconds(pid), time.monotonic()
        listener.spin(seconds)
        elapsed = time.monotonic() - start
        row = {
            "cameras": f"{INGESTED} x 1280x720, 30 Hz",
            "sets/s": (int(listener.values["sets"]) - sets) / elapsed,
            "core %": 100 * (cpu_seconds(pid) - cpu) / elapsed,
        }
    listener.close()
    return row


def main() -> None:
    args = harness.parser(__doc__).parse_args()
    from flowface_ros.ros.free_domain import free_domain

    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] = str(CONFIG / "fastdds.xml")
    with free_domain() as domain:
        os.environ["ROS_DOMAIN_ID"] = str(domain)
        measure_all(args)


def measure_all(args: argparse.Namespace) -> None:
    """The tables."""
    import rclpy

    seconds = 5.0 if args.quick else 20.0
    rclpy.init()
    node = rclpy.create_node("listener")
    rows = []
    for width, height in SIZES[:1] if args.quick else SIZES:
        for count in CAMERA_COUNTS:
            load = still_scene(count, (width, height))
            for transport in TRANSPORTS:
                row = {"cameras": count, "size": f"{width}x{height}", "transport": transport}
                rows.append(row | measure_budget(node, replace(load, transport=transport), seconds))
    ingestion = measure_ingestion(node, seconds)
    print(f"{harness.machine_description()}; load average {os.getloadavg()[1]:.1f}")
    print("milliseconds; images at 30 Hz, medians unless p95")
    harness.print_table(rows)
    harness.print_table([ingestion])
    if args.json:
        harness.write_json(args.json, {"budget": rows, "ingestion": ingestion})
    node.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    main()
