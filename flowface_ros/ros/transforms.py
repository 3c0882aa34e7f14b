"""Transforms from /tf and /tf_static for lookups that may wait, and transforms to /tf."""

from __future__ import annotations

import time
from threading import Condition
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from tf2_msgs.msg import TFMessage

from flowface_ros.bag.face_messages import read_transform, stamp_ns
from flowface_ros.ros.counters import Drops
from flowface_ros.ros.guard import CALLBACKS
from flowface_ros.ros.topics import STATIC_TRANSFORMS, TRANSFORMS_IN
from flowface_ros.ros.transform_buffer import (
    FutureTransformError,
    TransformBuffer,
    TransformError,
)

_HOPELESS_S = 1.0
"""A transform that lags by more than this will not come within the wait for a view."""


class TransformListener:
    """Fills a buffer; `lookup` is for another thread than the executor's."""

    def __init__(self, node: Node, drops: Drops, guarded: Any) -> None:
        self._buffer = TransformBuffer()
        self._condition = Condition()
        self._drops = drops
        self._subscriptions = tuple(
            node.create_subscription(topic.kind, topic.name, guarded(callback), topic.qos)
            for topic, callback in (
                (TRANSFORMS_IN, self._on_moving),
                (STATIC_TRANSFORMS, self._on_static),
            )
        )

    def destroy(self, node: Node) -> None:
        """Stop listening."""
        for subscription in self._subscriptions:
            node.destroy_subscription(subscription)

    def forget_moving(self) -> None:
        """After a jump of time."""
        with self._condition:
            self._buffer.forget_moving()

    def lookup(self, target: str, source: str, time_ns: int, until_s: float) -> NDArray[np.float64]:
        """target_from_source (4, 4); waits for it till `until_s` of the monotonic clock.

        Raises TransformError that names both frames.
        """
        with self._condition:
            while (found := self._found(target, source, time_ns, until_s)) is None:
                self._condition.wait(until_s - time.monotonic())
            return found

    def _found(
        self, target: str, source: str, time_ns: int, until_s: float
    ) -> NDArray[np.float64] | None:
        """None while it may still come."""
        try:
            return self._buffer.lookup(target, source, time_ns)
        except FutureTransformError as error:
            if error.late_s > _HOPELESS_S or time.monotonic() >= until_s:
                raise
        except TransformError:
            if time.monotonic() >= until_s:
                raise
        return None

    def _on_moving(self, message: TFMessage) -> None:
        self._store(message, static=False)

    def _on_static(self, message: TFMessage) -> None:
        self._store(message, static=True)

    def _store(self, message: TFMessage, static: bool) -> None:
        for entry in message.transforms:
            parent, child = entry.header.frame_id, entry.child_frame_id
            try:
                matrix = read_transform(entry)
                with self._condition:
                    if static:
                        self._buffer.set_static(parent, child, matrix)
                    else:
                        self._buffer.add(parent, child, matrix, stamp_ns(entry))
                    self._condition.notify_all()
            except ValueError:
                self._drops.add("bad_transform", CALLBACKS)
