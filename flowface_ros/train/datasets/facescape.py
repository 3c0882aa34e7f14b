"""FaceScape (Yang et al., CVPR 2020): topologically uniform models and multi-view pictures.

FOLDER/**/SUBJECT/models_reg/EXPRESSION.obj     the uniform models, millimetres
FOLDER/**/SUBJECT/EXPRESSION/params.json, VIEW.jpg
FOLDER/predef/landmark_indices.npz              from FaceScape's toolkit: v10, or v16 for the newer
                                                models, the vertices of iBUG's 68 landmarks
FOLDER/predef/Rt_scale_dict.json                from the toolkit: uniform from multi-view frame
EXPRESSION is like 1_neutral. Archives may be unpacked side by side, one level deeper.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowface_ros import rigid
from flowface_ros.camera.camera import Camera
from flowface_ros.camera.lens import Lens
from flowface_ros.head.mesh_files import MeshFile, read_mesh_file
from flowface_ros.head.model import HeadModel
from flowface_ros.head.surface import SurfacePoints
from flowface_ros.head.wrap import Anchors
from flowface_ros.train.datasets.captures import Capture, View, read_arrays
from flowface_ros.train.datasets.correspondence import (
    INNER_LANDMARKS,
    Correspondence,
    of_mesh,
)

Array = NDArray[np.float64]

_MM = 1e-3
_LANDMARKS = 68


class FacescapeCaptures:
    """See `CaptureSet`. points: of the built-in head. Only models with pictures count."""

    name = "FaceScape"

    def __init__(self, folder: Path, builtin: HeadModel, points: SurfacePoints) -> None:
        """Registers the topology once, to the first neutral model. Raises ValueError or OSError
        that names the file."""
        models = {
            (path.parts[-3], path.stem): path for path in sorted(folder.glob("**/models_reg/*.obj"))
        }
        shots = {path.parts[-3:-1]: path for path in sorted(folder.glob("**/params.json"))}
        self._pairs = [(models[key], shots[key]) for key in sorted(models) if key in shots]
        if not self._pairs:
            raise ValueError(
                f"{folder}: has no SUBJECT/models_reg/EXPRESSION.obj with a "
                f"SUBJECT/EXPRESSION/params.json"
            )
        self._frames_file = folder / "predef" / "Rt_scale_dict.json"
        self._frames = _read_json(self._frames_file)
        neutral = [pair[0] for pair in self._pairs if pair[0].stem.endswith("neutral")]
        first = (neutral or [self._pairs[0][0]])[0]
        mesh = read_mesh_file(first)
        self._triangles = mesh.triangles
        rows = _landmark_rows(folder / "predef" / "landmark_indices.npz", len(mesh.vertices))
        self._where = _registered(first, mesh, rows, builtin, points)

    def __len__(self) -> int:
        return len(self._pairs)

    def read(self, number: int) -> Capture:
        """See `CaptureSet`."""
        path, params = self._pairs[number]
        vertices = _MM * read_mesh_file(path).vertices
        places = self._where.places(path, vertices, self._triangles)
        pose, scale = self._uniform_frame(path)
        return Capture(vertices, self._triangles, places, read_views(params, pose, scale))

    def _uniform_frame(self, path: Path) -> tuple[Array, float]:
        subject, expression = path.parts[-3], path.stem.split("_")[0]
        try:
            scale, matrix = self._frames[subject][expression]
            matrix = np.array(matrix, np.float64)
            return rigid.transform(matrix[:3, :3], matrix[:3, 3]), float(scale)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ValueError(
                f"{self._frames_file}: nothing usable of {subject}, {expression}: {error!r}"
            ) from None


def read_views(params: Path, uniform_from_multiview: Array, scale: float) -> tuple[View, ...]:
    """The pictures beside a params.json that are there and marked as valid. The rig frame is that
    of the uniform models, in metres.

    uniform_from_multiview: (4, 4), its translation in millimetres, after multiplying by scale.
    Raises ValueError that names the file and the field.
    """
    content = _read_json(params)
    views = []
    for picture in sorted(params.parent.glob("*.jpg")):
        if not content.get(f"{picture.stem}_valid", False):
            continue
        try:
            entry = {
                name: content[f"{picture.stem}_{name}"]
                for name in ("K", "Rt", "distortion", "width", "height")
            }
            K = np.array(entry["K"], np.float64)[:3, :3]
            Rt = np.array(entry["Rt"], np.float64)[:3]
            distortion = np.array(entry["distortion"], np.float64).reshape(5)
            # In millimetres, of the frame that the multi-view models have.
            camera_from_multiview = rigid.transform(Rt[:, :3], scale * Rt[:, 3])
            pose = uniform_from_multiview @ rigid.inverse(camera_from_multiview)
            lens = Lens("plumb_bob", distortion) if distortion.any() else Lens()
            rig_from_camera = rigid.transform(pose[:3, :3], _MM * pose[:3, 3])
            camera = Camera(picture.stem, entry["width"], entry["height"], K, lens, rig_from_camera)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ValueError(f"{params}: view {picture.stem}: {error!r}") from None
        views.append(View(picture, camera))
    return tuple(views)


def _registered(
    path: Path,
    mesh: MeshFile,
    rows: NDArray[np.int64],
    builtin: HeadModel,
    points: SurfacePoints,
) -> Correspondence:
    vertices = _MM * mesh.vertices
    anchors = Anchors(builtin.landmarks["ibug68"][INNER_LANDMARKS], vertices[rows[INNER_LANDMARKS]])
    try:
        return of_mesh(builtin, vertices, mesh.triangles, anchors, points)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _landmark_rows(path: Path, vertex_count: int) -> NDArray[np.int64]:
    """(68,) vertices: the first set of the file that fits the models' vertex count."""
    arrays = read_arrays(path)
    for rows in (arrays[name].ravel() for name in ("v10", "v16") if name in arrays):
        if rows.shape == (_LANDMARKS,) and 0 <= rows.min() <= rows.max() < vertex_count:
            return rows.astype(np.int64)
    raise ValueError(f"{path}: has no {_LANDMARKS} vertices below {vertex_count} as v10 or v16")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: holds a {type(content).__name__}, must be an object")
    return content
