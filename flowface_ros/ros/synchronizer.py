"""Groups the images of several cameras into sets taken at the same moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")

_NS = 1_000_000_000

DROP_CAUSES = ("duplicate", "old", "late", "incomplete", "overflow", "reset")
"""Why an image is in no set. duplicate, old: its camera's stamp did not advance. late: its set was
released without it. incomplete: too few views came within `max_wait_s`. overflow: too many open
sets. reset: the clock jumped or the node stopped."""


@dataclass(frozen=True)
class SynchronizerConfig:
    """When images belong together, and how long to wait for the missing ones.

    slop_s: largest difference of stamps within a set, seconds.
    max_wait_s: a set is released this long after its first image came, if it has `min_views`.
    min_views: fewest views of a set.
    silent_after_sets: a camera missing in so many sets in a row is not waited for.
    max_open_sets: bound on memory.
    """

    slop_s: float = 0.010
    max_wait_s: float = 0.050
    min_views: int = 1
    silent_after_sets: int = 5
    max_open_sets: int = 8


@dataclass
class FrameSet(Generic[Item]):
    """Images of one moment, at most one of each camera.

    opened_s: the clock's time when the first one came.
    """

    opened_s: float
    stamps_ns: dict[str, int] = field(default_factory=dict)
    items: dict[str, Item] = field(default_factory=dict)

    @property
    def begin_ns(self) -> int:
        """Earliest stamp."""
        return min(self.stamps_ns.values())

    @property
    def spread_s(self) -> float:
        """Latest minus earliest stamp, seconds."""
        return (max(self.stamps_ns.values()) - self.begin_ns) / _NS

    def fits(self, stamp_ns: int, slop_ns: int) -> bool:
        """Whether an image with that stamp is within the slop of all images here."""
        return all(abs(stamp_ns - other) <= slop_ns for other in self.stamps_ns.values())


class Synchronizer(Generic[Item]):
    """Every image that is added ends in exactly one released set or one counted drop.

    Sets are released in the order of their stamps. The clock is whatever the caller passes as
    `now_s`; it serves waiting alone.
    """

    def __init__(self, cameras: Sequence[str], config: SynchronizerConfig) -> None:
        _check(config, cameras)
        self._cameras = tuple(cameras)
        self._config = config
        self._slop_ns = int(config.slop_s * _NS)
        self._open: list[FrameSet[Item]] = []
        self._released: FrameSet[Item] | None = None
        self._newest_ns: dict[str, int] = {}
        self._missed_sets: Counter[str] = Counter()
        self.drops: Counter[tuple[str, str]] = Counter()
        """Images dropped by (camera, cause)."""

    def add(self, camera: str, stamp_ns: int, item: Item, now_s: float) -> list[FrameSet[Item]]:
        """Take an image; returns the sets that are ready now, oldest first."""
        self._missed_sets[camera] = 0
        cause = self._refusal(camera, stamp_ns)
        if cause is not None:
            self.drops[camera, cause] += 1
            return self.expire(now_s)
        self._newest_ns[camera] = stamp_ns
        frames = self._set_for(camera, stamp_ns, now_s)
        frames.stamps_ns[camera] = stamp_ns
        frames.items[camera] = item
        return self.expire(now_s)

    def expire(self, now_s: float) -> list[FrameSet[Item]]:
        """The sets that are complete or waited long enough; call it regularly."""
        self._open.sort(key=lambda frames: frames.begin_ns)
        ready = [i for i, frames in enumerate(self._open) if self._is_ready(frames, now_s)]
        # What is older than a ready set gets no more images: they would have come before.
        due = ready[-1] + 1 if ready else 0
        overflow = max(0, len(self._open) - due - self._config.max_open_sets)
        closed, self._open = self._open[:due], self._open[due:]
        released = [frames for frames in closed if self._is_released(frames)]
        for frames in self._open[:overflow]:
            self._drop(frames, "overflow")
        self._open = self._open[overflow:]
        return released

    def configure(self, config: SynchronizerConfig) -> None:
        """Go on with another configuration. ValueError as for a new synchronizer."""
        _check(config, self._cameras)
        self._config, self._slop_ns = config, int(config.slop_s * _NS)

    def next_deadline_s(self) -> float | None:
        """When `expire` will release or drop the oldest open set; None when there is none."""
        if not self._open:
            return None
        return min(frames.opened_s for frames in self._open) + self._config.max_wait_s

    def reset(self) -> None:
        """Forget all images and stamps, as after a jump of time."""
        for frames in self._open:
            self._drop(frames, "reset")
        self._open = []
        self._released = None
        self._newest_ns = {}

    def _refusal(self, camera: str, stamp_ns: int) -> str | None:
        newest = self._newest_ns.get(camera)
        if newest is not None and stamp_ns <= newest:
            return "duplicate" if stamp_ns == newest else "old"
        last = self._released
        if last is None:
            return None
        belongs = camera not in last.stamps_ns and last.fits(stamp_ns, self._slop_ns)
        return "late" if belongs or stamp_ns <= last.begin_ns else None

    def _set_for(self, camera: str, stamp_ns: int, now_s: float) -> FrameSet[Item]:
        """The open set nearest in time that lacks this camera, or a new one."""
        fitting = [
            frames
            for frames in self._open
            if camera not in frames.stamps_ns and frames.fits(stamp_ns, self._slop_ns)
        ]
        if fitting:
            return min(fitting, key=lambda frames: abs(frames.begin_ns - stamp_ns))
        self._open.append(FrameSet(now_s))
        return self._open[-1]

    def _is_ready(self, frames: FrameSet[Item], now_s: float) -> bool:
        patience = self._config.silent_after_sets
        missing = set(self._cameras) - set(frames.stamps_ns)
        awaited = any(self._missed_sets[camera] < patience for camera in missing)
        return not awaited or now_s - frames.opened_s >= self._config.max_wait_s

    def _is_released(self, frames: FrameSet[Item]) -> bool:
        if len(frames.stamps_ns) < self._config.min_views:
            self._drop(frames, "incomplete")
            return False
        self._released = frames
        self._missed_sets.update(set(self._cameras) - set(frames.stamps_ns))
        return True

    def _drop(self, frames: FrameSet[Item], cause: str) -> None:
        self.drops.update((camera, cause) for camera in frames.stamps_ns)


def _check(config: SynchronizerConfig, cameras: Sequence[str]) -> None:
    if not 1 <= config.min_views <= len(cameras):
        allowed = f"1 to the number of cameras, {len(cameras)}"
        raise ValueError(f"min_views is {config.min_views}; must be {allowed}")
    for name, seconds in (("slop", config.slop_s), ("max_wait", config.max_wait_s)):
        if not seconds >= 0:
            raise ValueError(f"{name} is {seconds} s; must be at least 0")
