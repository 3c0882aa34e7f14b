"""The newest set wins, nothing is lost unseen, and a jump of time leaves nothing behind."""

from __future__ import annotations

import threading
import time

import pytest

from flowface_ros.ros.collector import SetCollector
from flowface_ros.ros.synchronizer import SynchronizerConfig

MS = 1_000_000
CAMERAS = ("left", "right")


def collector(**options: float) -> SetCollector:
    return SetCollector(CAMERAS, SynchronizerConfig(**options))


def add(sets: SetCollector, stamp_ms: int) -> bool:
    jumped = [sets.add(camera, stamp_ms * MS, stamp_ms) for camera in CAMERAS]
    return any(jumped)


def taken(sets: SetCollector) -> int | None:
    frames, _ = sets.take(0.0)
    return None if frames is None else frames.begin_ns // MS


def test_the_newest_set_wins() -> None:
    sets = collector()
    for stamp in (0, 33, 66):
        add(sets, stamp)
    assert taken(sets) == 66
    assert taken(sets) is None
    assert sets.released == 3
    assert sets.drops() == {("", "superseded"): 2, **{(c, "superseded"): 2 for c in CAMERAS}}


def test_take_waits_for_a_set_and_for_a_missing_view() -> None:
    sets = collector(max_wait_s=0.05)
    threading.Timer(0.05, lambda: sets.add("left", 0, "image")).start()
    start = time.monotonic()
    frames, _ = sets.take(60.0)
    assert frames is not None
    assert set(frames.items) == {"left"}
    assert time.monotonic() - start < 30.0, "it did not wait to the end"


def test_a_reset_counts_what_waits() -> None:
    sets = collector()
    add(sets, 0)
    sets.add("left", 33 * MS, "image")
    sets.reset()
    assert sets.drops() == {("", "reset"): 1, ("left", "reset"): 2, ("right", "reset"): 1}
    assert taken(sets) is None


def test_a_jump_is_told_once_and_its_leftovers_are_dropped() -> None:
    sets = collector()
    for stamp in range(10_000, 10_330, 33):
        assert not add(sets, stamp)
    assert sets.add("left", 0, "first of the second loop")
    assert not sets.add("right", 10_330 * MS, "last of the first loop")
    assert not sets.add("right", 0, "first of the second loop")
    frames, jumped = sets.take(0.0)
    assert jumped
    assert frames is not None
    assert frames.stamps_ns == {"left": 0, "right": 0}
    for stamp in range(33, 10_000, 33):
        assert not add(sets, stamp), "faster than time, and no leftover"
    assert sets.take(0.0)[1] is False
    assert sets.drops()["right", "reset"] == 2, "the leftover, and what waited"
    assert sets.drops()["left", "reset"] == 1


def test_a_clock_that_jumps_forgets_what_waits() -> None:
    sets = collector()
    add(sets, 5000)
    sets.jump(0)
    assert sets.take(0.0) == (None, True)
    assert not add(sets, 100)
    assert taken(sets) == 100


def test_another_configuration_is_checked() -> None:
    sets = collector()
    with pytest.raises(ValueError, match="min_views is 3"):
        sets.configure(SynchronizerConfig(min_views=3))
    sets.configure(SynchronizerConfig(slop_s=0.04))
    sets.add("left", 0, "image")
    sets.add("right", 39 * MS, "image")
    assert taken(sets) == 0
