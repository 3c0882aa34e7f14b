"""Message types for reading and writing bags without ROS: the standard ones and this package's."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

_PACKAGE = "flowface_ros"


@cache
def message_types() -> Typestore:
    """The types of ROS 2 Kilted (tf2_msgs included) and of this package; do not register in it.

    `message_types().types["sensor_msgs/msg/Image"]` is a dataclass with the message's fields.
    Raises FileNotFoundError when this package's .msg files are not where they are installed.
    """
    store = get_typestore(Stores.ROS2_KILTED)
    definitions = {}
    for path in sorted(_definitions().glob("*.msg")):
        definitions.update(get_types_from_msg(path.read_text(), f"{_PACKAGE}/msg/{path.stem}"))
    store.register(definitions)
    return store


def _definitions() -> Path:
    """Folder of the .msg files: inside an installed package, at the top of a source checkout."""
    here = Path(__file__).resolve()
    for folder in (here.parent / "definitions", here.parents[2] / "msg"):
        if any(folder.glob("*.msg")):
            return folder
    raise FileNotFoundError(f"no .msg files in {here.parent / 'definitions'} nor in the checkout")
