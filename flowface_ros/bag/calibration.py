"""Which calibration holds for which image of one camera."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowface_ros.bag.face_messages import stamp_ns
from flowface_ros.camera.camera import Camera
from flowface_ros.camera.camera_info import camera_from_info

_KEPT_LIVE = 16
"""Latest changes kept; older images than that are not on the way any more."""


class CalibrationError(ValueError):
    """An image has no usable calibration; `cause` names the counter it goes to."""

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause


class Calibration:
    """The calibrations that a camera's CameraInfo messages gave, from which stamp on each holds.

    log_change: told of each change. kept: how many changes, the latest ones; None for all.
    """

    def __init__(
        self,
        camera: str,
        log_change: Callable[[str], object] = lambda text: None,
        kept: int | None = _KEPT_LIVE,
    ) -> None:
        self._camera, self._log_change, self._kept = camera, log_change, kept
        self._lock = Lock()
        self._since_ns: list[int] = []
        self._entries: list[Camera | CalibrationError] = []
        self._key: tuple = ()

    @property
    def error(self) -> str:
        """Why the newest CameraInfo is refused, "" when it is not."""
        with self._lock:
            last = self._entries[-1] if self._entries else None
        return str(last) if isinstance(last, CalibrationError) else ""

    def add(self, info: Any) -> None:
        """Take in a CameraInfo; most repeat the last one."""
        key = _key(info)
        with self._lock:
            if key == self._key:
                return
            self._key = key
            entry = self._read(info)
            since = stamp_ns(info)
            self._log(entry, since)
            place = bisect_right(self._since_ns, since)
            self._since_ns[place:] = [since]
            self._entries[place:] = [entry]
            if self._kept is not None:
                del self._since_ns[: -self._kept], self._entries[: -self._kept]

    def at(self, time_ns: int) -> Camera:
        """The camera, in its own frame, for an image of that stamp.

        Raises CalibrationError when there is none or it is refused.
        """
        with self._lock:
            if not self._entries:
                raise CalibrationError("no_camera_info", "no CameraInfo came yet")
            # Images that came before the first CameraInfo were taken by the same camera.
            entry = self._entries[max(bisect_right(self._since_ns, time_ns) - 1, 0)]
        if isinstance(entry, CalibrationError):
            raise entry
        return entry

    def restart(self) -> None:
        """After a jump of time the newest calibration holds from the beginning."""
        with self._lock:
            del self._since_ns[:-1], self._entries[:-1]
            self._since_ns[:] = [0] * len(self._entries)

    def _read(self, info: Any) -> Camera | CalibrationError:
        try:
            return camera_from_info(info, self._camera)
        except ValueError as error:
            return CalibrationError("bad_camera_info", f"CameraInfo is refused: {error}")

    def _log(self, entry: Camera | CalibrationError, since_ns: int) -> None:
        # A refusal is logged when an image needs it.
        before = self._entries[-1] if self._entries else None
        if isinstance(before, Camera) and isinstance(entry, Camera):
            self._log_change(
                f"camera {self._camera!r}: new calibration from stamp {since_ns * 1e-9:.3f} on: "
                f"{_summary(before)} -> {_summary(entry)}"
            )


def checked_size(camera: Camera, image: NDArray[np.uint8]) -> None:
    """Raises CalibrationError that names both sizes when they differ."""
    height, width = image.shape[:2]
    if (width, height) != (camera.width, camera.height):
        raise CalibrationError(
            "size_mismatch",
            f"the image is {width}x{height}, the CameraInfo (after ROI and binning) is for "
            f"{camera.width}x{camera.height}",
        )


def _key(info: Any) -> tuple:
    roi = info.roi
    return (
        info.width,
        info.height,
        info.distortion_model,
        np.asarray(info.d, np.float64).tobytes(),
        np.asarray(info.k, np.float64).tobytes(),
        (info.binning_x, info.binning_y),
        (roi.x_offset, roi.y_offset, roi.width, roi.height),
        info.header.frame_id,
    )


def _summary(camera: Camera) -> str:
    fx, fy = camera.intrinsics[0, 0], camera.intrinsics[1, 1]
    return (
        f"{camera.width}x{camera.height} fx {fx:.1f} fy {fy:.1f} {camera.lens.model or 'no lens'}"
    )
