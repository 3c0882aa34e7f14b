"""Stamps as the time of a view, which never runs back."""

from __future__ import annotations

_NS = 1_000_000_000
JUMP_NS = _NS // 2
"""A stamp that is older than the newest by more than this is of a new time, as in a bag's loop."""
_ON_THE_WAY_NS = _NS
"""Longest way of a result."""
_GAP_NS = _NS // 10
"""Between the end of the old time and the beginning of the new one."""


class TimeLine:
    """Nanoseconds since the first stamp; goes on where it was when stamps jump back."""

    def __init__(self) -> None:
        self._start_ns: int | None = None
        self._newest_ns = 0
        self._left_ns: int | None = None

    def jumps_back(self, stamp_ns: int) -> bool:
        """Whether the stamp begins a new time."""
        return self._start_ns is not None and stamp_ns < self._newest_ns - JUMP_NS

    def is_late(self, stamp_ns: int) -> bool:
        """Whether a stamp is of the time before the last jump, as of a result on the way."""
        if self._left_ns is None or stamp_ns <= self._newest_ns + JUMP_NS:
            return False
        return abs(stamp_ns - self._left_ns) < _ON_THE_WAY_NS

    def at(self, stamp_ns: int) -> int:
        """Nanoseconds of the view for a stamp."""
        if self._start_ns is None:
            self._start_ns = self._newest_ns = stamp_ns
        elif self.jumps_back(stamp_ns):
            self._left_ns = self._newest_ns
            shown = self._newest_ns - self._start_ns
            self._start_ns = stamp_ns - shown - _GAP_NS
            self._newest_ns = stamp_ns
        self._newest_ns = max(self._newest_ns, stamp_ns)
        return stamp_ns - self._start_ns
