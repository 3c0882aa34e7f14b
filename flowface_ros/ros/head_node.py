"""What `tracker` and `fitter` share: they know heads and publish them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from std_srvs.srv import SetBool, Trigger

from flowface_ros.camera.camera import Camera
from flowface_ros.camera.rig import Rig
from flowface_ros.fit.frame_fit import check_rig
from flowface_ros.head.model import HeadModel
from flowface_ros.ros.diagnostics import ERROR, Report
from flowface_ros.ros.face_states import is_finite
from flowface_ros.ros.guard import CALLBACKS
from flowface_ros.ros.lifecycle import SetNode
from flowface_ros.ros.markers import MarkerOutput
from flowface_ros.ros.outputs import HeadOutputs
from flowface_ros.ros.rep155 import Rep155Output
from flowface_ros.ros.settings import HeadSettings
from flowface_ros.track.frames import TrackResult
from flowface_ros.track.tracked_head import TrackedHead

H = TypeVar("H", bound=HeadSettings)


EVENTS = "events"
"""What the tracker's own counters are counted under."""


class HeadNode(SetNode[H]):
    """Publishes heads, and offers `~/reset` and `~/freeze_identity`."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        self._core: Any = None
        self._core_lock = Lock()
        self._outputs: HeadOutputs | None = None
        self._markers: MarkerOutput | None = None
        self._rep155: Rep155Output | None = None
        self._offered: list[Any] = []
        self._stamp_ns = 0
        self._heads_shown = 0
        self._rig_error = ""
        self._model_published = False
        self.residuals_px: dict[str, float] = {}

    def _configure(self, model: HeadModel) -> None:
        self._outputs = HeadOutputs(self, model)
        self._markers = MarkerOutput(self, model)
        if self.settings.publish_rep155:
            self._rep155 = Rep155Output(self, model)
        self._offered = [
            self.create_service(Trigger, "~/reset", self._serve_reset),
            self.create_service(SetBool, "~/freeze_identity", self._serve_freeze),
        ]

    def _cleanup(self) -> None:
        for service in self._offered:
            self.destroy_service(service)
        for output in (self._outputs, self._markers, self._rep155):
            if output is not None:
                output.destroy()
        self._offered, self._outputs, self._markers, self._rep155 = [], None, None, None

    def _deactivate(self) -> None:
        assert self._outputs is not None
        if self._heads_shown:
            self._outputs.publish_nobody(self._stamp_ns + 1)
        self._heads_shown, self._stamp_ns, self._core = 0, 0, None
        self._model_published = False
        self.residuals_px = {}

    def _on_jump(self) -> None:
        with self._core_lock:
            self._core.reset()
        self._stamp_ns = 0

    def _is_usable(self, cameras: Sequence[Camera], stamp_ns: int) -> bool:
        """Whether a set can be answered; counts why not."""
        if len(cameras) < max(self.settings.min_views, 1):
            self.drops.add("too_few_views")
            return False
        if stamp_ns <= self._stamp_ns:
            self.drops.add("old")
            return False
        try:
            check_rig(Rig(tuple(cameras)))
        except ValueError as error:
            self._rig_error = str(error)
            self.guard.error("rig", f"no fit: {error}")
            self.drops.add("identical_cameras")
            return False
        self._rig_error = ""
        return True

    def _publish(
        self,
        result: TrackResult,
        frame: str,
        cameras: Sequence[Camera],
        images: Mapping[str, NDArray[np.uint8]],
    ) -> tuple[TrackedHead, ...]:
        """Publish what is finite of a result; the heads published. images: those there are."""
        assert self._outputs is not None
        assert self._markers is not None
        heads = self._finite(result.heads)
        for stage, milliseconds in result.statistics.stage_ms.items():
            self.times.add(stage, milliseconds * 1e-3)
        for event, count in result.statistics.counters.items():
            self.drops.add(event, EVENTS, count)
        self.residuals_px = dict(result.statistics.view_rmse_px)
        with self.times.measure("publish"):
            if not self._model_published:
                self._outputs.publish_model(result.stamp_ns, frame)
                self._model_published = True
            self._outputs.publish(heads, result.stamp_ns, frame)
        self._stamp_ns, self._heads_shown = result.stamp_ns, len(heads)
        self.answered.tick()
        self._markers.publish(heads, result.stamp_ns, frame, self.settings.marker_rate)
        if self._rep155 is not None:
            self._rep155.publish(
                heads, {camera.name: camera for camera in cameras}, images, result.stamp_ns
            )
        return heads

    def _finite(self, heads: Sequence[TrackedHead]) -> tuple[TrackedHead, ...]:
        bad = [head.id for head in heads if not is_finite(head.state)]
        if bad:
            self.drops.add("not_finite", EVENTS, len(bad))
            self.guard.error("finite", f"heads {', '.join(bad)} are not finite: lost")
            with self._core_lock:
                self._core.forget(bad)
        return tuple(head for head in heads if head.id not in bad)

    def _serve_reset(self, request: Any, response: Any) -> Any:
        with self._core_lock:
            response.success = self._core is not None
            if self._core is not None:
                self._core.reset()
        response.message = (
            "everybody is forgotten" if response.success else "the node is not active"
        )
        return response

    def _serve_freeze(self, request: Any, response: Any) -> Any:
        with self._core_lock:
            response.success = self._core is not None
            if self._core is not None:
                self._core.freeze_identity(request.data)
        done = "shapes stay as they are" if request.data else "shapes are learned"
        response.message = done if response.success else "the node is not active"
        return response

    def _summarise(self, summary: Report) -> None:
        summary.note(ERROR, self._rig_error)
        summary.values["heads"] = self._heads_shown
        summary.counts("events:", self.drops.of(EVENTS))
        summary.counts("callbacks:", self.drops.of(CALLBACKS))
