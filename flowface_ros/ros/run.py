"""Runs a node as a program."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from threading import Event
from typing import Any

import rclpy
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from flowface_ros.ros.lifecycle import SetNode
from flowface_ros.ros.memory import keep_large_blocks

_POLL_S = 0.2
"""How long a signal may wait when no message comes."""


def make_executor() -> Executor:
    """The events executor where rclpy has it (a tenth of the processor time), else the ordinary."""
    try:
        from rclpy.experimental import EventsExecutor
    except ImportError:  # before Kilted
        return SingleThreadedExecutor()
    return EventsExecutor()


def run_node(make: Callable[[], SetNode[Any]], argv: list[str]) -> int:
    """Spin a node until SIGINT or SIGTERM; the program's exit code.

    The node is deactivated before the context ends, so that its last message gets out.
    """
    if {"-h", "--help"} & set(argv[1:]):
        print(f"usage: {argv[0]} --ros-args [--params-file FILE] [-p NAME:=VALUE] [-r FROM:=TO]")
        return 0
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    keep_large_blocks()
    rclpy.init(args=argv, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = make()
    except ValueError as error:
        print(f"{argv[0]}: error: {error}", file=sys.stderr)
        rclpy.shutdown()
        return 2
    try:
        return _spin(node, stop)
    finally:
        rclpy.shutdown()


def _spin(node: SetNode[Any], stop: Event) -> int:
    executor = make_executor()
    executor.add_node(node)
    if node.settings.autostart:
        node.start()
    while not stop.is_set() and rclpy.ok():
        executor.spin_once(timeout_sec=_POLL_S)
    node.finish()
    executor.shutdown()
    node.destroy_node()
    return 0
