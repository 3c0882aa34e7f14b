"""The one thread of a node that works on sets, so that callbacks stay short."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Event, Thread

from flowface_ros.ros.collector import Arrival, SetCollector
from flowface_ros.ros.synchronizer import FrameSet

_IDLE_S = 0.2
"""How often the thread looks whether it should pause when nothing comes."""
_JOIN_S = 30.0
"""A set never takes that long, a device's first may."""


class Worker:
    """Takes the newest set from a collector again and again, while it is not paused.

    on_set: works on a set. on_jump: time jumped back, called before the first set after it.
    on_failure: called with an exception of either; the thread goes on.

    The thread stays over pauses: a new one may take another of malloc's arenas, and what the last
    one needed stays in its own.
    """

    def __init__(
        self,
        collector: SetCollector,
        on_set: Callable[[FrameSet[Arrival]], None],
        on_jump: Callable[[], None],
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._collector = collector
        self._on_set, self._on_jump, self._on_failure = on_set, on_jump, on_failure
        self._shifts: SimpleQueue[_Shift | None] = SimpleQueue()
        self._shift = _Shift()
        self._shift.ended.set()
        self._thread: Thread | None = None

    def resume(self) -> None:
        """Work until `pause`."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name="worker", daemon=True)
            self._thread.start()
        self._shift = _Shift()
        self._shifts.put(self._shift)

    def pause(self) -> None:
        """Wait for the set that it works on, and rest. RuntimeError when that does not end."""
        self._shift.over.set()
        if not self._shift.ended.wait(_JOIN_S):
            raise RuntimeError(f"the worker did not pause within {_JOIN_S:.0f} s")

    def stop(self) -> None:
        """Pause and end the thread. RuntimeError as `pause`."""
        self.pause()
        if self._thread is not None:
            self._shifts.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (shift := self._shifts.get()) is not None:
            while not shift.over.is_set():
                self._step()
            shift.ended.set()

    def _step(self) -> None:
        try:
            frames, jumped = self._collector.take(_IDLE_S)
            if jumped:
                self._on_jump()
            if frames is not None:
                self._on_set(frames)
        except Exception as error:
            self._on_failure(error)


class _Shift:
    """The time from `resume` to `pause`. over: set to end it. ended: it has."""

    def __init__(self) -> None:
        self.over, self.ended = Event(), Event()
