"""Parameters of the nodes as typed dataclasses: what is declared, checked and documented."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException
from rclpy.node import Node
from rclpy.parameter import Parameter

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

Settings = TypeVar("Settings", bound=Any)


def parameter(
    default: Any,
    description: str,
    *,
    between: tuple[float, float] | None = None,
    choices: tuple[str, ...] = (),
    read_only: bool = False,
) -> Any:
    """A dataclass field that is a ROS parameter.

    between: lowest and highest value allowed. choices: the texts allowed. read_only: set at start.
    """
    metadata = {
        "description": description,
        "between": between,
        "choices": choices,
        "read_only": read_only,
    }
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def declare(node: Node, settings: type[Settings], prefix: str = "") -> Settings:
    """Declare the fields of a settings class on a node; the values that the user gave.

    prefix: put before each name. Raises ValueError for a value that is not allowed.
    """
    values = {}
    for entry in _entries(settings):
        name = prefix + entry.name
        try:
            value = node.declare_parameter(name, _default(entry), _descriptor(entry)).value
        except InvalidParameterTypeException as error:
            example = "a list, such as [left, right]" if type(_default(entry)) is list else ""
            raise ValueError(f"{name} must be {example or _allowed(entry)}: {error}") from error
        values[entry.name] = _checked(name, entry, value)
    return settings(**values)


def changed(settings: Settings, parameters: Iterable[Parameter]) -> Settings:
    """The settings with new values; parameters of other names are left to others.

    Raises ValueError that names the parameter, what it was set to and what is allowed.
    """
    known = {entry.name: entry for entry in _entries(type(settings))}
    values = {
        p.name: _checked(p.name, known[p.name], p.value) for p in parameters if p.name in known
    }
    return replace(settings, **values)


def check_camera_names(cameras: Sequence[str]) -> None:
    """Raises ValueError for no camera, one twice, or a name that cannot be part of a topic."""
    if not cameras:
        raise ValueError("cameras is empty, must name at least one camera")
    for name in cameras:
        if not _NAME.fullmatch(name):
            rule = "letters, digits and underscores, beginning with a letter"
            raise ValueError(f"cameras has {name!r}, names must be {rule}")
    if len(set(cameras)) != len(cameras):
        raise ValueError(f"cameras is {list(cameras)}, names must differ")


def table(settings: type, prefix: str = "") -> str:
    """The parameters as rows of a Markdown table: name, default, allowed, description."""
    rows = []
    for entry in _entries(settings):
        default = _default(entry)
        shown = "`" + (", ".join(default) if isinstance(default, list) else str(default)) + "`"
        default_text = shown.replace("True", "true").replace("False", "false")
        kind = "at start" if entry.metadata["read_only"] else "any time"
        rows.append(
            f"| `{prefix}{entry.name}` | {default_text if shown != '``' else 'empty'} "
            f"| {_allowed(entry)} | {kind} | {entry.metadata['description']} |"
        )
    return "\n".join(rows)


def _entries(settings: Any) -> list[Field]:
    return [entry for entry in fields(settings) if "description" in entry.metadata]


def _default(entry: Field) -> Any:
    factory = entry.default_factory
    return entry.default if factory is MISSING else factory()


def _descriptor(entry: Field) -> ParameterDescriptor:
    metadata = entry.metadata
    descriptor = ParameterDescriptor(
        description=metadata["description"],
        read_only=metadata["read_only"],
        additional_constraints=", ".join(metadata["choices"]),
    )
    if metadata["between"] is not None:
        low, high = metadata["between"]
        if isinstance(_default(entry), int):
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=0)]
        else:
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(low), to_value=float(high), step=0.0)
            ]
    return descriptor


def _checked(name: str, entry: Field, value: Any) -> Any:
    allowed = _allowed(entry)
    if entry.metadata["choices"] and value not in entry.metadata["choices"]:
        raise ValueError(f"{name} is {value!r}, must be {allowed}")
    if entry.metadata["between"] is not None:
        low, high = entry.metadata["between"]
        if not (math.isfinite(value) and low <= value <= high):
            raise ValueError(f"{name} is {value}, must be {allowed}")
    return list(value) if isinstance(_default(entry), list) else value


def _allowed(entry: Field) -> str:
    if entry.metadata["choices"]:
        return ", ".join(f"`{choice}`" for choice in entry.metadata["choices"])
    if entry.metadata["between"] is not None:
        low, high = entry.metadata["between"]
        return f"{low:g} to {high:g}"
    return {bool: "`true`, `false`", list: "names"}.get(type(_default(entry)), "text")


_COMPRESSED = "/compressed"


@dataclass(frozen=True)
class CameraTopics:
    """Where one camera's messages are; the parameters are `<camera>.<name>`."""

    image_topic: str = parameter(
        "", "topic of the images; empty: <camera>/image_raw", read_only=True
    )
    info_topic: str = parameter(
        "", "topic of the CameraInfo; empty: <camera>/camera_info", read_only=True
    )
    transport: str = parameter(
        "auto",
        "raw: sensor_msgs/Image; compressed: CompressedImage on <image_topic>/compressed; auto: "
        "the one that is published at the start, raw if both are, else the first to come",
        choices=("auto", "raw", "compressed"),
        read_only=True,
    )
    reliability: str = parameter(
        "best_effort",
        "of the image subscription; reliable works with reliable publishers alone",
        choices=("best_effort", "reliable"),
        read_only=True,
    )
    frame: str = parameter(
        "", "optical frame in TF; empty: the frame_id of the images", read_only=True
    )

    def resolved(self, camera: str) -> CameraTopics:
        """With the topics of a camera in the place of empty ones; image_topic is the raw one."""
        image = self.image_topic or f"{camera}/image_raw"
        transport = self.transport
        if image.endswith(_COMPRESSED):
            image, transport = image.removesuffix(_COMPRESSED), "compressed"
        info = self.info_topic or f"{camera}/camera_info"
        return replace(self, image_topic=image, info_topic=info, transport=transport)

    @property
    def image_topics(self) -> dict[str, str]:
        """Of resolved topics: where images may come from, by transport, preferred first."""
        topics = {"raw": self.image_topic, "compressed": self.image_topic + _COMPRESSED}
        return topics if self.transport == "auto" else {self.transport: topics[self.transport]}
