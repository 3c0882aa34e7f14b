"""The per-view part of tracking: where to look, and what is seen there."""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.aligner import Aligner, FaceAlignment, Picture
from flowface_ros.align.crop import Crop, cut
from flowface_ros.align.detector import overlap
from flowface_ros.align.landmark_net import FaceLandmarks, crop_from_landmarks
from flowface_ros.align.observation import Observation
from flowface_ros.head.model import HeadModel
from flowface_ros.head.state import HeadState
from flowface_ros.track.config import TrackerConfig
from flowface_ros.track.crops import HeadHistory, HeadProjector, landmark_rows
from flowface_ros.track.frames import ViewAlignment, ViewFrame
from flowface_ros.track.texture_memory import TextureMemory
from flowface_ros.track.textured_skin import TexturedSkin
from flowface_ros.track.tracked_head import TrackedHead, as_sent

Array = NDArray[np.float64]

_SAME_FACE_OVERLAP = 0.3
"""Intersection over union of two faces' boxes beyond which they are one face."""
_SLOP_S = 0.01
"""Stamps of images of one set differ by no more than this."""
_SILENCE_S = 0.5
"""Heads that were not published again for so long beyond the coast time are forgotten."""


class Finder(Protocol):
    """Finds faces in whole pictures, as `FaceFinder` does."""

    def detect_faces(
        self,
        image: NDArray[np.uint8],
        max_faces: int | None = None,
        followed: Sequence[Array] = (),
    ) -> list[FaceLandmarks]: ...


@dataclass(frozen=True, eq=False)
class AlignedViews:
    """What the views of one set show; stage_ms and counters as in `TrackStatistics`."""

    alignments: list[ViewAlignment]
    stage_ms: dict[str, float] = field(default_factory=dict)
    counters: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, eq=False)
class _Look:
    """A crop to align; the head that it is of, or "", and its state then."""

    crop: Crop
    id: str = ""
    state: HeadState | None = None


@dataclass(frozen=True, eq=False)
class _Pending:
    """A face that the joint part has not spoken of yet. landmarks: (468, 2) pixels."""

    stamp_ns: int
    landmarks: Array


class ViewAligner:
    """Aligns faces in the views of some cameras; runs where these are.

    Give it back what the joint part made of its answers (`follow`): it looks for known heads where
    they are, and for others by detection. A new face is followed by its own alignments until the
    joint part has had its say.
    """

    def __init__(
        self,
        model: HeadModel,
        aligner: Aligner,
        finder: Finder,
        config: TrackerConfig | None = None,
    ) -> None:
        self._config = config or TrackerConfig()
        self._aligner, self._finder = aligner, finder
        self._projector = HeadProjector(model, aligner.crop_size, self._config.max_view_angle_deg)
        self._count, self._rows = len(aligner.points), landmark_rows(model, aligner.points)
        self._history = HeadHistory()
        self._pending: dict[str, list[_Pending]] = {}
        self._searched_ns: dict[str, int] = {}
        self._doubtful: dict[str, list[Array]] = {}
        remembers = self._config.texture_memory
        self._skin = TexturedSkin(model, aligner.points, aligner.grid) if remembers else None
        self._memories: dict[tuple[str, str], TextureMemory] = {}

    def align(self, frames: Sequence[ViewFrame]) -> AlignedViews:
        """All faces of all views; one batch of the aligner."""
        counters: Counter[str] = Counter()
        self._history.forget_before(
            min(f.stamp_ns for f in frames) - _ns(self._config.coast_time_s + _SILENCE_S)
        )
        known = {head.id for head in self._history.heads}
        self._memories = {key: kept for key, kept in self._memories.items() if key[1] in known}
        start = time.perf_counter()
        looks = [self._looks(frame, counters) for frame in frames]
        middle = time.perf_counter()
        pictures = [Picture(f.image, f.camera.name, f.stamp_ns) for f in frames]
        crops = [[look.crop for look in of_view] for of_view in looks]
        answers = self._aligner.align(pictures, crops) if any(crops) else [[] for _ in frames]
        alignments = []
        for frame, of_view, answered in zip(frames, looks, answers, strict=True):
            alignments += self._accepted(frame, of_view, answered, counters)
        stage_ms = {
            "detect": (middle - start) * 1e3,
            "align": (time.perf_counter() - middle) * 1e3,
        }
        return AlignedViews(alignments, stage_ms, counters)

    def follow(self, stamp_ns: int, heads: Sequence[TrackedHead]) -> None:
        """Take in the heads of a set, all of them, as the joint part gave or published them."""
        self._history.take(stamp_ns, heads)
        for camera, pending in self._pending.items():
            self._pending[camera] = [p for p in pending if p.stamp_ns > stamp_ns + _ns(_SLOP_S)]

    def reset(self) -> None:
        """Forget everybody."""
        self._history.reset()
        self._pending.clear()
        self._searched_ns.clear()
        self._doubtful.clear()
        self._memories.clear()

    def _looks(self, frame: ViewFrame, counters: Counter[str]) -> list[_Look]:
        """Known heads by their projection, pending faces by their last place, then detections."""
        camera = frame.camera
        looks: list[_Look] = []
        explained: list[Array] = []
        lacking: list[Array] = []
        for head in self._history.heads:
            state = self._history.at(head.id, frame.stamp_ns)
            view = self._projector.view(camera, state)
            if view is None:
                continue
            looks.append(_Look(view.crop, head.id, state))
            (explained if camera.name in head.views else lacking).append(_box(view.landmarks))
        for pending in self._pending.get(camera.name, ()):
            looks.append(_Look(crop_from_landmarks(pending.landmarks, self._size)))
            explained.append(_box(pending.landmarks))
        if self._is_search_due(frame, bool(lacking)):
            looks += self._search(frame, explained, lacking, counters)
        return looks

    def _search(
        self,
        frame: ViewFrame,
        explained: Sequence[Array],
        lacking: Sequence[Array],
        counters: Counter[str],
    ) -> list[_Look]:
        """Looks at faces in the whole image that are none of the explained.

        explained, lacking: boxes (4,) of faces that are followed here, and of heads that should be
        seen here and are not: what is found there needs no second finding.
        """
        looks, doubtful = [], []
        expected = [*lacking, *self._doubtful.get(frame.camera.name, ())]
        for face in self._finder.detect_faces(frame.image, self._config.max_faces, explained):
            box = _box(face.points[:, :2])
            if _is_at(box, explained):
                continue
            if face.confidence < self._config.clear_detection and not _is_at(box, expected):
                counters["doubtful_detection"] += 1
                doubtful.append(box)
                continue
            counters["detections"] += 1
            looks.append(_Look(crop_from_landmarks(face.points, self._size)))
        self._doubtful[frame.camera.name] = doubtful
        return looks

    @property
    def _size(self) -> int:
        return self._aligner.crop_size

    def _is_search_due(self, frame: ViewFrame, lacking: bool) -> bool:
        """Whether to search this view now; if so it counts as searched."""
        name, config = frame.camera.name, self._config
        known = len(self._history.heads)
        pending = len(self._pending.get(name, ()))
        if not known and not pending:
            # Spread what follows over time: not all views at once.
            spread = zlib.crc32(name.encode()) / 2**32
            self._searched_ns[name] = frame.stamp_ns - int(
                spread * _ns(config.detection_interval_s)
            )
            return True
        if known + pending >= config.max_faces and not lacking:
            return False
        interval = config.search_interval_s if lacking else config.detection_interval_s
        last = self._searched_ns.get(name)
        if last is not None and 0 <= frame.stamp_ns - last < _ns(interval):
            return False
        self._searched_ns[name] = frame.stamp_ns
        return True

    def _accepted(
        self,
        frame: ViewFrame,
        looks: Sequence[_Look],
        answers: Sequence[FaceAlignment],
        counters: Counter[str],
    ) -> list[ViewAlignment]:
        """The answers that show a face; those of no known head become pending."""
        accepted, pending = [], []
        for look, answer in zip(looks, answers, strict=True):
            presence = 1.0 if answer.presence is None else float(np.float32(answer.presence))
            if not presence >= self._config.min_presence:
                counters["low_presence"] += 1
                continue
            observation = _as_sent(self._steadied(frame, look, answer))
            accepted.append(
                ViewAlignment(frame.camera, observation, look.id, presence, _roi(look.crop))
            )
            # Which points are the landmarks is not known of an answer that lacks some.
            if not look.id and len(observation) == self._count:
                pending.append(_Pending(frame.stamp_ns, observation.pixels[self._rows]))
        self._pending[frame.camera.name] = pending
        return accepted

    def _steadied(self, frame: ViewFrame, look: _Look, answer: FaceAlignment) -> Observation:
        """A known head's observation in step with earlier pictures of it."""
        observation, picture = answer.observation, answer.pixels
        if self._skin is None or look.state is None:
            return observation
        memory = self._memories.setdefault((frame.camera.name, look.id), TextureMemory(self._skin))
        if picture is None:
            (picture,) = cut(frame.image, [look.crop])
        alone = set(self._history.views(look.id)) <= {frame.camera.name}
        return memory.steadied(picture, look.crop, frame.camera, look.state, observation, alone)


def _as_sent(observation: Observation) -> Observation:
    """As an alignment message has it, so that it is the same for a joint part elsewhere."""
    return replace(
        observation, pixels=as_sent(observation.pixels), sigma=as_sent(observation.sigma)
    )


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


def _is_at(box: Array, others: Sequence[Array]) -> bool:
    """Whether a face's box (4,) is where one of others is."""
    return len(others) > 0 and float(overlap(box, np.array(others)).max()) > _SAME_FACE_OVERLAP


def _box(points: Array) -> Array:
    """x_min, y_min, x_max, y_max (4,) of points (N, 2)."""
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def _roi(crop: Crop) -> tuple[float, float, float, float]:
    """x, y, width, height of the box around a crop, picture pixels."""
    last = crop.size - 0.5
    box = _box(crop.to_image([[-0.5, -0.5], [last, -0.5], [-0.5, last], [last, last]]))
    x, y, right, bottom = (float(v) for v in box)
    return x, y, right - x, bottom - y
