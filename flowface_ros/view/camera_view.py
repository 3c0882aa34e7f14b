"""One camera of a view: its images, where it stands, and what is drawn on it."""

from __future__ import annotations

from collections import deque
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flowface_ros.bag.images import decode_any_image, encode_jpeg, jpeg_file
from flowface_ros.camera.camera import Camera
from flowface_ros.camera.camera_info import camera_from_info
from flowface_ros.synth.sheets.overlay import Wireframe, visible_lines
from flowface_ros.view.sdk import load_sdk

_JPEG_QUALITY = 80
_HELD = 16
"""Latest images that wait for their result: half a second at 30 Hz."""
_FRUSTUM_M = 0.12
_LINE_POINTS = 0.35
"""Half the width of a line on the screen."""
_LINE_OPACITY = 40
"""Of 255: the picture shines through."""
_CORNER_PX = 0.5
"""The viewer counts from the corner of the top-left pixel, cameras here from its centre."""


class CameraView:
    """Logs one camera below `/rig/<name>`.

    max_width: wider images are made smaller, pixels.
    """

    def __init__(self, recording: Any, name: str, max_width: int) -> None:
        self.name, self._recording, self._max_width = name, recording, max_width
        self._rerun = load_sdk()
        self._camera: Camera | None = None
        self._info: Any = None
        self._held: deque[tuple[int, Any]] = deque(maxlen=_HELD)
        self._rig_from_camera: NDArray[np.float64] | None = None

    @property
    def position(self) -> NDArray[np.float64] | None:
        """(3,) metres in the view's frame, None while it is not known."""
        return None if self._rig_from_camera is None else self._rig_from_camera[:3, 3]

    @property
    def frame(self) -> str:
        """The optical frame, "" before the first CameraInfo."""
        return self._camera.frame if self._camera else ""

    def take_info(self, info: Any) -> None:
        """Use a CameraInfo; ValueError when it cannot be used, the last one then holds."""
        if self._info is None or not _equal(info, self._info):
            camera = camera_from_info(info, self.name)
            width = min(camera.width, self._max_width)
            height = round(camera.height * width / camera.width)
            self._camera, self._info = camera.scaled(width, height), info

    def hold(self, stamp_ns: int, image: Any) -> None:
        """Keep an image message until it is shown or newer ones take its place."""
        if self._held and stamp_ns < self._held[-1][0]:
            self._held.clear()
        self._held.append((stamp_ns, image))

    def show_nearest(self, stamp_ns: int, tolerance_ns: int) -> bool:
        """Log the held image next to a stamp, and drop the older ones; False when there is none.

        Raises ValueError for an image that cannot be decoded.
        """
        gaps = [abs(stamp - stamp_ns) for stamp, _ in self._held]
        if not gaps or min(gaps) > tolerance_ns:
            return False
        nearest = gaps.index(min(gaps))
        _, message = self._held[nearest]
        for _ in range(nearest + 1):
            self._held.popleft()
        encoded = self._rerun.EncodedImage(contents=self._jpeg(message), media_type="image/jpeg")
        self._recording.log(["rig", self.name, "image"], encoded)
        return True

    def place(self, rig_from_camera: NDArray[np.float64] | None) -> None:
        """Log where the camera stands, with its frustum; None leaves it where it was."""
        if rig_from_camera is not None:
            self._rig_from_camera = rig_from_camera
        if self._camera is None or self._rig_from_camera is None:
            return
        matrix, camera = self._rig_from_camera, self._camera
        intrinsics = camera.intrinsics.copy()
        intrinsics[:2, 2] += _CORNER_PX
        self._recording.log(
            ["rig", self.name],
            self._rerun.Transform3D(translation=matrix[:3, 3], mat3x3=matrix[:3, :3]),
            self._rerun.Pinhole(
                image_from_camera=intrinsics,
                resolution=[camera.width, camera.height],
                image_plane_distance=_FRUSTUM_M,
            ),
        )

    def draw(self, head: str, vertices: NDArray[np.floating], mesh: Wireframe) -> None:
        """Log the visible edges of a head's mesh; vertices (V, 3) metres in the rig frame."""
        if self._camera is None or self._rig_from_camera is None:
            return
        camera = self._camera.moved(self._rig_from_camera)
        lines, rows = visible_lines(camera, vertices, mesh)
        palette = np.array([(*color, _LINE_OPACITY) for color in mesh.palette], np.uint8)
        self._recording.log(
            ["rig", self.name, "heads", head],
            self._rerun.LineStrips2D(
                (lines + _CORNER_PX).astype(np.float32),
                colors=palette[rows],
                radii=self._rerun.Radius.ui_points(_LINE_POINTS),
            ),
        )

    def forget(self, head: str) -> None:
        """Take a head off the image."""
        self._recording.log(["rig", self.name, "heads", head], self._rerun.Clear(recursive=True))

    def _jpeg(self, message: Any) -> bytes:
        wide = self._info is not None and self._info.width > self._max_width
        if not wide and hasattr(message, "format") and (file := jpeg_file(message)) is not None:
            return file
        image = decode_any_image(message)
        if image.shape[1] > self._max_width:
            height = round(image.shape[0] * self._max_width / image.shape[1])
            shape = self._max_width, height
            image = cv2.resize(image, shape, interpolation=cv2.INTER_AREA).astype(np.uint8)
        return encode_jpeg(image, _JPEG_QUALITY)


def _equal(info: Any, other: Any) -> bool:
    """Whether two CameraInfos say the same; their stamps differ."""
    names = ("width", "height", "distortion_model", "binning_x", "binning_y", "roi")
    return (
        all(getattr(info, name) == getattr(other, name) for name in names)
        and np.array_equal(info.k, other.k)
        and np.array_equal(info.d, other.d)
        and info.header.frame_id == other.header.frame_id
    )
