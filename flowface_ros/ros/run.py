"""Runs a node as a program."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from flowface_ros.error_text import error_text
from flowface_ros.ros.lifecycle import SetNode
from flowface_ros.ros.memory import keep_large_blocks

_ARGUMENTS = "--ros-args [--params-file FILE] [-p NAME:=VALUE] [-r FROM:=TO]"
N = TypeVar("N", bound=Node)
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
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    keep_large_blocks()
    node = started(make, argv, _ARGUMENTS, SignalHandlerOptions.NO)
    try:
        return _spin(node, stop)
    finally:
        rclpy.shutdown()


def started(
    make: Callable[[], N], argv: list[str], arguments: str, signals: SignalHandlerOptions
) -> N:
    """The node that a program makes in its context.

    arguments: how to call the program. Raises SystemExit, as argparse does, after the help, or a
    line on what the user can mend.
    """
    program = Path(argv[0]).name
    if {"-h", "--help"} & set(argv[1:]):
        print(f"usage: {program} {arguments}")
        raise SystemExit(0)
    try:
        _init(argv, signals)
        return make()
    except (ValueError, OSError, ParameterException) as error:
        print(f"{program}: error: {error_text(error)}", file=sys.stderr)
        print(f"usage: {program} {arguments}", file=sys.stderr)
        rclpy.try_shutdown()
        raise SystemExit(2) from error


def _init(argv: list[str], signals: SignalHandlerOptions) -> None:
    """ValueError for arguments that nobody reads, or that ROS does not take."""
    try:
        if unknown := remove_ros_args(argv)[1:]:
            raise ValueError(f"{' '.join(unknown)}: parameters are given after --ros-args -p")
        rclpy.init(args=argv, signal_handler_options=signals)
    except RuntimeError as error:  # rclpy has no public class for it
        raise ValueError(f"ROS arguments: {error}") from error


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
