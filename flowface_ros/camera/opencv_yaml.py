"""OpenCV FileStorage (YAML, XML or JSON), as OpenCV's calibration sample writes it: one camera."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike

from flowface_ros.camera.camera import Camera
from flowface_ros.camera.camera_info import camera_from_values
from flowface_ros.camera.yaml_fields import Array, CameraFileError, naming

_RATIONAL = 8
"""From this many coefficients on OpenCV's model is the rational one."""


def read_opencv_yaml(
    path: str | Path,
    name: str | None = None,
    rig_from_camera: ArrayLike | None = None,
    frame: str = "",
) -> Camera:
    """The camera in a file with image_width, image_height, camera_matrix, distortion_coefficients.

    Which lens it is follows from `fisheye_model` (not 0: equidistant) and the number of
    coefficients. name: instead of the file's camera_name or the file's own name. Raises OSError,
    or CameraFileError that names file and field.
    """
    path = Path(path)
    with path.open("rb") as file:  # FileStorage only returns False for a file that is not there
        file.read(1)
    try:
        storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_READ)
    except (cv2.error, SystemError) as error:
        raise CameraFileError(path, "", f"not an OpenCV file: {_reason(error)}") from None
    if not storage.isOpened():
        raise CameraFileError(path, "", "not an OpenCV file")
    try:
        return _read(storage, path, name, rig_from_camera, frame)
    finally:
        storage.release()


def write_opencv_yaml(path: str | Path, camera: Camera) -> None:
    """Write a camera with OpenCV's FileStorage; its pose and frame are not kept."""
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_FORMAT_YAML)
    if not storage.isOpened():
        raise OSError(f"{path}: cannot be written")
    coefficients = camera.lens.coefficients
    storage.write("camera_name", camera.name)
    storage.write("image_width", int(camera.width))
    storage.write("image_height", int(camera.height))
    storage.write("fisheye_model", int(camera.lens.model == "equidistant"))
    storage.write("camera_matrix", camera.intrinsics)
    written = coefficients if coefficients.size else np.zeros(5)
    storage.write("distortion_coefficients", written.reshape(-1, 1))
    storage.release()


def _read(
    storage: cv2.FileStorage,
    path: Path,
    name: str | None,
    rig_from_camera: ArrayLike | None,
    frame: str,
) -> Camera:
    coefficients = _matrix(storage, path, "distortion_coefficients").reshape(-1)
    fisheye = storage.getNode("fisheye_model")
    if not fisheye.empty() and fisheye.real() != 0:
        model = "equidistant"
    else:
        model = "rational_polynomial" if len(coefficients) >= _RATIONAL else "plumb_bob"
    stored_name = storage.getNode("camera_name")
    with naming(path, ""):
        return camera_from_values(
            name or (stored_name.string() if stored_name.isString() else path.stem),
            _integer(storage, path, "image_width"),
            _integer(storage, path, "image_height"),
            model,
            coefficients,
            _matrix(storage, path, "camera_matrix"),
            rig_from_camera=rig_from_camera,
            frame=frame,
        )


def _integer(storage: cv2.FileStorage, path: Path, key: str) -> int:
    node = storage.getNode(key)
    if node.empty():
        raise CameraFileError(path, key, "is missing")
    if not node.isInt():
        raise CameraFileError(path, key, "must be a whole number")
    return int(node.real())


def _matrix(storage: cv2.FileStorage, path: Path, key: str) -> Array:
    node = storage.getNode(key)
    if node.empty():
        raise CameraFileError(path, key, "is missing")
    try:
        matrix = node.mat()
    except (cv2.error, SystemError) as error:
        raise CameraFileError(path, key, f"must be a matrix: {_reason(error)}") from None
    if matrix is None:
        raise CameraFileError(path, key, "must be a matrix")
    return np.asarray(matrix, np.float64)


def _reason(error: Exception) -> str:
    return str(getattr(error, "err", error)).strip()
