"""Every test run has its own ROS domain, on this machine alone."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

rclpy = pytest.importorskip("rclpy", reason="rclpy is not installed")

HIGHEST_SAFE_DOMAIN = 101
"""Beyond this, DDS ports overlap Linux's ephemeral ports."""


@pytest.fixture(scope="session", autouse=True)
def ros_domain() -> Iterator[None]:
    """A random domain for this process and those it starts."""
    before = dict(os.environ)
    os.environ["ROS_DOMAIN_ID"] = str(random.SystemRandom().randint(1, HIGHEST_SAFE_DOMAIN))
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def node(ros_domain: None) -> Iterator[rclpy.node.Node]:
    """A node of the test's own, in a running context."""
    rclpy.init()
    node = rclpy.create_node("test_node")
    yield node
    node.destroy_node()
    rclpy.shutdown()
