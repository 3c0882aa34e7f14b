"""Sets of images: complete ones at once, incomplete ones in bounded time, nothing lost unseen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowface_ros.ros.synchronizer import DROP_CAUSES, FrameSet, Synchronizer, SynchronizerConfig

MS = 1_000_000
CAMERAS = ("left", "center", "right")


def synchronizer(**options: float) -> Synchronizer[int]:
    return Synchronizer(CAMERAS, SynchronizerConfig(**options))


def stamps(sets: list[FrameSet[int]]) -> list[dict[str, int]]:
    return [frames.stamps_ns for frames in sets]


def test_a_complete_set_is_released_at_once() -> None:
    sync = synchronizer()
    assert sync.add("left", 100 * MS, 1, 0.0) == []
    assert sync.add("right", 103 * MS, 2, 0.001) == []
    (frames,) = sync.add("center", 98 * MS, 3, 0.002)
    assert frames.items == {"left": 1, "right": 2, "center": 3}
    assert frames.begin_ns == 98 * MS
    assert frames.spread_s == pytest.approx(0.005)
    assert not sync.drops


def test_stamps_beyond_the_slop_do_not_mix() -> None:
    sync = synchronizer(min_views=2)
    sync.add("left", 100 * MS, 1, 0.0)
    sync.add("right", 111 * MS, 2, 0.0)
    assert sync.expire(0.06) == []
    assert sync.drops == {("left", "incomplete"): 1, ("right", "incomplete"): 1}


def test_an_incomplete_set_waits_and_then_goes_with_enough_views() -> None:
    sync = synchronizer(min_views=2)
    sync.add("left", 0, 1, 0.0)
    sync.add("right", 0, 2, 0.0)
    assert sync.expire(0.049) == []
    assert stamps(sync.expire(0.05)) == [{"left": 0, "right": 0}]
    assert sync.add("center", 1 * MS, 3, 0.06) == []
    assert sync.drops == {("center", "late"): 1}


def test_a_silent_camera_is_not_waited_for() -> None:
    sync = synchronizer(silent_after_sets=2)
    for index in range(2):
        for camera in ("left", "right"):
            sync.add(camera, index * 100 * MS, index, index * 0.1)
        assert len(sync.expire(index * 0.1 + 0.05)) == 1, "waited for center"
    sync.add("left", 200 * MS, 2, 0.2)
    assert len(sync.add("right", 200 * MS, 2, 0.2)) == 1
    assert sync.add("center", 300 * MS, 3, 0.3) == []
    assert sync.add("left", 300 * MS, 3, 0.3) == []
    assert len(sync.add("right", 300 * MS, 3, 0.3)) == 1, "it is waited for again"


def test_duplicates_and_old_stamps_are_counted() -> None:
    sync = synchronizer()
    for stamp in (100, 100, 90):
        sync.add("left", stamp * MS, 0, 0.0)
    assert sync.drops == {("left", "duplicate"): 1, ("left", "old"): 1}


def test_open_sets_are_bounded() -> None:
    sync = synchronizer(max_open_sets=3, max_wait_s=100.0)
    for index in range(10):
        sync.add("left", index * 100 * MS, index, 0.0)
    assert sync.drops == {("left", "overflow"): 7}


def test_after_a_reset_time_may_start_again() -> None:
    sync = synchronizer()
    sync.add("left", 500 * MS, 0, 0.0)
    sync.reset()
    assert sync.drops == {("left", "reset"): 1}
    for camera in CAMERAS[:2]:
        assert sync.add(camera, 0, 0, 0.1) == []
    assert len(sync.add(CAMERAS[2], 0, 0, 0.1)) == 1


def test_min_views_beyond_the_cameras_is_refused() -> None:
    with pytest.raises(ValueError, match="min_views is 4"):
        synchronizer(min_views=4)


@pytest.mark.parametrize("name", ["slop", "max_wait"])
@pytest.mark.parametrize("seconds", [-0.005, float("nan")])
def test_a_time_that_is_none_is_refused(name: str, seconds: float) -> None:
    with pytest.raises(ValueError, match=f"{name} is {seconds} s"):
        synchronizer(**{f"{name}_s": seconds})


arrivals = st.lists(
    st.tuples(st.sampled_from(CAMERAS), st.integers(-5, 60), st.integers(0, 30)), max_size=80
)


@given(arrivals, st.integers(1, 3))
def test_every_image_ends_in_one_set_or_one_drop(
    events: list[tuple[str, int, int]], min_views: int
) -> None:
    sync = synchronizer(min_views=min_views, max_open_sets=4)
    now_s, released = 0.0, []
    for index, (camera, stamp_ms, wait_ms) in enumerate(events):
        now_s += wait_ms * 1e-3
        released += sync.add(camera, (index + stamp_ms) * MS, index, now_s)
    released += sync.expire(now_s + 1.0)
    used = [item for frames in released for item in frames.items.values()]
    assert len(used) == len(set(used))
    assert len(used) + sum(sync.drops.values()) == len(events)
    assert {cause for _, cause in sync.drops} <= set(DROP_CAUSES)
    begins = [frames.begin_ns for frames in released]
    assert begins == sorted(begins)
    assert len(begins) == len(set(begins))
    assert all(frames.spread_s <= 0.010 and len(frames.items) >= min_views for frames in released)
