"""Hands the newest set of messages from the callbacks to the one thread that works on it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Condition
from typing import Any

from flowface_ros.ros.synchronizer import FrameSet, Synchronizer, SynchronizerConfig

JUMP_S = 0.5
"""A camera's stamp that goes back by more than this is a jump of time and no late image."""
_LEFTOVERS_S = 0.5
"""How long after a jump messages from before it may still arrive."""
_NS = 1_000_000_000


@dataclass(frozen=True)
class Arrival:
    """A message and the time (monotonic clock, seconds) when it came."""

    message: Any
    arrived_s: float


class SetCollector:
    """Synchronizes messages of several cameras; the newest released set wins.

    Callbacks call `add`, the worker `take`. Every message that was added ends in one set that
    `take` returned or in a counted drop; every released set too, counted under "".
    """

    def __init__(self, cameras: Sequence[str], config: SynchronizerConfig) -> None:
        self._condition = Condition()
        self._sync: Synchronizer[Arrival] = Synchronizer(cameras, config)
        self._newest: FrameSet[Arrival] | None = None
        self._stamps_ns: dict[str, int] = {}
        self._jump_s = -float("inf")
        self._jump_to_ns = 0
        self._jumped = False
        self._drops: Counter[tuple[str, str]] = Counter()
        self.released = 0
        """Sets that the synchronizer released."""

    def configure(self, config: SynchronizerConfig) -> None:
        """Change slop, patience or the least number of views. ValueError as `Synchronizer`'s."""
        with self._condition:
            self._sync.configure(config)

    def add(self, camera: str, stamp_ns: int, message: Any) -> bool:
        """Take in a message; True when its stamp shows that time jumped back."""
        now_s = time.monotonic()
        with self._condition:
            if self._is_leftover(stamp_ns, now_s):
                self._drops[camera, "reset"] += 1
                return False
            before = self._stamps_ns.get(camera, stamp_ns)
            jumped = stamp_ns < before - JUMP_S * _NS
            if jumped:
                self._jump_to(stamp_ns, now_s)
            self._stamps_ns[camera] = max(self._stamps_ns.get(camera, stamp_ns), stamp_ns)
            self._keep(self._sync.add(camera, stamp_ns, Arrival(message, now_s), now_s))
            self._condition.notify_all()
            return jumped

    def take(self, timeout_s: float) -> tuple[FrameSet[Arrival] | None, bool]:
        """The newest set, None after the timeout; and whether time jumped since the last call."""
        end = time.monotonic() + timeout_s
        with self._condition:
            while True:
                now_s = time.monotonic()
                self._keep(self._sync.expire(now_s))
                if self._newest is not None or now_s >= end:
                    break
                due_s = self._sync.next_deadline_s()
                self._condition.wait(min(end, due_s or end) - now_s)
            frames, self._newest = self._newest, None
            jumped, self._jumped = self._jumped, False
            return frames, jumped

    def jump(self, to_ns: int) -> None:
        """Time jumped back, as another source than the stamps says."""
        with self._condition:
            self._jump_to(to_ns, time.monotonic())

    def reset(self) -> None:
        """Drop everything that waits."""
        with self._condition:
            self._forget()

    def drops(self) -> Counter[tuple[str, str]]:
        """Messages dropped so far by (camera, cause), and released sets by ("", cause)."""
        with self._condition:
            return self._drops + self._sync.drops

    def _jump_to(self, to_ns: int, now_s: float) -> None:
        self._forget()
        self._jump_s, self._jump_to_ns, self._jumped = now_s, to_ns, True

    def _is_leftover(self, stamp_ns: int, now_s: float) -> bool:
        """Whether a message is from before the last jump: it leaps ahead of those since."""
        newest_ns = max(self._stamps_ns.values(), default=self._jump_to_ns)
        return now_s - self._jump_s < _LEFTOVERS_S and stamp_ns > newest_ns + JUMP_S * _NS

    def _forget(self) -> None:
        self._replace_newest(None, "reset")
        self._sync.reset()
        self._stamps_ns.clear()

    def _keep(self, sets: list[FrameSet[Arrival]]) -> None:
        for frames in sets:
            self.released += 1
            self._replace_newest(frames, "superseded")

    def _replace_newest(self, frames: FrameSet[Arrival] | None, cause: str) -> None:
        if self._newest is not None:
            self._drops.update((camera, cause) for camera in self._newest.stamps_ns)
            self._drops["", cause] += 1
        self._newest = frames
