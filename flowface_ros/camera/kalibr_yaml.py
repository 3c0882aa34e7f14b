"""Kalibr camchain YAML: pinhole cameras in a row, each with its pose relative to the one before."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from flowface_ros import rigid
from flowface_ros.camera.camera import Camera, intrinsics_matrix
from flowface_ros.camera.lens import Lens
from flowface_ros.camera.rig import Rig
from flowface_ros.camera.yaml_fields import Array, Fields, dump_yaml, load_yaml, naming

_MODELS = {"radtan": "plumb_bob", "equidistant": "equidistant", "none": "plumb_bob"}
_IMAGE_TOPICS = ("image", "compressed")
"""Beginnings of the last parts of an image topic, which are not part of the camera's name."""


def read_kalibr_yaml(path: str | Path, frame: str = "rig") -> Rig:
    """The rig of a camchain; its frame, which gets the given name, is that of the first camera.

    A camera is called as its rostopic without the image part (/left/image_raw: left) where that
    is given and tells all cameras apart, else cam0, cam1, ... Raises OSError, or CameraFileError
    that names file and field.
    """
    document = load_yaml(path)
    count = sum(1 for key in document.values if re.fullmatch(r"cam\d+", str(key)))
    keys = [f"cam{index}" for index in range(max(count, 1))]
    sections = [document.section(key) for key in keys]
    names = _names(keys, sections)
    rig_from_camera = np.eye(4)
    cameras = []
    for index, (section, name) in enumerate(zip(sections, names, strict=True)):
        if index > 0:
            step = section.numbers("T_cn_cnm1", 4, 4)
            rig_from_camera = rig_from_camera @ rigid.inverse(step)
        cameras.append(_camera(section, name, rig_from_camera))
    return Rig(tuple(cameras), frame)


def write_kalibr_yaml(path: str | Path, rig: Rig) -> None:
    """Write a camchain.

    The format keeps neither frame names nor the pose of the first camera, whose frame becomes the
    rig's. Raises ValueError for a lens that Kalibr has no name for, and for skew.
    """
    document: dict[str, Any] = {}
    before: Camera | None = None
    for index, camera in enumerate(rig):
        model, coefficients = _kalibr_lens(camera)
        intrinsics = camera.intrinsics
        if intrinsics[0, 1] != 0:
            raise ValueError(f"camera {camera.name!r} has skew; Kalibr's format has none")
        entry: dict[str, Any] = {
            "camera_model": "pinhole",
            "intrinsics": [float(intrinsics[at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2))],
            "distortion_model": model,
            "distortion_coeffs": coefficients,
            "resolution": [int(camera.width), int(camera.height)],
            "rostopic": f"/{camera.name}/image_raw",
        }
        if before is not None:
            entry["T_cn_cnm1"] = (camera.camera_from_rig @ before.rig_from_camera).tolist()
        document[f"cam{index}"] = entry
        before = camera
    dump_yaml(path, document)


def _camera(section: Fields, name: str, rig_from_camera: Array) -> Camera:
    if section.text("camera_model") != "pinhole":
        model = section.text("camera_model")
        raise section.error("camera_model", f"is {model!r}; only pinhole is supported")
    model = section.text("distortion_model")
    if model not in _MODELS:
        raise section.error("distortion_model", f"is {model!r}; known are {', '.join(_MODELS)}")
    coefficients = np.zeros(0)
    if model != "none":
        coefficients = section.numbers("distortion_coeffs", 4)
    fx, fy, cx, cy = section.numbers("intrinsics", 4)
    width, height = section.size("resolution")
    with naming(section.path, section.name):
        return Camera(
            name,
            width,
            height,
            intrinsics_matrix(fx, fy, cx, cy),
            Lens(_MODELS[model], coefficients),
            rig_from_camera,
        )


def _kalibr_lens(camera: Camera) -> tuple[str, list[float]]:
    lens = camera.lens
    coefficients = lens.coefficients
    if lens.model == "plumb_bob" and not coefficients.any():
        return "none", []
    if lens.model == "equidistant":
        return "equidistant", coefficients.tolist()
    if lens.model == "plumb_bob" and not coefficients[4:].any():
        return "radtan", coefficients[:4].tolist()
    raise ValueError(
        f"camera {camera.name!r}: {lens.model} with {len(coefficients)} coefficients "
        "cannot be written as radtan (k1 k2 p1 p2) or equidistant"
    )


def _names(keys: list[str], sections: list[Fields]) -> list[str]:
    names = []
    for section in sections:
        topic = section.text("rostopic") if "rostopic" in section else ""
        parts = [part for part in topic.split("/") if part]
        while parts and parts[-1].startswith(_IMAGE_TOPICS):
            parts.pop()
        names.append("/".join(parts))
    return names if all(names) and len(set(names)) == len(names) else keys
