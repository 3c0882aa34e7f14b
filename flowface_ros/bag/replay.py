"""A recording through the tracker, as fast as it goes: images in, heads out, equal in every run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from flowface_ros.bag.calibration import Calibration, CalibrationError, checked_size
from flowface_ros.bag.camera_topics import CameraSource
from flowface_ros.bag.evaluation_input import Transforms, read_transforms
from flowface_ros.bag.face_messages import (
    RosbagsTypes,
    face_array_message,
    face_mesh_message,
    head_model_message,
    stamp_ns,
    tf_message,
)
from flowface_ros.bag.images import decode_any_image
from flowface_ros.bag.message_types import message_types
from flowface_ros.bag.reader import BagReader
from flowface_ros.bag.writer import BagWriter
from flowface_ros.head.model import HeadModel
from flowface_ros.track.frames import TrackResult, ViewFrame
from flowface_ros.track.head_frames import head_frames
from flowface_ros.track.pipeline import Tracker
from flowface_ros.track.tracked_head import Status

NAMESPACE = "/tracker"
_NS = 1_000_000_000

Progress = Callable[[Iterable[Any], int], Iterable[Any]]
"""Wraps an iteration, given its length."""


class ImageSet(Protocol):
    """Images of one moment, by camera: their stamps and messages."""

    @property
    def stamps_ns(self) -> Mapping[str, int]: ...

    @property
    def items(self) -> Mapping[str, Any]: ...


class ImageSets(Protocol):
    """Groups images into sets, as the nodes' synchronizer does; the clock is the recording's."""

    drops: Counter[tuple[str, str]]

    def add(self, camera: str, stamp_ns: int, item: Any, now_s: float) -> Sequence[ImageSet]: ...

    def expire(self, now_s: float) -> Sequence[ImageSet]: ...


@dataclass
class ReplaySummary:
    """sets: results written. heads, tracked: over all sets. ids: of everybody.
    drops: images and views that were not used, by (camera, cause). reasons: why the first of each
    was not, where more is known than the cause. counters: of the tracker. stage_ms: of each set,
    milliseconds."""

    sets: int = 0
    heads: int = 0
    tracked: int = 0
    ids: set[str] = field(default_factory=set)
    drops: Counter[tuple[str, str]] = field(default_factory=Counter)
    reasons: dict[tuple[str, str], str] = field(default_factory=dict)
    counters: Counter[str] = field(default_factory=Counter)
    stage_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, result: TrackResult) -> None:
        """Take in a result."""
        self.sets += 1
        self.heads += len(result.heads)
        self.tracked += sum(head.status is Status.TRACKED for head in result.heads)
        self.ids |= {head.id for head in result.heads}
        self.counters += result.statistics.counters
        for stage, ms in result.statistics.stage_ms.items():
            self.stage_ms[stage].append(ms)


class Replay:
    """A bag's images through a tracker into another bag.

    transforms: filled from the bag. sets: groups the images. rig_frame: frame of the results; ""
        takes the optical frame of the first camera, as the nodes do.
    """

    def __init__(
        self,
        bag: BagReader,
        cameras: Sequence[CameraSource],
        model: HeadModel,
        tracker: Tracker,
        transforms: Transforms,
        sets: ImageSets,
        rig_frame: str = "",
    ) -> None:
        self._bag, self._cameras, self._model, self._tracker = bag, cameras, model, tracker
        self._transforms, self._sets = transforms, sets
        read_transforms(bag, transforms)
        self._calibrations = {c.name: Calibration(c.name, kept=None) for c in cameras}
        names = {camera.info_topic: camera.name for camera in cameras}
        for topic, _, message in bag.messages(list(names)):
            self._calibrations[names[topic]].add(message)
        self._rig_frame = rig_frame or _first_frame(bag, cameras[0].image_topic)
        self._types = RosbagsTypes(message_types().types)
        self.summary = ReplaySummary()

    def run(self, out: BagWriter, progress: Progress | None = None) -> ReplaySummary:
        """Write a FaceArray for every set, the meshes, transforms, and the head model once.

        Raises ValueError that says why when no image can be used.
        """
        names = {camera.image_topic: camera.name for camera in self._cameras}
        total = sum(self._bag.topics[topic].count for topic in names)
        messages: Iterable[Any] = self._bag.messages(list(names))
        now_s = 0.0
        for topic, time_ns, message in progress(messages, total) if progress else messages:
            now_s = (time_ns - self._bag.start_ns) / _NS
            for images in self._sets.add(names[topic], stamp_ns(message), message, now_s):
                self._track(images, out)
        for images in self._sets.expire(np.inf):
            self._track(images, out)
        self.summary.drops += self._sets.drops
        if not self.summary.sets:
            raise ValueError(f"{self._bag.path}: no image could be used: {self._why_not()}")
        return self.summary

    def _track(self, images: ImageSet, out: BagWriter) -> None:
        order = [camera.name for camera in self._cameras if camera.name in images.items]
        views = [view for name in order if (view := self._view(name, images)) is not None]
        if not views:
            return
        result = self._tracker.update(views)
        if not self.summary.sets:
            model = head_model_message(self._types, self._model, result.stamp_ns, self._rig_frame)
            out.write(f"{NAMESPACE}/head_model", model, result.stamp_ns, latched=True)
        self.summary.add(result)
        self._write(result, out)

    def _view(self, name: str, images: ImageSet) -> ViewFrame | None:
        """None, and counted, for an image that cannot be used."""
        message, stamp = images.items[name], images.stamps_ns[name]
        cause = "bad_image"
        try:
            camera = self._calibrations[name].at(stamp)
            image = decode_any_image(message)
            checked_size(camera, image)
            cause = "no_transform"
            pose = self._transforms.lookup(self._rig_frame, message.header.frame_id, stamp)
            return ViewFrame(camera.moved(pose), image, stamp)
        except ValueError as error:
            cause = error.cause if isinstance(error, CalibrationError) else cause
            self.summary.drops[name, cause] += 1
            self.summary.reasons.setdefault((name, cause), str(error))
        return None

    def _why_not(self) -> str:
        summary = self.summary
        return "; ".join(
            f"{camera}: {summary.reasons.get((camera, cause), cause)}"
            for camera, cause in sorted(summary.drops)
        )

    def _write(self, result: TrackResult, out: BagWriter) -> None:
        stamp, heads = result.stamp_ns, result.heads
        faces = face_array_message(self._types, self._model, heads, stamp, self._rig_frame)
        out.write(f"{NAMESPACE}/faces", faces, stamp)
        if not heads:
            return
        poses = head_frames(self._model, heads, self._rig_frame, stamp)
        out.write("/tf", tf_message(self._types, poses), stamp)
        for head in heads:
            mesh = face_mesh_message(self._types, self._model, head, stamp)
            out.write(f"{NAMESPACE}/meshes", mesh, stamp)


def _first_frame(bag: BagReader, topic: str) -> str:
    """Frame of a topic's first message. ValueError when there is none."""
    for _, _, message in bag.messages([topic]):
        return str(message.header.frame_id)
    raise ValueError(f"{bag.path}: {topic} has no messages")
