"""The viewer's library, which is optional."""

from __future__ import annotations

from importlib import import_module
from typing import Any

APPLICATION = "flowface"


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
