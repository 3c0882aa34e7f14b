"""Messages of cameras and of a tracker, as they come, to what a viewer shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowface_ros.bag.face_messages import FaceRecord, read_face, read_mesh, stamp_ns
from flowface_ros.rigid import apply, inverse
from flowface_ros.view.camera_view import CameraView
from flowface_ros.view.eye import Eye, eye_behind
from flowface_ros.view.head_view import HeadViews
from flowface_ros.view.plots import HeadPlots
from flowface_ros.view.sdk import load_sdk
from flowface_ros.view.time_line import JUMP_NS, TimeLine
from flowface_ros.view.topics import ViewTopics

Array = NDArray[np.float64]
Lookup = Callable[[str, str, int], Array]
"""target_from_source (4, 4) of a target frame, a source frame and a stamp (ns); ValueError when it
is not known."""

TIME = "time"
"""The time line of the view: seconds since the first message."""
_SET_NS = 30_000_000
"""Images this near to a result's stamp are of its set."""
_ON_TIME = 0.9
"""Share of a period after which the next moment is due; stamps are not quite regular."""
_PATIENCE_NS = 200_000_000
"""How long after its face a gaze frame may come."""
_NS = 1_000_000_000
_UP_OF = {"FLU": (0.0, 0.0, 1.0), "RDF": (0.0, -1.0, 0.0)}


@dataclass(frozen=True)
class SceneOptions:
    """frame: the 3D view's; "" takes that of the faces. rate_hz: most pictures and meshes a
    second, 0 for all; curves always have every result. max_width: of images, pixels."""

    frame: str = ""
    rate_hz: float = 0.0
    max_width: int = 1280


class Scene:
    """Logs to a recording stream.

    An image is shown with the result of its stamp, so that what is drawn on it fits; while there
    are no results, images are shown as they come. Messages that cannot be used are counted by
    their topic in `unusable`.
    """

    def __init__(
        self, recording: Any, lookup: Lookup, options: SceneOptions = SceneOptions()
    ) -> None:
        self._recording, self._find, self._options = recording, lookup, options
        self._rerun = load_sdk()
        self._cameras: dict[str, CameraView] = {}
        self._heads, self._plots = HeadViews(recording), HeadPlots(recording)
        self._handlers: dict[str, Callable[[Any], None]] = {}
        self._time = TimeLine()
        self._pace = _Pace(options.rate_hz)
        self._camera_paces: dict[str, _Pace] = {}
        self._frame, self._axes = options.frame, ""
        self._tracked = False
        self._faces: dict[str, FaceRecord] = {}
        self._faces_ns: int | None = None
        self._drawn_ns: int | None = None
        self._early: dict[str, Any] = {}
        self._gazes_due: list[tuple[str, int]] = []
        self.unusable: Counter[str] = Counter()
        self.reasons: dict[str, str] = {}
        """The latest reason why a topic's message was not used."""

    def use_topics(self, topics: ViewTopics) -> None:
        """Say what the topics of messages to come are."""

        def of_camera(take: Callable[[str, Any], None], name: str) -> Callable[[Any], None]:
            return lambda message: take(name, message)

        for name in topics.cameras:
            if name not in self._cameras:
                view = CameraView(self._recording, name, self._options.max_width)
                self._cameras[name] = view
                self._camera_paces[name] = _Pace(self._options.rate_hz)
        self._tracked = bool(topics.faces)
        self._handlers = {
            **{topic: of_camera(self._take_image, name) for topic, name in topics.images.items()},
            **{topic: of_camera(self._take_info, name) for topic, name in topics.infos.items()},
        }
        for topic, take in (
            (topics.faces, self._take_faces),
            (topics.meshes, self._take_mesh),
            (topics.head_model, self._heads.take_model),
        ):
            if topic:
                self._handlers[topic] = take

    def take(self, topic: str, message: Any) -> None:
        """Log what a message says; those of topics that are not shown are left out."""
        try:
            self._handlers.get(topic, _ignore)(message)
        except ValueError as error:
            self._refuse(topic, error)

    @property
    def cameras(self) -> list[str]:
        """Names of the cameras so far."""
        return list(self._cameras)

    @property
    def eye(self) -> Eye | None:
        """From where heads and cameras are seen well; None while either is not placed."""
        cameras = [c.position for c in self._cameras.values() if c.position is not None]
        heads = [face.rig_from_face[:3, 3] for face in self._faces.values()]
        if not cameras or not heads:
            return None
        return eye_behind(cameras, heads, _UP_OF[self._axes])

    def _take_info(self, name: str, message: Any) -> None:
        self._cameras[name].take_info(message)

    def _take_image(self, name: str, message: Any) -> None:
        stamp, camera = stamp_ns(message), self._cameras[name]
        if self._time.is_late(stamp):
            return
        camera.hold(stamp, message)
        tracked = self._faces_ns is not None and abs(stamp - self._faces_ns) < JUMP_NS
        if not tracked and self._camera_paces[name].is_due(stamp):
            self._set_time(stamp)
            self._show_camera(camera, stamp, 0)

    def _take_faces(self, message: Any) -> None:
        stamp, source = stamp_ns(message), message.header.frame_id
        if self._time.is_late(stamp):
            return
        if self._faces_ns is not None and stamp < self._faces_ns - JUMP_NS:
            self._gazes_due.clear()
        self._frame = self._frame or source
        self._set_time(stamp)
        self._faces_ns = stamp
        to_view = self._lookup(source, stamp)
        if to_view is None:
            raise ValueError(f"no transform from {source!r} to {self._frame!r}")
        before, self._faces = self._faces, {}
        for face in message.faces:
            self._show_face(read_face(face), to_view, stamp)
        for head in before.keys() - self._faces.keys():
            self._forget(head)
        self._show_gazes(stamp)
        if self._pace.is_due(stamp):
            self._drawn_ns = stamp
            self._set_time(stamp)
            for camera in self._cameras.values():
                self._show_camera(camera, stamp, _SET_NS)
        early, self._early = self._early, {}
        for mesh in early.values():
            if 0 <= stamp_ns(mesh) - stamp < JUMP_NS:
                self._take_mesh(mesh)

    def _show_face(self, face: FaceRecord, to_view: Array, stamp: int) -> None:
        face = replace(face, rig_from_face=to_view @ face.rig_from_face)
        self._faces[face.id] = face
        self._heads.show_frame(face)
        self._plots.show(face, self._heads.blendshape_names)
        self._gazes_due.append((f"gaze_{face.id}", stamp))

    def _take_mesh(self, message: Any) -> None:
        stamp = stamp_ns(message)
        if self._faces_ns is None or stamp > self._faces_ns:
            self._early[message.id] = message
            return
        face, wireframe = self._faces.get(message.id), self._heads.wireframe
        known = message.model_hash == self._heads.model_hash
        if stamp != self._drawn_ns or face is None or wireframe is None or not known:
            return
        vertices = read_mesh(message).astype(np.float64)
        if message.header.frame_id != f"face_{message.id}":
            to_view = self._find(self._frame, message.header.frame_id, stamp)
            vertices = apply(inverse(face.rig_from_face) @ to_view, vertices)
        self._set_time(stamp)
        self._heads.show_mesh(face, vertices.astype(np.float32))
        for camera in self._cameras.values():
            camera.draw(face.id, apply(face.rig_from_face, vertices), wireframe)

    def _show_gazes(self, now_ns: int) -> None:
        """Gaze frames are in TF alone, and may come after the face that they belong to."""
        due, self._gazes_due = self._gazes_due, []
        for frame, stamp in due:
            pose = self._lookup(frame, stamp)
            if pose is not None:
                self._set_time(stamp)
                self._heads.show_gaze(frame, pose)
            elif 0 <= now_ns - stamp < _PATIENCE_NS:
                self._gazes_due.append((frame, stamp))

    def _show_camera(self, camera: CameraView, stamp: int, tolerance_ns: int) -> None:
        camera.place(self._lookup(camera.frame, stamp) if camera.frame else None)
        try:
            camera.show_nearest(stamp, tolerance_ns)
        except ValueError as error:
            self._refuse(f"images of {camera.name}", error)

    def _forget(self, head: str) -> None:
        self._heads.forget(head)
        self._plots.forget(head)
        for camera in self._cameras.values():
            camera.forget(head)

    def _lookup(self, source: str, stamp: int) -> Array | None:
        """view_from_source, None when it is not known."""
        frames = [camera.frame for camera in self._cameras.values() if camera.frame]
        if not self._frame and self._tracked:
            return None  # the first faces will say which frame it is
        target = self._frame or next(iter(frames), source)
        self._orient(optical=target in frames)
        try:
            return self._find(target, source, stamp)
        except ValueError:
            return None

    def _orient(self, optical: bool) -> None:
        """Say which way is up: as in REP-103, for optical frames and for others."""
        axes = "RDF" if optical else "FLU"
        if axes != self._axes:
            self._axes = axes
            self._recording.log("rig", getattr(self._rerun.ViewCoordinates, axes), static=True)

    def _set_time(self, stamp: int) -> None:
        time = np.timedelta64(self._time.at(stamp), "ns")
        self._recording.set_time(TIME, duration=time)

    def _refuse(self, what: str, error: ValueError) -> None:
        self.unusable[what] += 1
        self.reasons[what] = str(error)


def _ignore(message: Any) -> None:
    """A subscription that was left may still have brought a message."""


class _Pace:
    """Picks moments by their stamps."""

    def __init__(self, rate_hz: float) -> None:
        self._period_ns = _ON_TIME * _NS / rate_hz if rate_hz > 0 else 0.0
        self._last_ns: int | None = None

    def is_due(self, stamp_ns: int) -> bool:
        last = self._last_ns
        due = last is None or stamp_ns < last or stamp_ns - last >= self._period_ns
        if due:
            self._last_ns = stamp_ns
        return due
