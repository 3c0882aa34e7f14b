"""Memory over weeks: glibc's allocator, and what rclpy does not forget."""

from __future__ import annotations

import ctypes
import sys

from rclpy.node import Node

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of malloc.h."""
_LARGEST_IMAGE = 32 * 1024 * 1024
"""Bytes; also the largest value that M_MMAP_THRESHOLD takes."""
_KEPT = 4 * _LARGEST_IMAGE


def keep_large_blocks() -> bool:
    """Let malloc reuse blocks of an image's size; call it before `rclpy.init`.

    By default every image is mapped anew and given back: its pages are faulted in and zeroed for
    each message. False where there is no glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_IMAGE) and mallopt(_M_TRIM_THRESHOLD, _KEPT))


def forget_destroyed(node: Node) -> None:
    """Let a node's callback group forget what was in it: rclpy keeps a reference to every dead
    publisher, subscription and service."""
    entities = node.default_callback_group.entities
    entities.difference_update([entity for entity in list(entities) if entity() is None])
