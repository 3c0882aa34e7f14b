"""ROS camera_info YAML, as camera_calibration and camera_info_manager write it: one camera."""

from __future__ import annotations

from pathlib import Path

from numpy.typing import ArrayLike

from flowface_ros.camera.camera import Camera
from flowface_ros.camera.camera_info import camera_from_values, info_values
from flowface_ros.camera.yaml_fields import Fields, dump_yaml, load_yaml, naming

_MATRICES = {
    "camera_matrix": ("k", 3, 3),
    "rectification_matrix": ("r", 3, 3),
    "projection_matrix": ("p", 3, 4),
}


def read_camera_info_yaml(
    path: str | Path,
    name: str | None = None,
    rig_from_camera: ArrayLike | None = None,
    frame: str = "",
) -> Camera:
    """The camera in a camera_info YAML; the format has no pose and no frame.

    name: instead of the file's camera_name. Rectification and projection matrix are not used.
    Raises OSError, or CameraFileError that names file and field.
    """
    fields = load_yaml(path)
    # Old files call it camera_model, or leave it out and mean plumb_bob.
    key = next((key for key in ("distortion_model", "camera_model") if key in fields), None)
    model = fields.text(key) if key else "plumb_bob"
    with naming(fields.path, ""):
        return camera_from_values(
            name or camera_name(fields),
            fields.integer("image_width"),
            fields.integer("image_height"),
            model,
            fields.matrix("distortion_coefficients"),
            fields.matrix("camera_matrix"),
            rig_from_camera=rig_from_camera,
            frame=frame,
        )


def write_camera_info_yaml(path: str | Path, camera: Camera) -> None:
    """Write a camera for camera_info_manager; its pose and frame are not kept."""
    values = info_values(camera)
    document = {
        "image_width": values["width"],
        "image_height": values["height"],
        "camera_name": camera.name,
        "distortion_model": values["distortion_model"],
        "distortion_coefficients": {
            "rows": 1,
            "cols": len(values["d"]),
            "data": values["d"].tolist(),
        },
    }
    for field, (key, rows, columns) in _MATRICES.items():
        document[field] = {"rows": rows, "cols": columns, "data": values[key].tolist()}
    dump_yaml(path, document)


def camera_name(fields: Fields) -> str:
    """What a file of one camera calls it, else the file's own name."""
    if "camera_name" not in fields:
        return fields.path.stem
    name = fields.get("camera_name")
    # Drivers write a serial number without quotes, which YAML takes for a number.
    return str(name) if isinstance(name, int) else fields.text("camera_name")
