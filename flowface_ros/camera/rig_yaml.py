"""The package's own rig file: all cameras, their lenses and poses. Described in docs/cameras.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from flowface_ros import rigid
from flowface_ros.camera.camera import Camera, intrinsics_matrix
from flowface_ros.camera.camera_info import camera_from_values
from flowface_ros.camera.camera_info_yaml import read_camera_info_yaml
from flowface_ros.camera.rig import Rig
from flowface_ros.camera.yaml_fields import Array, Fields, dump_yaml, load_yaml, naming

_CAMERA_KEYS = ("frame", "pose", "camera_info", "size", "intrinsics", "distortion")
_UNIT = 1e-3
"""How far a quaternion's norm may be from 1: they are written with some digits."""

_COMMENT = "# Cameras of a rig: pixels, metres; poses map points of the camera into the rig.\n"


def read_rig_yaml(path: str | Path) -> Rig:
    """The rig of a file as docs/cameras.md describes it.

    A `camera_info` entry is a path relative to the rig file. Raises OSError, or CameraFileError
    that names file and field.
    """
    document = load_yaml(path)
    document.only("frame", "cameras")
    cameras = document.section("cameras")
    if not cameras.values:
        raise document.error("cameras", "must hold at least one camera")
    read = [_camera(cameras.section(str(name)), str(name)) for name in _text_keys(cameras)]
    return Rig(tuple(read), document.text("frame"))


def write_rig_yaml(path: str | Path, rig: Rig) -> None:
    """Write a rig; `read_rig_yaml` gives the same one back. Raises ValueError for skew."""
    cameras: dict[str, Any] = {}
    for camera in rig:
        intrinsics, pose = camera.intrinsics, camera.rig_from_camera
        if intrinsics[0, 1] != 0:
            raise ValueError(f"camera {camera.name!r} has skew; a rig file has none")
        quaternion = Rotation.from_matrix(pose[:3, :3]).as_quat(canonical=True)
        cameras[camera.name] = {
            "frame": camera.frame,
            "size": [int(camera.width), int(camera.height)],
            "intrinsics": {
                "fx": float(intrinsics[0, 0]),
                "fy": float(intrinsics[1, 1]),
                "cx": float(intrinsics[0, 2]),
                "cy": float(intrinsics[1, 2]),
            },
            "distortion": {
                "model": camera.lens.model,
                "coefficients": camera.lens.coefficients.tolist(),
            },
            "pose": {
                "translation": pose[:3, 3].tolist(),
                "quaternion_xyzw": quaternion.tolist(),
            },
        }
    dump_yaml(path, {"frame": rig.frame, "cameras": cameras}, _COMMENT)


def _text_keys(section: Fields) -> list[str]:
    for key in section.values:
        if not isinstance(key, str):
            raise section.error(key, "must be text: write the camera's name in quotes")
    return list(section.values)


def _camera(section: Fields, name: str) -> Camera:
    section.only(*_CAMERA_KEYS)
    pose = _pose(section.section("pose"))
    frame = section.text("frame") if "frame" in section else ""
    with naming(section.path, section.name):
        if "camera_info" in section:
            for key in ("size", "intrinsics", "distortion"):
                if key in section:
                    raise section.error(key, "is given by camera_info already")
            calibration = section.path.parent / section.text("camera_info")
            return read_camera_info_yaml(calibration, name, pose, frame)
        width, height = section.size("size")
        model, coefficients = _distortion(section)
        return camera_from_values(
            name,
            width,
            height,
            model,
            coefficients,
            _intrinsics(section.section("intrinsics")),
            rig_from_camera=pose,
            frame=frame,
        )


def _intrinsics(section: Fields) -> Array:
    section.only("fx", "fy", "cx", "cy")
    return intrinsics_matrix(*(float(section.numbers(key)) for key in ("fx", "fy", "cx", "cy")))


def _distortion(section: Fields) -> tuple[str, Array]:
    if "distortion" not in section:
        return "", np.zeros(0)
    distortion = section.section("distortion")
    distortion.only("model", "coefficients")
    return distortion.text("model"), distortion.numbers("coefficients", None)


def _pose(section: Fields) -> Array:
    """rig_from_camera (4, 4) of a translation and either quaternion_xyzw or rpy."""
    section.only("translation", "quaternion_xyzw", "rpy")
    translation = section.numbers("translation", 3)
    if ("quaternion_xyzw" in section) == ("rpy" in section):
        raise section.error("quaternion_xyzw", "or rpy must be given, and not both")
    if "rpy" in section:
        # Roll, pitch, yaw about the rig's fixed axes x, y, z, as in URDF.
        rotation = Rotation.from_euler("xyz", section.numbers("rpy", 3))
        return rigid.transform(rotation.as_matrix(), translation)
    quaternion = section.numbers("quaternion_xyzw", 4)
    norm = np.linalg.norm(quaternion)
    if abs(norm - 1) > _UNIT:
        raise section.error("quaternion_xyzw", f"must have norm 1, has {norm:.4g}")
    return rigid.transform(Rotation.from_quat(quaternion).as_matrix(), translation)
