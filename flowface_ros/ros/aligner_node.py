"""`aligner`: looks at the images of some cameras, and publishes where the faces' points are."""

from __future__ import annotations

import sys
import time
from typing import Any

from flowface_ros.bag.face_messages import stamp_ns
from flowface_ros.head.model import HeadModel
from flowface_ros.msg import FaceArray
from flowface_ros.ros.alignment_messages import alignment_array_message, alignment_points
from flowface_ros.ros.camera_set import CameraSet
from flowface_ros.ros.collector import Arrival
from flowface_ros.ros.convert import RclpyTypes
from flowface_ros.ros.counters import Rate
from flowface_ros.ros.device import (
    DeviceMemoryError,
    FrugalAligner,
    NetworkFactory,
    is_out_of_memory,
    make_networks,
)
from flowface_ros.ros.diagnostics import Report
from flowface_ros.ros.face_states import heads_of_faces
from flowface_ros.ros.guard import CALLBACKS
from flowface_ros.ros.lifecycle import SetNode
from flowface_ros.ros.run import run_node
from flowface_ros.ros.settings import AlignerSettings
from flowface_ros.ros.synchronizer import FrameSet
from flowface_ros.ros.topics import ALIGNMENTS, FOLLOWED_FACES
from flowface_ros.ros.view_reader import ViewReader, arrival_of, message_of
from flowface_ros.ros.warm_up import warm_up_views
from flowface_ros.track.frames import ViewFrame
from flowface_ros.track.view_aligner import AlignedViews, ViewAligner


class AlignerNode(SetNode[AlignerSettings]):
    """See docs/ros.md. networks: makes aligner and finder from the parameters.

    The fitter's FaceArrays say where to look in the next image and in which frame heads are.
    """

    settings_type = AlignerSettings

    def __init__(self, networks: NetworkFactory = make_networks, **options: Any) -> None:
        super().__init__("aligner", **options)
        self._networks, self._types = networks, RclpyTypes()
        self._cameras = CameraSet(self, self.settings.cameras, self.guard)
        self._reader: ViewReader | None = None
        self._core: ViewAligner | None = None
        self._outputs: dict[str, Any] = {}
        self._faces: Any = None
        self._newest_faces: Any = None
        self._faces_rate = Rate()
        self._grid, self._device = 0, "none"

    @property
    def device(self) -> str:
        return self._device

    def _configure(self, model: HeadModel) -> None:
        assert self._placer is not None
        self._reader = self._cameras.reader(self._placer, self.drops, self.times)
        for name in self.settings.cameras:
            self._outputs[name] = self.create_publisher(
                ALIGNMENTS.kind, ALIGNMENTS.of(name), ALIGNMENTS.qos
            )

    def _cleanup(self) -> None:
        for publisher in self._outputs.values():
            self.destroy_publisher(publisher)
        self._outputs.clear()
        self._reader = None

    def _activate(self, model: HeadModel) -> None:
        aligner, finder = self._networks(self.settings, model)
        frugal = FrugalAligner(aligner, self._on_shrink)
        frugal.warm_up()
        self._grid, self._device = frugal.grid.size, str(aligner.device)
        alignment_points(model, self._grid)
        config = self.settings.tracker
        warm_up_views(model, frugal, config)
        self._core, self._newest_faces = ViewAligner(model, frugal, finder, config), None
        topic = self.settings.faces_topic
        self._qos.describe(topic, "faces of the fitter")
        self._faces = self.create_subscription(
            FaceArray, topic, self.guard(self._take_faces), FOLLOWED_FACES.qos
        )
        self._cameras.subscribe(self._take, self._qos)

    def _unsubscribe(self) -> None:
        self._cameras.unsubscribe()
        if self._faces is not None:
            self.destroy_subscription(self._faces)
            self._faces = None

    def _deactivate(self) -> None:
        self._core = self._newest_faces = None

    def _forget_inputs(self) -> None:
        self._cameras.forget()
        self._newest_faces = None

    def _on_jump(self) -> None:
        assert self._core is not None
        self._core.reset()

    def _on_shrink(self, reason: str) -> None:
        self.guard.error("memory", f"out of memory, one face at a time from now on: {reason}")

    def _take_faces(self, message: FaceArray) -> None:
        self._faces_rate.tick()
        self._newest_faces = message

    def _follow(self, faces: Any) -> None:
        assert self._core is not None
        assert self._model is not None
        try:
            heads = heads_of_faces(self._model, faces.faces)
        except ValueError as error:
            self.drops.add("bad_faces", CALLBACKS)
            self.guard.error("faces", f"{self.settings.faces_topic}: {error}")
            return
        self._core.follow(stamp_ns(faces), heads)

    def _on_set(self, frames: FrameSet[Arrival]) -> None:
        assert self._reader is not None
        arrived_s = arrival_of(frames)
        self.times.add("arrival", time.monotonic() - arrived_s)
        faces = self._newest_faces
        if faces is not None and stamp_ns(faces) > frames.begin_ns:
            faces = None  # of the time before a jump
        frame = faces.header.frame_id if faces is not None else ""
        if faces is not None:
            self._follow(faces)
        _, views = self._reader.read(frames, frame, self.settings.max_wait)
        if not views:
            self.drops.add("too_few_views")
            return
        aligned = self._align(views)
        if aligned is None:
            return
        with self.times.measure("publish"):
            for view in views:
                self._publish(view, message_of(frames, view.camera.name), aligned)
        self.answered.tick()
        self.times.add("latency", time.monotonic() - arrived_s)

    def _align(self, views: list[ViewFrame]) -> AlignedViews | None:
        assert self._core is not None
        try:
            aligned = self._core.align(views)
        except Exception as error:
            if not (isinstance(error, DeviceMemoryError) or is_out_of_memory(error)):
                raise
            self.drops.add("out_of_memory")
            self._deactivate_soon(f"{self._device} is out of memory: {error}")
            return None
        for stage, milliseconds in aligned.stage_ms.items():
            self.times.add(stage, milliseconds * 1e-3)
        return aligned

    def _publish(self, view: ViewFrame, image: Any, aligned: AlignedViews) -> None:
        assert self._model is not None
        name = view.camera.name
        frame = self._cameras.inputs[name].topics.frame or image.header.frame_id
        of_view = [a for a in aligned.alignments if a.camera.name == name]
        self._outputs[name].publish(
            alignment_array_message(
                self._types, self._model, self._grid, view.camera, frame, view.stamp_ns, of_view
            )
        )

    def _reports(self, summary: Report) -> list[Report]:
        summary.counts("callbacks:", self.drops.of(CALLBACKS))
        summary.values["faces of the fitter"] = self._faces_rate.total
        return self._cameras.reports(self.dropped, {}, self.active)


def main() -> int:
    """The program `flowface-aligner`."""
    return run_node(AlignerNode, sys.argv)


if __name__ == "__main__":
    sys.exit(main())
