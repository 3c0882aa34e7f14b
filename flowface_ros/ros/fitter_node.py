"""`fitter`: the alignments of all cameras in, heads out; sees no image."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from flowface_ros.align.aligner import DEFAULT_GRID
from flowface_ros.bag.calibration import Calibration, CalibrationError
from flowface_ros.bag.face_messages import stamp_ns
from flowface_ros.camera.camera import Camera
from flowface_ros.head.model import HeadModel
from flowface_ros.msg import FaceAlignmentArray
from flowface_ros.ros.alignment_messages import alignment_points, read_alignment
from flowface_ros.ros.collector import Arrival
from flowface_ros.ros.counters import Rate
from flowface_ros.ros.diagnostics import ERROR, WARN, Report
from flowface_ros.ros.head_node import HeadNode
from flowface_ros.ros.parameters import declare
from flowface_ros.ros.run import run_node
from flowface_ros.ros.settings import AlignmentTopic, FitterSettings
from flowface_ros.ros.synchronizer import FrameSet
from flowface_ros.ros.topics import ALIGNMENTS
from flowface_ros.ros.view_reader import arrival_of
from flowface_ros.ros.warm_up import warm_up_fit
from flowface_ros.track.frames import ViewAlignment
from flowface_ros.track.head_tracker import HeadTracker


@dataclass(eq=False)
class _Source:
    topic: str
    calibration: Calibration
    rate: Rate
    subscription: Any = None


class FitterNode(HeadNode[FitterSettings]):
    """See docs/ros.md."""

    settings_type = FitterSettings

    def __init__(self, **options: Any) -> None:
        super().__init__("fitter", **options)
        self._sources = {
            name: _Source(
                declare(self, AlignmentTopic, f"{name}.").resolved(name).alignment_topic,
                Calibration(name, partial(self.guard.info, f"calibration {name}")),
                Rate(),
            )
            for name in self.settings.cameras
        }
        self._primary_frame = ""

    def _activate(self, model: HeadModel) -> None:
        warm_up_fit(model, alignment_points(model, DEFAULT_GRID), self.settings.tracker)
        self._core = HeadTracker(model, self.settings.tracker)
        for name, source in self._sources.items():
            self._qos.describe(source.topic, f"alignments of camera {name!r}")
            source.subscription = self.create_subscription(
                ALIGNMENTS.kind,
                source.topic,
                self.guard(lambda message, name=name: self._take_alignments(name, message)),
                ALIGNMENTS.qos,
            )

    def _unsubscribe(self) -> None:
        for source in self._sources.values():
            if source.subscription is not None:
                self.destroy_subscription(source.subscription)
                source.subscription = None

    def _take_alignments(self, name: str, message: FaceAlignmentArray) -> None:
        self._sources[name].rate.tick()
        self._sources[name].calibration.add(message.camera_info)
        self._take(name, stamp_ns(message), message)

    def _forget_inputs(self) -> None:
        for source in self._sources.values():
            source.calibration.restart()

    def _on_set(self, frames: FrameSet[Arrival]) -> None:
        arrived_s = arrival_of(frames)
        self.times.add("arrival", time.monotonic() - arrived_s)
        messages = {
            name: frames.items[name].message for name in self._sources if name in frames.items
        }
        rig_frame = self._rig_frame(messages)
        until_s = time.monotonic() + self.settings.max_wait
        with self.times.measure("transform"):
            cameras = {
                name: camera
                for name, message in messages.items()
                if (camera := self._camera(name, message, rig_frame, until_s)) is not None
            }
        stamps_ns = [frames.stamps_ns[name] for name in cameras]
        if not self._is_usable(list(cameras.values()), stamps_ns[0] if stamps_ns else 0):
            return
        alignments = [
            alignment
            for name, camera in cameras.items()
            for message in messages[name].alignments
            if (alignment := self._alignment(camera, message)) is not None
        ]
        with self._core_lock:
            result = self._core.update(list(cameras.values()), stamps_ns, alignments)
        self._publish(result, rig_frame, list(cameras.values()), {})
        self.times.add("latency", time.monotonic() - arrived_s)

    def _rig_frame(self, messages: dict[str, Any]) -> str:
        primary = self.settings.cameras[0]
        if primary in messages:
            self._primary_frame = messages[primary].header.frame_id
        return self.settings.rig_frame or self._primary_frame

    def _camera(self, name: str, message: Any, rig_frame: str, until_s: float) -> Camera | None:
        assert self._placer is not None
        time_ns, frame = stamp_ns(message), message.header.frame_id
        try:
            camera = self._sources[name].calibration.at(time_ns)
        except CalibrationError as error:
            self.drops.add(error.cause, name)
            self.guard.error(f"{error.cause} {name}", f"camera {name!r}: {error}")
            return None
        return self._placer.place(camera, frame, rig_frame, time_ns, until_s)

    def _alignment(self, camera: Camera, message: Any) -> ViewAlignment | None:
        assert self._model is not None
        try:
            return read_alignment(self._model, camera, message)
        except ValueError as error:
            self.drops.add("bad_alignment", camera.name)
            self.guard.error(f"alignment {camera.name}", f"camera {camera.name!r}: {error}")
            return None

    def _reports(self, summary: Report) -> list[Report]:
        self._summarise(summary)
        reports = []
        for name, source in self._sources.items():
            report = Report(f"camera {name}")
            report.note(ERROR, source.calibration.error)
            if self.active and not source.rate.total:
                topic = self.resolve_topic_name(source.topic)
                report.note(WARN, f"no alignment on {topic} yet")
            if self._placer is not None:
                report.note(WARN, self._placer.errors.get(name, ""))
            report.values |= {
                "alignments": source.rate.total,
                "alignments per second": source.rate.per_second(),
            }
            if name in self.residuals_px:
                report.values["residual px"] = self.residuals_px[name]
            report.counts("dropped:", self.dropped(name))
            reports.append(report)
        return reports


def main() -> int:
    """The program `flowface-fitter`."""
    return run_node(FitterNode, sys.argv)


if __name__ == "__main__":
    sys.exit(main())
