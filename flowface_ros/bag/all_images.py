"""The images of a bag's cameras."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from flowface_ros.bag.camera_topics import find_cameras
from flowface_ros.bag.face_messages import stamp_ns
from flowface_ros.bag.images import decode_any_image
from flowface_ros.bag.reader import BagReader


def image_total(bag: BagReader, cameras: Collection[str]) -> int:
    """How many images `all_images` gives."""
    found = find_cameras(bag)
    return sum(bag.topics[camera.image_topic].count for camera in found if camera.name in cameras)


def all_images(
    bag: BagReader, cameras: Collection[str]
) -> Iterator[tuple[str, int, NDArray[np.uint8]]]:
    """Camera, stamp (ns) and RGB picture of every image, in the order of recording, of the cameras
    that are both in the bag and named; images that cannot be decoded are left out."""
    names = {c.image_topic: c.name for c in find_cameras(bag) if c.name in cameras}
    for topic, _, message in bag.messages(list(names)):
        try:
            image = decode_any_image(message)
        except ValueError:
            continue
        yield names[topic], stamp_ns(message), image
