"""Frames over time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowface_ros.rigid import inverse, rotation_from_rotvec, transform
from flowface_ros.ros.transform_buffer import (
    FutureTransformError,
    TransformBuffer,
    TransformError,
)

NS = 1_000_000_000
coordinate = st.floats(-2, 2)
vector = st.tuples(coordinate, coordinate, coordinate)
pose = st.builds(lambda r, t: transform(rotation_from_rotvec(r), t), vector, vector)


def turned(angle: float, x: float = 0.0) -> np.ndarray:
    return transform(rotation_from_rotvec([0, 0, angle]), [x, 0, 0])


@given(pose, pose, pose)
def test_chains_compose_in_both_directions(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
    buffer = TransformBuffer()
    buffer.set_static("rig", "base", a)
    buffer.set_static("base", "left", b)
    buffer.set_static("base", "right", c)
    assert np.allclose(buffer.lookup("rig", "left", 5), a @ b)
    assert np.allclose(buffer.lookup("left", "right", 5), inverse(b) @ c)
    assert np.allclose(buffer.lookup("left", "left", 5), np.eye(4))


@given(st.floats(0, 1), st.floats(-3, 3))
def test_a_moving_frame_is_interpolated(share: float, angle: float) -> None:
    buffer = TransformBuffer()
    buffer.add("world", "rig", turned(0.0, 0.0), 0)
    buffer.add("world", "rig", turned(angle, 2.0), NS)
    stamp = round(share * NS)
    expected = turned(angle * stamp / NS, 2.0 * stamp / NS)
    assert np.allclose(buffer.lookup("world", "rig", stamp), expected, atol=1e-8)


def test_out_of_order_arrival_equals_order() -> None:
    buffer = TransformBuffer()
    for tenth in (0, 2, 1, 3):
        assert buffer.add("world", "rig", turned(0.0, tenth**2), tenth * NS // 10)
    assert not buffer.add("world", "rig", turned(1.0), NS // 10), "a second one for one stamp"
    assert buffer.lookup("world", "rig", int(0.15 * NS))[0, 3] == pytest.approx(2.5)


def test_the_future_may_come_and_the_past_is_gone() -> None:
    buffer = TransformBuffer(keep_s=1.0)
    for second in range(4):
        buffer.add("world", "rig", turned(0.0), second * NS)
    with pytest.raises(FutureTransformError, match=r"'rig' to 'world'.*0\.500 s older"):
        buffer.lookup("world", "rig", int(3.5 * NS))
    with pytest.raises(TransformError, match=r"1\.000 s newer") as caught:
        buffer.lookup("world", "rig", NS)
    assert not isinstance(caught.value, FutureTransformError)


def test_what_is_missing_is_named() -> None:
    buffer = TransformBuffer()
    buffer.set_static("rig", "left", np.eye(4))
    buffer.set_static("other", "right", np.eye(4))
    with pytest.raises(TransformError, match="'nowhere' unknown"):
        buffer.lookup("rig", "nowhere", 0)
    with pytest.raises(TransformError, match="not connected"):
        buffer.lookup("left", "right", 0)
    with pytest.raises(TransformError, match="not a finite"):
        buffer.add("rig", "left", np.full((4, 4), np.nan), 0)


def test_a_loop_of_frames_is_an_error_and_no_hang() -> None:
    buffer = TransformBuffer()
    buffer.set_static("a", "b", np.eye(4))
    buffer.set_static("b", "a", np.eye(4))
    with pytest.raises(TransformError, match="form a loop"):
        buffer.lookup("c", "a", 0)


def test_a_jump_of_time_keeps_static_transforms() -> None:
    buffer = TransformBuffer()
    buffer.set_static("rig", "left", turned(0.1))
    buffer.add("world", "rig", turned(0.2), NS)
    buffer.forget_moving()
    assert np.allclose(buffer.lookup("rig", "left", 0), turned(0.1))
    with pytest.raises(TransformError, match="'world' unknown"):
        buffer.lookup("world", "left", NS)


def test_leading_slashes_do_not_matter() -> None:
    buffer = TransformBuffer()
    buffer.set_static("/rig", "/left", turned(0.3))
    assert np.allclose(buffer.lookup("rig", "left", 0), turned(0.3))


def test_a_frame_whose_own_time_jumped_survives_the_jump() -> None:
    buffer = TransformBuffer()
    for child in ("rig", "arm"):
        buffer.add("world", child, turned(0.2), 10 * NS)
    buffer.add("world", "rig", turned(0.7), NS)
    buffer.forget_moving()
    assert np.allclose(buffer.lookup("world", "rig", NS), turned(0.7))
    with pytest.raises(TransformError, match="'arm' unknown"):
        buffer.lookup("world", "arm", NS)
    buffer.forget_moving()
    with pytest.raises(TransformError):
        buffer.lookup("world", "rig", NS)


def test_frames_that_ended_long_ago_take_no_memory() -> None:
    buffer = TransformBuffer(keep_s=1.0)
    for second in range(100):
        buffer.add("world", f"face_{second}", turned(0.0), second * NS)
    with pytest.raises(TransformError, match="'face_90' unknown"):
        buffer.lookup("world", "face_90", 90 * NS)
    assert np.allclose(buffer.lookup("world", "face_99", 99 * NS), np.eye(4))
