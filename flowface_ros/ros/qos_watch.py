"""Says aloud when a publisher and a subscription do not match; by default nothing arrives."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, qos_check_compatible

from flowface_ros.ros.diagnostics import WARN, Report
from flowface_ros.ros.guard import Guard


class QosWatch:
    """Compares a node's topics with those who are at their other ends.

    The graph is asked, not the event that DDS raises: the event comes once, often before it is
    known whose endpoint it was.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._purposes: dict[str, str] = {}

    def describe(self, topic: str, purpose: str) -> None:
        """What a subscription is for."""
        self._purposes[self._node.resolve_topic_name(topic)] = purpose

    def report(self, summary: Report, guard: Guard) -> None:
        """Into diagnostics and the log."""
        for topic, text in self.mismatches():
            summary.note(WARN, text)
            guard.warn(f"qos {topic}", text)

    def mismatches(self) -> Iterator[tuple[str, str]]:
        """Topic, and a text that names both nodes, of all that cannot talk to each other."""
        node = self._node
        used = [s.topic_name for s in node.subscriptions] + [p.topic_name for p in node.publishers]
        for topic in dict.fromkeys(used):
            # One's own profile too: as the graph has it, nothing in it is left to a default.
            publishers = node.get_publishers_info_by_topic(topic)
            subscriptions = node.get_subscriptions_info_by_topic(topic)
            for offered, requested in product(publishers, subscriptions):
                if self._is_mine(offered) or self._is_mine(requested):
                    reason = _reason(offered.qos_profile, requested.qos_profile)
                    if reason:
                        yield topic, self._text(topic, offered, requested, reason)

    def _is_mine(self, endpoint: Any) -> bool:
        return _name(endpoint) == self._node.get_fully_qualified_name()

    def _text(self, topic: str, offered: Any, requested: Any, reason: str) -> str:
        purpose = self._purposes.get(topic, "")
        return (
            f"{purpose}{purpose and ': '}incompatible QoS on {topic}: nothing passes from "
            f"{_name(offered)} to {_name(requested)} ({reason})"
        )


def _name(endpoint: Any) -> str:
    return f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}"


def _reason(offered: Any, requested: Any) -> str:
    """Why two profiles do not match, "" when they do."""
    compatibility, reason = qos_check_compatible(offered, requested)
    if compatibility != QoSCompatibility.ERROR:
        return ""
    return reason.removeprefix("ERROR: ").strip("; ")
