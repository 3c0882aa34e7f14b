"""Where a known head will be in an image, from the heads that were published for earlier sets.

Everything here follows from published heads alone, so that an aligner on another machine looks at
the same crops as one in the tracker's own process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from flowface_ros import rigid
from flowface_ros.align.aligner import head_crop
from flowface_ros.align.crop import Crop
from flowface_ros.align.embedding import SKIN_POINTS, landmark_points, open_mouth_positions
from flowface_ros.camera.camera import Camera
from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.model import HeadModel
from flowface_ros.head.state import HeadState, compose_rotvecs
from flowface_ros.head.surface import SurfacePoints
from flowface_ros.track.tracked_head import TrackedHead, as_sent

Array = NDArray[np.float64]

_FARTHEST_S = 0.2
"""A head's velocity between two sets tells where it is for so long."""
_LEAST_IN_IMAGE = 0.3
"""Share of the landmarks that must be in the image for a crop to be worth a look."""


class HeadHistory:
    """The last two published states of every head, and from them the next."""

    def __init__(self) -> None:
        self._stamp_ns = 0
        self._last: dict[str, TrackedHead] = {}
        self._before: dict[str, tuple[int, HeadState]] = {}

    @property
    def heads(self) -> Sequence[TrackedHead]:
        """Those of the last set."""
        return tuple(self._last.values())

    def take(self, stamp_ns: int, heads: Sequence[TrackedHead]) -> None:
        """All heads of a set. One that is not newer than the last is ignored."""
        if self._last and stamp_ns <= self._stamp_ns:
            return
        before = {head.id: (self._stamp_ns, head.state) for head in self._last.values()}
        self._last = {head.id: _rounded(head) for head in heads}
        self._before = {id: before[id] for id in self._last if id in before}
        self._stamp_ns = stamp_ns

    def at(self, id: str, stamp_ns: int) -> HeadState:
        """The state of a head at a time, by its last velocity."""
        state = self._last[id].state
        if id not in self._before:
            return state
        before_ns, before = self._before[id]
        step, since = self._stamp_ns - before_ns, stamp_ns - self._stamp_ns
        if step > _FARTHEST_S * 1e9:
            return state
        ahead = np.clip(since, 0, _FARTHEST_S * 1e9) / step
        turn = compose_rotvecs(np.asarray(state.rotation), -np.asarray(before.rotation))
        return replace(
            state,
            translation=state.translation + ahead * (state.translation - before.translation),
            rotation=compose_rotvecs(ahead * turn, np.asarray(state.rotation)),
        )

    def views(self, id: str) -> tuple[str, ...]:
        """Cameras that saw a head in the last set."""
        return self._last[id].views

    def forget_before(self, stamp_ns: int) -> None:
        """Drop heads that nobody has published since."""
        if self._stamp_ns < stamp_ns:
            self._last, self._before = {}, {}

    def reset(self) -> None:
        self._stamp_ns, self._last, self._before = 0, {}, {}


@dataclass(frozen=True, eq=False)
class HeadView:
    """A head as a camera would see it. crop: around the face. landmarks: (478, 2) pixels."""

    crop: Crop
    landmarks: Array


def _rounded(head: TrackedHead) -> TrackedHead:
    """The last digits of a pose are lost on the way to another machine, and would grow from set to
    set: crops by a hair apart give landmarks by another."""
    state = head.state
    pose = {name: as_sent(getattr(state, name)) for name in ("translation", "rotation")}
    return replace(head, state=replace(state, **pose))


class HeadProjector:
    """Crops of heads whose state is known."""

    def __init__(self, model: HeadModel, crop_size: int, max_view_angle_deg: float) -> None:
        self._landmarks = SurfaceEvaluator(model, landmark_points(model))
        self._size = crop_size
        self._least_cosine = float(np.cos(np.radians(max_view_angle_deg)))

    def view(self, camera: Camera, state: HeadState) -> HeadView | None:
        """None when the camera cannot see the face: behind it, out of the image, or turned away."""
        points = self._landmarks.positions(state)
        skull = rigid.rotation_from_rotvec(state.rotation) @ rigid.rotation_from_rotvec(state.neck)
        to_camera = camera.rig_from_camera[:3, 3] - points.mean(axis=0)
        if skull[:, 2] @ to_camera < self._least_cosine * np.linalg.norm(to_camera):
            return None
        pixels, seen = camera.project(rigid.apply(camera.camera_from_rig, points))
        if not seen.all() or camera.contains(pixels).mean() < _LEAST_IN_IMAGE:
            return None
        pose = rigid.transform(skull, points.mean(axis=0))
        crop = head_crop(camera, pose, points, self._size)
        return None if crop is None else HeadView(crop, pixels)


def landmark_rows(model: HeadModel, points: SurfacePoints) -> NDArray[np.intp]:
    """Rows (468,) of an aligner's points nearest to the landmarks on the skin."""
    landmarks = landmark_points(model)[:SKIN_POINTS]
    tree = cKDTree(open_mouth_positions(model, points))
    return np.asarray(tree.query(open_mouth_positions(model, landmarks))[1], np.intp)
