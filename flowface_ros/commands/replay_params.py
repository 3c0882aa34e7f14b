"""The tracker node's parameter file, for a replay with the same settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from flowface_ros.commands.replay_jobs import ReplayOptions

_NODES = ("/**", "tracker", "/tracker")
"""Entries of the file that hold for the node; later ones win."""

_LIVE_ONLY = frozenset(
    (
        "autostart", "marker_rate", "publish_rep155", "overlay_rate", "qos_overrides",
        "use_sim_time", "allow_cpu_fallback",
    )
)  # fmt: skip
"""Parameters that do not change what is tracked."""
_CAMERA_LIVE_ONLY = frozenset(("transport", "reliability", "image_topic", "info_topic"))
"""Of one camera: a bag has what was recorded."""


def read_params(path: Path) -> dict[str, Any]:
    """Fields of ReplayOptions that a ROS 2 parameter file sets.

    Raises ValueError, naming file and entry, for what is no parameter file, a parameter that the
    tracker does not have, a value of another type, and settings that a replay does not have.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not YAML: {error}") from error
    found: dict[str, Any] = {}
    entries = content if isinstance(content, dict) else {}
    for node in _NODES:
        parameters = entries.get(node)
        if isinstance(parameters, dict) and isinstance(parameters.get("ros__parameters"), dict):
            found |= parameters["ros__parameters"]
    if not found:
        raise ValueError(f"{path}: no ros__parameters of the node `tracker`")
    return _checked(path, found)


def _checked(path: Path, found: Mapping[str, Any]) -> dict[str, Any]:
    known = {field.name: field.default for field in fields(ReplayOptions)}
    values: dict[str, Any] = {}
    for name, value in found.items():
        if name in known:
            values[name] = _value(path, name, value, known[name])
        elif name not in _LIVE_ONLY and name not in found.get("cameras", ()):
            raise ValueError(f"{path}: {name} is not known to a replay; known: {', '.join(known)}")
    if "cameras" in values:
        values["cameras"] = tuple(_camera(path, c, found.get(c, {})) for c in values["cameras"])
    return values


def _camera(path: Path, name: str, settings: Any) -> str:
    """The camera's name in a bag: the namespace of its topics."""
    if not isinstance(settings, dict):
        raise ValueError(f"{path}: {name} is {settings!r}, must be the camera's parameters")
    if extra := sorted(set(settings) - _CAMERA_LIVE_ONLY):
        raise ValueError(f"{path}: {name}.{extra[0]}: a replay takes frames from the bag")
    image = settings.get("image_topic", f"{name}/image_raw")
    parent = str(image).rpartition("/")[0]
    if settings.get("info_topic", f"{parent}/camera_info") != f"{parent}/camera_info":
        raise ValueError(f"{path}: {name}: a replay needs camera_info beside the images of {image}")
    return parent.strip("/")


def _value(path: Path, name: str, value: Any, default: Any) -> Any:
    if isinstance(default, tuple):
        if not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
            raise ValueError(f"{path}: {name} is {value!r}, must be a list of names")
        return tuple(value)
    kind = type(default)
    fits = isinstance(value, (int, float) if kind is float else kind)
    if not fits or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{path}: {name} is {value!r}, must be {kind.__name__}")
    return kind(value)
