"""The viewer's library, which is optional."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

APPLICATION = "flowface"
_STEP_S = 0.2
"""Between two looks at whether to go on waiting; a Ctrl-C gets through between them."""


def load_sdk() -> Any:
    """The module rerun. Raises ValueError that says how to install it."""
    try:
        return import_module("rerun")
    except ModuleNotFoundError as error:
        raise ValueError(
            f"`flowface view` needs the package rerun-sdk ({error}): "
            'pip install "flowface-ros[view]"'
        ) from None


def new_recording() -> Any:
    """A recording stream without the timelines that the library would add on its own."""
    rerun = load_sdk()
    recording = rerun.RecordingStream(APPLICATION)
    rerun.set_log_time_enabled(False, recording)
    rerun.set_log_tick_enabled(False, recording)
    return recording


def send(recording: Any, going: Callable[[], bool] = lambda: True) -> None:
    """Wait until the viewer's server has taken what was logged, as long as `going` says so.

    The library would keep hundreds of megabytes for a server whose browser is slow, and then block
    without an end.
    """
    while going() and not _sent(recording):
        pass


def _sent(recording: Any) -> bool:
    try:
        recording.flush(timeout_sec=_STEP_S)
    except Exception as error:  # of a class that the library does not name
        if "timed out" in str(error):
            return False
        raise OSError(f"the viewer's server is gone: {error}") from error
    return True
