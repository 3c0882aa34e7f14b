"""The cameras of a node that looks at images, and what diagnostics say of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rclpy.node import Node

from flowface_ros.ros.camera_input import CameraInput, OnImage
from flowface_ros.ros.counters import Drops, StageTimes
from flowface_ros.ros.diagnostics import ERROR, WARN, Report
from flowface_ros.ros.guard import Guard
from flowface_ros.ros.parameters import CameraTopics, declare
from flowface_ros.ros.qos_watch import QosWatch
from flowface_ros.ros.view_reader import CameraPlacer, ViewReader

SILENT_S = 1.0
"""A camera that sent nothing for so long has dropped out."""
_PATIENCE_S = 10.0
"""How long CameraInfo may be missing before it is logged."""


class CameraSet:
    """Declares the cameras' parameters, subscribes, and watches who is silent."""

    def __init__(self, node: Node, names: Sequence[str], guard: Guard) -> None:
        self._node, self._guard = node, guard
        self.inputs: Mapping[str, CameraInput] = {
            name: CameraInput(name, declare(node, CameraTopics, f"{name}."), guard)
            for name in names
        }
        self._reader: ViewReader | None = None
        self._placer: CameraPlacer | None = None
        self._silent: set[str] = set()
        self._lacking_reports: dict[str, int] = {}

    def reader(self, placer: CameraPlacer, drops: Drops, times: StageTimes) -> ViewReader:
        """What makes views of sets of their images."""
        self._placer = placer
        self._reader = ViewReader(self.inputs, placer, drops, times, self._guard)
        return self._reader

    def subscribe(self, on_image: OnImage, watch: QosWatch) -> None:
        """Begin to listen to all."""
        for source in self.inputs.values():
            source.subscribe(self._node, on_image, watch)

    def unsubscribe(self) -> None:
        """Stop listening."""
        for source in self.inputs.values():
            source.unsubscribe(self._node)
        self._silent.clear()

    def forget(self) -> None:
        """After a jump of time."""
        for source in self.inputs.values():
            source.calibration.restart()

    def reports(
        self,
        dropped: Callable[[str], dict[str, int]],
        residuals_px: Mapping[str, float],
        active: bool,
    ) -> list[Report]:
        """One report per camera; call it once a second."""
        return [self._report(s, dropped, residuals_px, active) for s in self.inputs.values()]

    def _report(
        self,
        source: CameraInput,
        dropped: Callable[[str], dict[str, int]],
        residuals_px: Mapping[str, float],
        active: bool,
    ) -> Report:
        report = Report(f"camera {source.name}")
        report.note(ERROR, source.calibration.error)
        # The worker fills these meanwhile: one look at each.
        for part in (self._reader, self._placer):
            if part is not None:
                report.note(WARN, part.errors.get(source.name, ""))
        if active:
            self._watch(source, report)
        values: dict[str, Any] = {
            "images": source.images.total,
            "images per second": source.images.per_second(),
            "CameraInfo": source.infos.total,
        }
        if source.name in residuals_px:
            values["residual px"] = residuals_px[source.name]
        report.values |= values
        report.counts("dropped:", dropped(source.name))
        return report

    def _watch(self, source: CameraInput, report: Report) -> None:
        name = source.name
        source.drop_unused(self._node)
        missing = source.missing(self._node)
        self._lacking_reports[name] = self._lacking_reports.get(name, 0) + 1 if missing else 0
        report.note(WARN, missing)
        if self._lacking_reports[name] >= _PATIENCE_S:
            self._guard.warn(f"missing {name}", missing)
        age_s = source.images.age_s()
        if age_s is None:
            report.note(WARN, "no image yet")
        elif age_s > SILENT_S:
            text = f"camera {name!r}: no image for {age_s:.1f} s"
            report.note(WARN, text)
            if name not in self._silent:
                self._guard.warn(f"silent {name}", f"{text}; going on with the others")
            self._silent.add(name)
        elif name in self._silent:
            self._silent.discard(name)
            self._guard.info(f"back {name}", f"camera {name!r} is back")
