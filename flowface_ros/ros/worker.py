"""The one thread of a node that works on sets, so that callbacks stay short."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread

from flowface_ros.ros.collector import Arrival, SetCollector
from flowface_ros.ros.synchronizer import FrameSet

_IDLE_S = 0.2
"""How often the thread looks whether it should end when nothing comes."""
_JOIN_S = 30.0
"""A set never takes that long, a device's first may."""


class Worker:
    """Takes the newest set from a collector again and again.

    on_set: works on a set. on_jump: time jumped back, called before the first set after it.
    on_failure: called with an exception of either; the thread goes on.
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
        self._stop = Event()
        self._thread = Thread(target=self._run, name="worker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the set that it works on. RuntimeError when it does not end."""
        self._stop.set()
        self._thread.join(_JOIN_S)
        if self._thread.is_alive():
            raise RuntimeError(f"the worker did not end within {_JOIN_S:.0f} s")

    def _run(self) -> None:
        while not self._stop.is_set():
            self._step()

    def _step(self) -> None:
        try:
            frames, jumped = self._collector.take(_IDLE_S)
            if jumped:
                self._on_jump()
            if frames is not None:
                self._on_set(frames)
        except Exception as error:
            self._on_failure(error)
