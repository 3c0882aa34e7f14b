"""A recording played in real time over DDS to the tracker node, and what the node answered."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from flowface_ros.bag.face_messages import stamp_ns
from flowface_ros.bag.message_types import message_types
from flowface_ros.bag.reader import open_bag
from flowface_ros.ros.free_domain import free_domain
from flowface_ros.ros.player import Player
from flowface_ros.ros.recorder import Recorded, Recorder
from flowface_ros.ros.run import make_executor

_TRACKER = "/tracker"
_PACKAGE = "flowface_ros/msg"
_FACES, _FACES_TYPE = f"{_TRACKER}/faces", f"{_PACKAGE}/FaceArray"
_RECORDED = {
    f"{_TRACKER}/head_model": Recorded(f"{_PACKAGE}/HeadModel", latched=True),
    _FACES: Recorded(_FACES_TYPE),
    f"{_TRACKER}/meshes": Recorded(f"{_PACKAGE}/FaceMesh"),
    "/tf": Recorded("tf2_msgs/msg/TFMessage"),
}
_IMAGES = "image_raw/compressed"
_START_S = 180.0
"""The first start compiles the fit's kernels."""
_DISCOVERY_S = 30.0
_SETTLE_S = 20.0
_LATE_NS = 3_000_000_000
"""An image that did not come within this after the last was published is lost on the way."""
NOT_RECEIVED = "not_received"
"""The cause of drops that the tracker knows nothing of."""
_EXIT_S = 20.0
_POLL_S = 0.02

Progress = Callable[[Iterable[Any], int], Iterable[Any]]
"""Wraps an iteration, given its length."""


class LiveRunError(RuntimeError):
    """The tracker did not start, ended, or did not answer."""


@dataclass(frozen=True)
class LiveRun:
    """sets: image sets that were published. answered: with a FaceArray. dropped: by cause, the
    others. latency_ms: of each answer, from when the set's last image was published until it
    arrived. seconds: from the first answer to the last. device: what the networks ran on."""

    sets: int
    answered: int
    dropped: dict[str, int]
    latency_ms: list[float]
    seconds: float
    device: str


@dataclass(frozen=True)
class Report:
    """What the tracker says of itself on /diagnostics. stamp_ns: when."""

    values: Mapping[str, str]
    device: str = ""
    stamp_ns: int = 0

    @property
    def is_active(self) -> bool:
        """Whether the node works."""
        return self.values.get("state") == "active"

    @property
    def sets(self) -> int:
        """Sets that came."""
        return int(self.values["sets"])

    @property
    def answers(self) -> int:
        """Sets with an answer."""
        return int(self.values["answers"])

    @property
    def dropped(self) -> dict[str, int]:
        """Sets without an answer, by cause."""
        prefix = "dropped sets: "
        counts = {k.removeprefix(prefix): int(v) for k, v in self.values.items() if prefix in k}
        return {cause: count for cause, count in counts.items() if count}

    def is_final(self, published: int, end_ns: int) -> bool:
        """Whether every set that came has its end, and none will come any more of the `published`
        sets, the last of them at `end_ns`."""
        may_come = self.sets < published and self.stamp_ns < end_ns + _LATE_NS
        return not may_come and self.sets == self.answers + sum(self.dropped.values())


def pooled(runs: Sequence[LiveRun]) -> LiveRun:
    """Several runs as one."""
    return LiveRun(
        sum(run.sets for run in runs),
        sum(run.answered for run in runs),
        dict(sum((Counter(run.dropped) for run in runs), Counter())),
        [ms for run in runs for ms in run.latency_ms],
        sum(run.seconds for run in runs),
        ", ".join(sorted({run.device for run in runs})),
    )


def track_live(
    bag: Path, cameras: Sequence[str], rig_frame: str, out: Path, progress: Progress
) -> LiveRun:
    """Play a bag's images to the tracker at the pace of its recording; write the answers to `out`.

    cameras: names, primary first; images on /NAME/image_raw/compressed. The answers' bag has the
    input's time: that of arrival less the shortest delay of the player. Runs in a ROS domain of
    its own, on this machine alone.
    Raises LiveRunError when the tracker does not start, ends, or never answers.
    """
    with open_bag(bag) as reader, _own_domain(), _node() as node:
        watch = _Watch(node)
        topics = {name: reader.topics[name] for name in _inputs(cameras)}
        player = Player(reader, topics, clock=False)
        with _spinning(node), _tracker(cameras, rig_frame) as tracker:
            watch.wait_until(lambda: watch.report.is_active, _START_S, tracker, "did not start")
            if not player.wait_for_subscribers(_DISCOVERY_S):
                raise LiveRunError("the tracker does not listen to the cameras")
            published = _played(player, sum(topic.count for topic in topics.values()), progress)
            sets, end_ns = max(map(len, published.values())), time.time_ns()
            watch.wait_until(
                lambda: watch.is_settled(sets, end_ns), _SETTLE_S, tracker, "lost track of sets"
            )
        player.destroy_node()
        return _finish(watch, published, out)


def _played(player: Player, count: int, progress: Progress) -> dict[str, list[tuple[int, int]]]:
    """Recorded and published time (ns) of each image, by topic."""
    published: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for topic, recorded_ns in progress(player.play(1.0), count):
        if topic.endswith(_IMAGES):
            published[topic].append((recorded_ns, time.time_ns()))
    return published


def _parameters(cameras: Sequence[str], rig_frame: str) -> list[str]:
    return ["--ros-args", "-p", f"cameras:=[{','.join(cameras)}]", "-p", f"rig_frame:={rig_frame}"]


def _inputs(cameras: Sequence[str]) -> list[str]:
    return ["/tf_static", *(f"/{c}/{leaf}" for c in cameras for leaf in ("camera_info", _IMAGES))]


class _Watch:
    """Listens to the tracker."""

    def __init__(self, node: Node) -> None:
        self.report = Report({})
        self.recorder = Recorder(node, _RECORDED)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def is_settled(self, published: int, end_ns: int) -> bool:
        """Whether all sets published until `end_ns` have their end, and the answers are here."""
        is_final = self.report.is_final(published, end_ns)
        return is_final and self.recorder.count(_FACES) >= self.report.answers

    def wait_until(
        self, condition: Callable[[], bool], seconds: float, tracker: Any, trouble: str
    ) -> None:
        """Raises LiveRunError when the tracker ends, or the condition does not come true."""
        end = time.monotonic() + seconds
        while not condition():
            if tracker.poll() is not None:
                raise LiveRunError(f"the tracker ended with exit status {tracker.returncode}")
            if time.monotonic() > end:
                state = dict(self.report.values)
                raise LiveRunError(f"the tracker {trouble} within {seconds:.0f} s: {state}")
            time.sleep(_POLL_S)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == "tracker: tracker":
                values = {entry.key: entry.value for entry in status.values}
                self.report = Report(values, status.hardware_id, stamp_ns(message))


def _finish(watch: _Watch, published: Mapping[str, list[tuple[int, int]]], out: Path) -> LiveRun:
    """Write the answers; the figures."""
    images = [np.array(rows, np.int64) for rows in published.values()]
    delay_ns = min(int((rows[:, 1] - rows[:, 0]).min()) for rows in images)
    watch.recorder.write(out, -delay_ns)
    types, latency_ms, times_s = message_types(), [], []
    for message in watch.recorder.received:
        if message.topic != _FACES:
            continue
        stamp = stamp_ns(types.deserialize_cdr(message.data, _FACES_TYPE))
        shown_ns = max(rows[np.abs(rows[:, 0] - stamp).argmin(), 1] for rows in images)
        latency_ms.append(float(message.time_ns - shown_ns) * 1e-6)
        times_s.append(message.time_ns * 1e-9)
    if not times_s:
        raise LiveRunError(f"the tracker never answered: {dict(watch.report.values)}")
    sets, report = max(map(len, images)), watch.report
    dropped = report.dropped | ({NOT_RECEIVED: sets - report.sets} if sets > report.sets else {})
    seconds = times_s[-1] - times_s[0]
    return LiveRun(sets, report.answers, dropped, latency_ms, seconds, report.device)


@contextmanager
def _own_domain() -> Iterator[None]:
    """Processes talk to one another alone: a robot nearby sees nothing of the demo."""
    before = dict(os.environ)
    with free_domain() as domain:
        os.environ["ROS_DOMAIN_ID"] = str(domain)
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


@contextmanager
def _node() -> Iterator[Node]:
    rclpy.init()
    try:
        node = rclpy.create_node("flowface_demo")
        yield node
        node.destroy_node()
    finally:
        rclpy.try_shutdown()


@contextmanager
def _spinning(node: Node) -> Iterator[None]:
    """Callbacks run in a thread."""
    executor, stop = make_executor(), Event()
    executor.add_node(node)

    def spin() -> None:
        while not stop.is_set():
            executor.spin_once(timeout_sec=_POLL_S)

    thread = Thread(target=spin, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        executor.shutdown()


@contextmanager
def _tracker(cameras: Sequence[str], rig_frame: str) -> Iterator[subprocess.Popen[bytes]]:
    """The tracker's process, gone afterwards."""
    arguments = [*_parameters(cameras, rig_frame), "--log-level", "error"]
    process = subprocess.Popen([sys.executable, "-m", "flowface_ros.ros.tracker_node", *arguments])
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(_EXIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
