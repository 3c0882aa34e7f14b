"""FaMoS (Bolkart et al., Instant Multi-View Head Capture through Learnable Registration, 2023).

FOLDER/flame.npz                                    `flowface head import FLAME.pkl --out ...`
FOLDER/registrations/SUBJECT/SEQUENCE/SEQUENCE.FRAME.ply     FLAME's topology, metres
FOLDER/*images*/SUBJECT/SEQUENCE/FRAME/SEQUENCE.FRAME.VIEW.png
FOLDER/*calibrations*/SUBJECT/SEQUENCE/VIEW.tka              Tsai's model, millimetres
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flowface_ros import rigid
from flowface_ros.camera.camera import Camera
from flowface_ros.camera.lens import Lens
from flowface_ros.head.mesh_files import read_mesh_file
from flowface_ros.head.model import HeadModel
from flowface_ros.head.model_file import read_head
from flowface_ros.head.surface import SurfacePoints
from flowface_ros.train.datasets.captures import Capture, View, read_picture, required_folder
from flowface_ros.train.datasets.correspondence import of_head

Array = NDArray[np.float64]

_MM = 1e-3
_FIELD = re.compile(r"\s*(\w+)\s*=\s*(.+?)\s*$")
_FIELDS = ("X", "Y", "Z", "f", "K", "x", "y", "a", "b", "IS")
_RADIUS_STEPS = 100


class FamosCaptures:
    """See `CaptureSet`. points: of the built-in head."""

    name = "FaMoS"

    def __init__(self, folder: Path, builtin: HeadModel, points: SurfacePoints) -> None:
        """Raises ValueError or OSError that names what is missing."""
        self._meshes = required_folder(folder / "registrations")
        self._images = _only_folder(folder, "images")
        self._calibrations = _only_folder(folder, "calibrations")
        head_file = folder / "flame.npz"
        if not head_file.exists():
            raise FileNotFoundError(
                f"{head_file}: missing; make it from your FLAME model with "
                f"'flowface head import FLAME.pkl --out {head_file}'"
            )
        head = read_head(head_file)
        self._triangles = head.triangles
        self._where = of_head(builtin, head, points)
        self._files = sorted(self._meshes.glob("*/*/*.ply"))
        if not self._files:
            raise ValueError(f"{self._meshes}: has no SUBJECT/SEQUENCE/SEQUENCE.FRAME.ply")

    def __len__(self) -> int:
        return len(self._files)

    def read(self, number: int) -> Capture:
        """See `CaptureSet`."""
        path = self._files[number]
        subject, sequence = path.parts[-3:-1]
        vertices = read_mesh_file(path).vertices
        places = self._where.places(path, vertices, self._triangles)
        frame = path.stem.removeprefix(f"{sequence}.")
        views = []
        for calibration in sorted((self._calibrations / subject / sequence).glob("*.tka")):
            name = f"{sequence}.{frame}.{calibration.stem}.png"
            picture = self._images / subject / sequence / frame / name
            if picture.exists():
                height, width = read_picture(picture).shape[:2]
                views.append(View(picture, read_tka(calibration).scaled(width, height)))
        return Capture(vertices, self._triangles, places, tuple(views))


def read_tka(path: Path) -> Camera:
    """A camera of the rig that FaMoS was taken with; the rig frame is in metres.

    Its file holds Tsai's model: M the rotation, X, Y, Z the camera's place (mm), f the focal
    length (mm), K and K2 the radial distortion by the distance on the sensor (mm), which leads
    from the distorted to the undistorted place, x and y the size of a pixel (mm), a and b the
    principal point (px), IS the picture's width and height.
    Raises ValueError that names the file and the field.
    """
    try:
        return _tsai_camera(path.stem, path.read_text(errors="replace").splitlines())
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path}: not a calibration: {error}") from None


def _tsai_camera(name: str, lines: list[str]) -> Camera:
    rows = [line.split() for line in lines[1:4]]
    if [len(row) for row in rows] != [3, 3, 3]:
        raise ValueError("lines 2 to 4 are not a rotation matrix")
    matrix = np.array(rows, np.float64)
    fields = {m[1]: m[2] for line in lines[4:] if (m := _FIELD.match(line))}
    if missing := [field for field in _FIELDS if field not in fields]:
        raise ValueError(f"has no {', '.join(missing)}")
    width, height = (int(v) for v in fields.pop("IS").split())
    value = {field: float(text) for field, text in fields.items()}
    if not np.isfinite([*matrix.flat, *value.values()]).all():
        raise ValueError("holds numbers that are not finite")
    for field in ("f", "x", "y"):
        if value[field] <= 0:
            raise ValueError(f"{field} is {value[field]}, must be positive")
    fx, fy = value["f"] / value["x"], value["f"] / value["y"]
    intrinsics = np.array([[fx, 0, value["a"]], [0, fy, value["b"]], [0, 0, 1]])
    k = [value["K"] * value["f"] ** 2, value.get("K2", 0.0) * value["f"] ** 4]
    radius = 0.5 * float(np.hypot(width / fx, height / fy))
    lens = (
        Lens("plumb_bob", np.array([*_forward_distortion(k, radius), 0, 0])) if any(k) else Lens()
    )
    u, _, vt = np.linalg.svd(matrix)
    place = _MM * np.array([value[axis] for axis in "XYZ"])
    return Camera(name, width, height, intrinsics, lens, rigid.transform((u @ vt).T, place))


def _forward_distortion(undistortion: list[float], radius: float) -> Array:
    """k1, k2 (2,) of r_distorted = r (1 + k1 r^2 + k2 r^4) nearest to the inverse of a polynomial
    r = r_distorted (1 + K r_distorted^2 + K2 r_distorted^4), up to a radius on the z = 1 plane."""
    distorted = np.linspace(0, radius, _RADIUS_STEPS + 1)[1:]
    factor = 1 + undistortion[0] * distorted**2 + undistortion[1] * distorted**4
    r = distorted * factor
    powers = np.stack([r**2, r**4], axis=1)
    return np.asarray(np.linalg.lstsq(powers, 1 / factor - 1, rcond=None)[0], np.float64)


def _only_folder(folder: Path, word: str) -> Path:
    found = sorted(p for p in folder.glob(f"*{word}*") if p.is_dir()) if folder.is_dir() else []
    if len(found) != 1:
        names = ", ".join(p.name for p in found) or "none"
        raise FileNotFoundError(f"{folder}: needs one folder named *{word}*, has {names}")
    return found[0]
