"""Sequences of the Multiface data set (Wuu et al. 2022) from its published directory layout.

ENTITY/KRT                                        calibration of all cameras, millimetres
ENTITY/tracked_mesh/SEGMENT/FRAME.obj             topology
ENTITY/tracked_mesh/SEGMENT/FRAME.bin             float32 vertices in the head's frame, mm
ENTITY/tracked_mesh/SEGMENT/FRAME_transform.txt   world from head, 3x4 or 4x4, mm
ENTITY/images/SEGMENT/CAMERA/FRAME.png
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from flowface_ros import rigid
from flowface_ros.camera.camera import Camera
from flowface_ros.camera.lens import Lens
from flowface_ros.evaluate.moving_mesh import MovingMesh
from flowface_ros.head.mesh_files import SUFFIXES, read_surface_file

_MM = 1e-3
_LINES_PER_CAMERA = 8
"""Name, three rows of K, distortion, three rows of [R t]; a blank line follows."""


@dataclass(frozen=True, eq=False)
class MultifaceSegment:
    """One segment of one person; the rig frame is the data set's world, in metres.

    frames: T names, in order. mesh: the tracked mesh. cameras: those with images of the segment.
    """

    folder: Path
    name: str
    frames: tuple[str, ...]
    mesh: MovingMesh
    cameras: tuple[Camera, ...]

    def image(self, camera: str, frame: str) -> NDArray[np.uint8]:
        """RGB (H, W, 3). Raises FileNotFoundError."""
        return _read_image(self.folder / "images" / self.name / camera / f"{frame}.png")


def read_segment(entity: Path, name: str, views: tuple[str, ...] = ()) -> MultifaceSegment:
    """Read a segment, e.g. "E001_Neutral_Eyes_Open".

    views: only these cameras; all that have images when empty. Sizes come from the first image.
    Raises ValueError or OSError that names the file.
    """
    meshes = entity / "tracked_mesh" / name
    if not meshes.is_dir():
        raise FileNotFoundError(f"{meshes}: no such segment")
    frames = tuple(
        sorted(p.name.removesuffix("_transform.txt") for p in meshes.glob("*_transform.txt"))
    )
    if not frames:
        raise ValueError(f"{meshes}: has no FRAME_transform.txt")
    topology = read_surface_file(meshes / f"{frames[0]}.obj")
    vertices = [_world_vertices(meshes, frame, len(topology.vertices)) for frame in frames]
    return MultifaceSegment(
        entity,
        name,
        frames,
        MovingMesh(topology.triangles, vertices),
        _cameras(entity, name, views),
    )


def read_predicted_meshes(folder: Path, frames: tuple[str, ...]) -> MovingMesh:
    """A tracker's FRAME.obj or FRAME.ply files, metres in the rig frame; frames may be missing.

    Raises ValueError when there is none, or when they differ in topology.
    """
    files = [
        next((p for s in SUFFIXES if (p := folder / f"{frame}{s}").exists()), None)
        for frame in frames
    ]
    meshes = [None if file is None else read_surface_file(file) for file in files]
    known = [mesh for mesh in meshes if mesh is not None]
    if not known:
        raise ValueError(f"{folder}: has no mesh named after a frame, such as {frames[0]}.obj")
    triangles = known[0].triangles
    for file, mesh in zip(files, meshes, strict=True):
        if mesh is not None and not np.array_equal(mesh.triangles, triangles):
            raise ValueError(f"{file}: has other triangles than the first mesh of {folder}")
    return MovingMesh(triangles, [None if m is None else m.vertices for m in meshes])


def read_krt(path: Path) -> dict[str, tuple[NDArray, NDArray, NDArray]]:
    """K (3, 3), distortion (5,) and camera_from_world (4, 4), metres, by camera name.

    Raises ValueError that names the file, the camera and the block that does not fit.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or len(lines) % _LINES_PER_CAMERA:
        raise ValueError(f"{path}: {len(lines)} lines are not whole blocks of {_LINES_PER_CAMERA}")
    cameras = {}
    for first in range(0, len(lines), _LINES_PER_CAMERA):
        name, *block = lines[first : first + _LINES_PER_CAMERA]
        try:
            K = _rows(block[0:3], 3)
            distortion = _rows(block[3:4], 5)[0]
            pose = _nearest_rigid(_rows(block[4:7], 4))
        except ValueError as error:
            raise ValueError(f"{path}: camera {name}: {error}") from None
        cameras[name] = (K, distortion, pose)
    return cameras


def _rows(lines: list[str], columns: int) -> NDArray[np.float64]:
    rows = [[float(value) for value in line.split()] for line in lines]
    if any(len(row) != columns for row in rows):
        raise ValueError(f"expected {columns} numbers in each of {lines}")
    return np.array(rows)


def _nearest_rigid(pose_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """(4, 4) in metres with the nearest rotation: files hold few digits. ValueError for infinity,
    at which the decomposition may never end."""
    if not np.isfinite(pose_mm).all():
        raise ValueError(f"a pose must be finite, is {pose_mm.tolist()}")
    u, _, vt = np.linalg.svd(pose_mm[:3, :3])
    return rigid.transform(u @ vt, _MM * pose_mm[:3, 3])


def _world_vertices(folder: Path, frame: str, count: int) -> NDArray[np.float64]:
    path = folder / f"{frame}.bin"
    values = np.fromfile(path, np.float32)
    if values.size != 3 * count:
        raise ValueError(f"{path}: has {values.size} numbers, {3 * count} are needed")
    file = folder / f"{frame}_transform.txt"
    try:
        pose = np.loadtxt(file)
        if pose.shape not in ((3, 4), (4, 4)):
            raise ValueError(f"holds {pose.shape}, must be 3x4 or 4x4")
        world_from_head = _nearest_rigid(pose)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    return rigid.apply(world_from_head, _MM * values.reshape(-1, 3))


def _cameras(entity: Path, segment: str, views: tuple[str, ...]) -> tuple[Camera, ...]:
    krt = read_krt(entity / "KRT")
    images = entity / "images" / segment
    present = sorted(p.name for p in images.iterdir() if p.is_dir()) if images.is_dir() else []
    chosen = views or tuple(name for name in present if name in krt)
    if not chosen:
        raise ValueError(f"{images}: has no images of a camera in KRT")
    cameras = []
    for name in chosen:
        if name not in krt:
            raise ValueError(f"{entity / 'KRT'}: has no camera {name}")
        picture = next(iter(sorted((images / name).glob("*.png"))), None)
        if picture is None:
            raise FileNotFoundError(f"{images / name}: has no images")
        height, width = _read_image(picture).shape[:2]
        K, distortion, camera_from_world = krt[name]
        lens = Lens("plumb_bob", distortion) if distortion.any() else Lens()
        pose = rigid.inverse(camera_from_world)
        cameras.append(Camera(name, width, height, K, lens, pose))
    return tuple(cameras)


def _read_image(path: Path) -> NDArray[np.uint8]:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such image")
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{path}: cannot be read as an image")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
