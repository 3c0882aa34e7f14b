"""Cameras from the values of a sensor_msgs/CameraInfo, and back. Nothing of ROS is imported."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from flowface_ros.camera.camera import Camera, scaled_intrinsics
from flowface_ros.camera.lens import Lens

RegionOfInterest = tuple[int, int, int, int]
"""x_offset, y_offset, width, height in pixels of the full, unbinned image. All zero: the whole."""


def camera_from_values(
    name: str,
    width: int,
    height: int,
    distortion_model: str,
    d: ArrayLike,
    k: ArrayLike,
    *,
    binning: tuple[int, int] = (0, 0),
    roi: RegionOfInterest = (0, 0, 0, 0),
    rig_from_camera: ArrayLike | None = None,
    frame: str = "",
) -> Camera:
    """The camera of the image as it arrives: cut to the region of interest, then binned.

    width, height, d, k: of the full-resolution sensor, k (9,) or (3, 3) row-major. Binning of 0
    and 1 both mean none. A binned pixel covers binning x binning sensor pixels, and its centre is
    theirs. R and P of a CameraInfo are not used: the tracker works on unrectified images.
    Raises ValueError that names the field.
    """
    matrix = np.asarray(k, np.float64)
    if matrix.size != 9:
        raise ValueError(f"K of camera {name!r} must have 9 values, got {matrix.size}")
    lens = Lens(distortion_model, np.asarray(d, np.float64))
    camera = Camera(name, width, height, matrix.reshape(3, 3), lens, frame=frame)
    if any(roi):
        camera = _cut(camera, roi)
    if max(binning) > 1 or min(binning) < 0:
        camera = _binned(camera, binning)
    return camera if rig_from_camera is None else camera.moved(rig_from_camera)


def camera_from_info(info: Any, name: str, rig_from_camera: ArrayLike | None = None) -> Camera:
    """The camera of a CameraInfo message, of rclpy or of rosbags. See `camera_from_values`."""
    roi = info.roi
    return camera_from_values(
        name,
        info.width,
        info.height,
        info.distortion_model,
        info.d,
        info.k,
        binning=(info.binning_x, info.binning_y),
        roi=(roi.x_offset, roi.y_offset, roi.width, roi.height),
        rig_from_camera=rig_from_camera,
        frame=info.header.frame_id,
    )


def info_values(camera: Camera) -> dict[str, Any]:
    """Fields of the CameraInfo that describes the camera, but header and roi (the whole image)."""
    projection = np.zeros((3, 4))
    projection[:, :3] = camera.intrinsics
    return {
        "width": int(camera.width),
        "height": int(camera.height),
        "distortion_model": camera.lens.model,
        "d": _padded(camera.lens),
        "k": camera.intrinsics.reshape(-1).copy(),
        "r": np.eye(3).reshape(-1),
        "p": projection.reshape(-1),
        "binning_x": 0,
        "binning_y": 0,
    }


def _padded(lens: Lens) -> np.ndarray:
    """Coefficients as other ROS nodes expect them: five zeros for a lens without distortion."""
    return lens.coefficients.copy() if lens.coefficients.size else np.zeros(5)


def _cut(camera: Camera, roi: RegionOfInterest) -> Camera:
    x, y, width, height = roi
    # A driver may send an offset alone, or a size alone; the rest of the image is then meant.
    width, height = width or camera.width - x, height or camera.height - y
    inside = x >= 0 and y >= 0 and x + width <= camera.width and y + height <= camera.height
    if not inside or width <= 0 or height <= 0:
        raise ValueError(
            f"roi of camera {camera.name!r} is x={x} y={y} {width}x{height}, "
            f"outside the image of {camera.width}x{camera.height}"
        )
    return camera.cropped(x, y, width, height)


def _binned(camera: Camera, binning: tuple[int, int]) -> Camera:
    if min(binning) < 0:
        raise ValueError(f"binning of camera {camera.name!r} is {binning}; must be >= 0")
    x, y = max(binning[0], 1), max(binning[1], 1)
    if camera.width < x or camera.height < y:
        raise ValueError(
            f"binning of camera {camera.name!r} is {binning}, more than {camera.width} x "
            f"{camera.height} pixels"
        )
    # The size is rounded down, so the factor is not the ratio of the sizes.
    intrinsics = scaled_intrinsics(camera.intrinsics, np.array([1 / x, 1 / y]))
    width, height = camera.width // x, camera.height // y
    return replace(camera, width=width, height=height, intrinsics=intrinsics)
