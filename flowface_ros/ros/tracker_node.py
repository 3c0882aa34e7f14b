"""`tracker`: images of all cameras in, heads out, in one process."""

from __future__ import annotations

import sys
import time
from typing import Any

from flowface_ros.head.model import HeadModel
from flowface_ros.ros.camera_set import CameraSet
from flowface_ros.ros.collector import Arrival
from flowface_ros.ros.device import (
    DeviceMemoryError,
    FrugalAligner,
    NetworkFactory,
    is_out_of_memory,
    make_networks,
)
from flowface_ros.ros.diagnostics import Report
from flowface_ros.ros.head_node import HeadNode
from flowface_ros.ros.overlays import OverlayOutput
from flowface_ros.ros.run import run_node
from flowface_ros.ros.settings import TrackerSettings
from flowface_ros.ros.synchronizer import FrameSet
from flowface_ros.ros.view_reader import ViewReader, arrival_of
from flowface_ros.ros.warm_up import warm_up_fit, warm_up_views
from flowface_ros.track.frames import ViewFrame
from flowface_ros.track.pipeline import Tracker


class TrackerNode(HeadNode[TrackerSettings]):
    """See docs/ros.md. networks: makes aligner and finder from the parameters."""

    settings_type = TrackerSettings

    def __init__(self, networks: NetworkFactory = make_networks, **options: Any) -> None:
        super().__init__("tracker", **options)
        self._networks = networks
        self._cameras = CameraSet(self, self.settings.cameras, self.guard)
        self._reader: ViewReader | None = None
        self._overlays: OverlayOutput | None = None
        self._device = "none"

    @property
    def device(self) -> str:
        return self._device

    def _configure(self, model: HeadModel) -> None:
        super()._configure(model)
        assert self._placer is not None
        self._reader = self._cameras.reader(self._placer, self.drops, self.times)
        self._overlays = OverlayOutput(self, model, self.settings.cameras)

    def _cleanup(self) -> None:
        super()._cleanup()
        if self._overlays is not None:
            self._overlays.destroy()
        self._overlays = self._reader = None

    def _activate(self, model: HeadModel) -> None:
        aligner, finder = self._networks(self.settings, model)
        frugal = FrugalAligner(aligner, self._on_shrink)
        frugal.warm_up()
        warm_up_fit(model, aligner.points, self.settings.tracker)
        warm_up_views(model, frugal, self.settings.tracker)
        self._core = Tracker(model, frugal, finder, self.settings.tracker)
        self._device = str(aligner.device)
        self._cameras.subscribe(self._take, self._qos)

    def _unsubscribe(self) -> None:
        self._cameras.unsubscribe()

    def _forget_inputs(self) -> None:
        self._cameras.forget()

    def _on_shrink(self, reason: str) -> None:
        self.guard.error("memory", f"out of memory, one face at a time from now on: {reason}")

    def _on_set(self, frames: FrameSet[Arrival]) -> None:
        assert self._reader is not None
        arrived_s = arrival_of(frames)
        self.times.add("arrival", time.monotonic() - arrived_s)
        settings = self.settings
        frame, views = self._reader.read(frames, settings.rig_frame, settings.max_wait)
        stamp_ns = views[0].stamp_ns if views else 0
        if not self._is_usable([view.camera for view in views], stamp_ns):
            return
        try:
            with self._core_lock:
                result = self._core.update(views)
        except Exception as error:
            if not (isinstance(error, DeviceMemoryError) or is_out_of_memory(error)):
                raise
            self.drops.add("out_of_memory")
            self._deactivate_soon(f"{self._device} is out of memory: {error}")
            return
        images = {view.camera.name: view.image for view in views}
        heads = self._publish(result, frame, [view.camera for view in views], images)
        self.times.add("latency", time.monotonic() - arrived_s)
        self._draw(views, heads)

    def _draw(self, views: list[ViewFrame], heads: Any) -> None:
        assert self._overlays is not None
        for view in views:
            self._overlays.publish(view, heads, self.settings.overlay_rate)

    def _reports(self, summary: Report) -> list[Report]:
        self._summarise(summary)
        return self._cameras.reports(self.dropped, self.residuals_px, self.active)


def main() -> int:
    """The program `flowface-tracker`."""
    return run_node(TrackerNode, sys.argv)


if __name__ == "__main__":
    sys.exit(main())
