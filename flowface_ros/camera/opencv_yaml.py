"""OpenCV FileStorage (YAML, XML or JSON), as OpenCV's calibration sample writes it: one camera."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
from numpy.typing import ArrayLike

from flowface_ros.camera.camera import Camera
from flowface_ros.camera.camera_info import camera_from_values
from flowface_ros.camera.camera_info_yaml import camera_name
from flowface_ros.camera.yaml_fields import CameraFileError, Fields, naming, parse_yaml

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
    fields = _load(Path(path))
    coefficients = fields.matrix("distortion_coefficients")
    if "fisheye_model" in fields and fields.numbers("fisheye_model") != 0:
        model = "equidistant"
    else:
        model = "rational_polynomial" if len(coefficients) >= _RATIONAL else "plumb_bob"
    with naming(fields.path, ""):
        return camera_from_values(
            name or camera_name(fields),
            fields.integer("image_width"),
            fields.integer("image_height"),
            model,
            coefficients,
            fields.matrix("camera_matrix"),
            rig_from_camera=rig_from_camera,
            frame=frame,
        )


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


def _load(path: Path) -> Fields:
    """The entries of a file. Not by OpenCV, whose parser a damaged file can crash."""
    content = path.read_bytes()
    if content.lstrip().startswith(b"<"):
        return Fields(path, _xml_values(path, content))
    text = content.decode("utf-8", errors="replace")
    # "%YAML:1.0" is OpenCV's own spelling.
    return Fields(path, parse_yaml(path, text.partition("\n")[2] if text[:5] == "%YAML" else text))


def _xml_values(path: Path, content: bytes) -> dict[str, Any]:
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise CameraFileError(path, "", f"not valid XML: {error}") from None
    return {entry.tag: _xml_value(path, entry) for entry in root}


def _xml_value(path: Path, entry: ElementTree.Element) -> Any:
    if entry.get("type_id") != "opencv-matrix":
        return parse_yaml(path, entry.text or "")
    values = {part.tag: parse_yaml(path, part.text or "") for part in entry if part.tag != "data"}
    return values | {"data": (entry.findtext("data") or "").split()}
