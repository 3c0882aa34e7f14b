"""What goes to /diagnostics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from flowface_ros.ros.topics import DIAGNOSTICS

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@dataclass
class Report:
    """One status: the worst of what was noted, and values.

    name: of the part. Values are text or numbers, in the order in which they were set.
    """

    name: str
    level: bytes = OK
    messages: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def note(self, level: bytes, text: str) -> None:
        """Something is wrong, or worth saying; nothing for an empty text."""
        if not text:
            return
        self.messages.append(text)
        self.level = max(self.level, level)

    def counts(self, prefix: str, counts: Mapping[str, float]) -> None:
        """Values under names with a common prefix."""
        for name, value in counts.items():
            self.values[f"{prefix} {name}"] = value


class DiagnosticsOutput:
    """Publishes reports on /diagnostics."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publisher = node.create_publisher(DIAGNOSTICS.kind, DIAGNOSTICS.name, DIAGNOSTICS.qos)

    def publish(self, reports: list[Report], hardware: str) -> None:
        """hardware: what the networks run on."""
        message = DiagnosticArray()
        message.header.stamp = self._node.get_clock().now().to_msg()
        owner = self._node.get_fully_qualified_name().lstrip("/")
        message.status = [
            DiagnosticStatus(
                level=report.level,
                name=f"{owner}: {report.name}",
                message="; ".join(report.messages) or "ok",
                hardware_id=hardware,
                values=[KeyValue(key=k, value=_text(v)) for k, v in report.values.items()],
            )
            for report in reports
        ]
        self._publisher.publish(message)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
