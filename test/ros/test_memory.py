"""Neither memory nor the log grows while a node runs for weeks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rclpy.lifecycle import TransitionCallbackReturn
from ros_world import CAMERAS, Robot
from std_msgs.msg import String

from flowface_ros.ros.memory import forget_destroyed

SUCCESS = TransitionCallbackReturn.SUCCESS
Track = Callable[..., tuple[Any, Robot]]


def test_destroyed_publishers_are_forgotten(node: Any) -> None:
    entities = node.default_callback_group.entities
    before = len(entities)
    for index in range(50):
        node.destroy_publisher(node.create_publisher(String, f"topic_{index}", 10))
        forget_destroyed(node)
    assert len(entities) == before


def test_restarts_leave_nothing_in_the_callback_group(track: Track) -> None:
    node, _ = track(connect=False)
    entities = node.default_callback_group.entities
    counts = []
    for _ in range(3):
        node.trigger_deactivate()
        node.trigger_activate()
        counts.append(len(entities))
    assert counts == [counts[0]] * 3


def test_restarts_keep_the_thread(track: Track) -> None:
    node, _ = track(connect=False)

    def workers() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "worker"]

    before = workers()
    assert node.trigger_deactivate() == node.trigger_activate() == SUCCESS
    assert len(before) == 1
    assert workers() == before


def test_a_lens_that_zooms_all_the_time_is_one_line_in_the_log(track: Track) -> None:
    _, robot = track()
    camera = robot.world.cameras[0]
    for index in range(4):
        zoomed = camera.intrinsics.copy()
        zoomed[[0, 1], [0, 1]] *= 1 + 0.01 * index
        robot.world.cameras[0] = replace(camera, intrinsics=zoomed)
        assert robot.ask(index).faces[0].views == list(CAMERAS)
    assert robot.logged("'left'", "new calibration")
    assert sum("new calibration" in line for line in robot.logs) == 1


def test_jumps_again_and_again_are_one_line_in_the_log(track: Track) -> None:
    _, robot = track()
    ids = [robot.ask(index).faces[0].id for index in (40, 20, 0)]
    assert ids == ["p1", "p2", "p3"]
    assert robot.logged("time jumped back")
    assert sum("time jumped back" in line for line in robot.logs) == 1
