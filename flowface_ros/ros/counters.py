"""What a node counts and times; any thread may write, any may read."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import numpy as np

_WINDOW = 300
"""Durations kept per stage: ten seconds at 30 Hz."""


class Drops:
    """Counts of what was dropped, by cause and by what (a camera, "" for a whole set)."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, cause: str, what: str = "", count: int = 1) -> None:
        """Count one more."""
        with self._lock:
            self._counts[what, cause] += count

    def of(self, what: str = "") -> dict[str, int]:
        """Counts by cause."""
        with self._lock:
            return {cause: n for (w, cause), n in sorted(self._counts.items()) if w == what}


class StageTimes:
    """Durations of the stages of the latest sets."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._durations: dict[str, deque[float]] = {}

    def add(self, stage: str, seconds: float) -> None:
        """One more duration."""
        with self._lock:
            self._durations.setdefault(stage, deque(maxlen=_WINDOW)).append(seconds)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Time what is done inside; nothing is recorded when it raises."""
        start = time.monotonic()
        yield
        self.add(stage, time.monotonic() - start)

    def percentiles_ms(self) -> dict[str, tuple[float, float]]:
        """Median and 95th percentile of each stage, milliseconds."""
        with self._lock:
            stages = {stage: list(values) for stage, values in self._durations.items()}
        return {
            stage: (1e3 * float(np.median(values)), 1e3 * float(np.percentile(values, 95)))
            for stage, values in stages.items()
        }


class Rate:
    """How many events there were, and how many a second of late."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.total = 0
        self._times: deque[float] = deque(maxlen=_WINDOW)

    def tick(self) -> None:
        """One more event, now."""
        with self._lock:
            self.total += 1
            self._times.append(time.monotonic())

    def per_second(self, window_s: float = 5.0) -> float:
        """Events a second over the last `window_s` seconds."""
        with self._lock:
            begin = time.monotonic() - window_s
            recent = [t for t in self._times if t >= begin]
        if len(recent) < 2:
            return len(recent) / window_s
        return (len(recent) - 1) / max(recent[-1] - recent[0], 1e-9)

    def age_s(self) -> float | None:
        """Seconds since the last event, None when there was none."""
        with self._lock:
            return time.monotonic() - self._times[-1] if self._times else None


class Throttle:
    """Lets a line pass once per period, so that a fault at 30 Hz is one line in the log."""

    def __init__(self, period_s: float = 10.0, capacity: int = 200) -> None:
        self._period_s, self._capacity = period_s, capacity
        self._lock = Lock()
        self._last: dict[str, float] = {}

    def passes(self, key: str) -> bool:
        """Whether nothing passed under this key within the period; if so, it passes now."""
        now = time.monotonic()
        with self._lock:
            last = self._last.pop(key, None)
            passes = last is None or now - last >= self._period_s
            self._last[key] = now if passes or last is None else last
            while len(self._last) > self._capacity:
                del self._last[next(iter(self._last))]
        return passes
