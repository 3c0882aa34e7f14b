"""Says aloud when a publisher and a subscription do not match; by default nothing arrives."""

from __future__ import annotations

from typing import Any

from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import qos_policy_name_from_kind

from flowface_ros.ros.guard import Guard


def subscription_events(
    node: Node, topic: str, purpose: str, guard: Guard
) -> SubscriptionEventCallbacks:
    """Logs a publisher whose QoS this subscription cannot take. purpose: what it is for."""

    def incompatible(event: Any) -> None:
        publishers = node.get_publishers_info_by_topic(node.resolve_topic_name(topic))
        text = _mismatch(node, topic, event, "publisher", publishers)
        guard.error(f"qos {topic}", f"{purpose}: {text}; nothing will arrive from there")

    return SubscriptionEventCallbacks(
        incompatible_qos=guard(incompatible), use_default_callbacks=False
    )


def publisher_events(node: Node, topic: str, guard: Guard) -> PublisherEventCallbacks:
    """Logs a subscription that this publisher cannot serve."""

    def incompatible(event: Any) -> None:
        subscriptions = node.get_subscriptions_info_by_topic(node.resolve_topic_name(topic))
        text = _mismatch(node, topic, event, "subscription", subscriptions)
        guard.warn(f"qos {topic}", f"{text}; it will receive nothing")

    return PublisherEventCallbacks(
        incompatible_qos=guard(incompatible), use_default_callbacks=False
    )


def _mismatch(node: Node, topic: str, event: Any, kind: str, endpoints: list[Any]) -> str:
    others = ", ".join(
        sorted(
            f"{e.topic_type} {kind} of {e.node_namespace.rstrip('/')}/{e.node_name} "
            f"({e.qos_profile.reliability.name.lower()}, {e.qos_profile.durability.name.lower()})"
            for e in endpoints
        )
    )
    policy = qos_policy_name_from_kind(event.last_policy_kind)
    mine = f"{node.get_fully_qualified_name()} on {node.resolve_topic_name(topic)}"
    return f"incompatible QoS ({policy}) of {mine} with {others or f'a {kind} not known yet'}"
