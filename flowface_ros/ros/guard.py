"""Keeps a node alive: exceptions of callbacks are counted and logged, not raised."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import wraps
from typing import Any

from rclpy.node import Node

from flowface_ros.ros.counters import Drops, Throttle

CALLBACKS = "callbacks"
"""What exceptions of callbacks are counted under."""


class Guard:
    """Wraps callbacks, and logs each kind of fault at most every ten seconds."""

    def __init__(self, node: Node, drops: Drops) -> None:
        self._logger, self._drops, self._throttle = node.get_logger(), drops, Throttle()

    def __call__(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        """The callback, which now returns None when it fails."""

        @wraps(callback)
        def guarded(*arguments: Any) -> Any:
            try:
                return callback(*arguments)
            except Exception as error:
                self._drops.add("exception", CALLBACKS)
                self.log_exception(getattr(callback, "__name__", "callback"), error)
                return None

        return guarded

    def log_exception(self, place: str, error: BaseException) -> None:
        """Log an exception that nobody expected, with its traceback."""
        text = "".join(traceback.format_exception(error)).rstrip()
        self.error(f"exception {place} {error!r}", f"in {place}: {error}; going on\n{text}")

    # rclpy wants a severity of its own from every line of code that logs.

    def info(self, key: str, text: str) -> None:
        """Log what is good to know, once per period for each key."""
        if self._throttle.passes(key):
            self._logger.info(text)

    def warn(self, key: str, text: str) -> None:
        """Log what is wrong but bearable."""
        if self._throttle.passes(key):
            self._logger.warning(text)

    def error(self, key: str, text: str) -> None:
        """Log what stops a camera or the node."""
        if self._throttle.passes(key):
            self._logger.error(text)
