"""Nothing grows while a node runs for weeks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from rclpy.lifecycle import TransitionCallbackReturn
from ros_world import Robot
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
