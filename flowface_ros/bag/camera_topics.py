"""Which topics of a bag or a ROS graph are a camera's, from their names and types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flowface_ros.bag.reader import BagReader

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"

_COMPRESSED = "/compressed"
_IMAGE_NAMES = ("image_raw", "image", "image_color", "image_mono")
"""Of unrectified images, which are what a CameraInfo's distortion describes."""
_AT_THE_ROOT = "camera"
"""Name of a camera whose topics have no namespace, as /image_raw."""


@dataclass(frozen=True)
class CameraSource:
    """A camera: its name and topics."""

    name: str
    image_topic: str
    info_topic: str


def camera_name(topic: str) -> str:
    """Name of the camera of a topic such as /left/camera_info or /left/image_raw/compressed: the
    namespace."""
    return topic.removesuffix(_COMPRESSED).rpartition("/")[0].strip("/") or _AT_THE_ROOT


def camera_sources(types: Mapping[str, str], *, compressed_first: bool) -> list[CameraSource]:
    """The cameras among topics with their types, in the order of their topics.

    A camera has images on `<name>/image_raw` (or image, image_color, image_mono), raw or
    `/compressed`, and `<name>/camera_info`. compressed_first: which images are taken where both
    are there.
    """
    wanted = COMPRESSED_IMAGE if compressed_first else IMAGE
    found: dict[str, CameraSource] = {}
    for topic in sorted(types, key=lambda name: (types[name] != wanted, name)):
        parent, _, leaf = topic.removesuffix(_COMPRESSED).rpartition("/")
        info = f"{parent}/camera_info"
        is_image = types[topic] in (IMAGE, COMPRESSED_IMAGE) and leaf in _IMAGE_NAMES
        if is_image and types.get(info) == CAMERA_INFO:
            name = camera_name(topic)
            found.setdefault(name, CameraSource(name, topic, info))
    return list(found.values())


def find_cameras(bag: BagReader, names: Sequence[str] = ()) -> list[CameraSource]:
    """The cameras of a bag, primary first: those of the names, or all in the order of their topics.

    Where a camera has raw and compressed images the raw ones are taken.
    Raises ValueError that names what the bag lacks.
    """
    found = {source.name: source for source in camera_sources(bag.types, compressed_first=False)}
    if missing := [name for name in names if name not in found]:
        raise ValueError(
            f"{bag.path} has no images with CameraInfo of {', '.join(missing)}; "
            f"it has {', '.join(found) or 'no camera'}"
        )
    if not found:
        raise ValueError(f"{bag.path} has no images with a camera_info topic beside them")
    return [found[name] for name in names] if names else list(found.values())
