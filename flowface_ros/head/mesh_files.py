"""Triangle meshes in OBJ and PLY files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flowface_ros.head.ply_file import read_ply, write_ply

SUFFIXES = (".obj", ".ply")


@dataclass(frozen=True, eq=False)
class MeshFile:
    """vertices: (V, 3) in the file's unit. triangles: (F, 3); polygons are cut into fans."""

    vertices: NDArray[np.float64]
    triangles: NDArray[np.int32]


def read_mesh_file(path: Path) -> MeshFile:
    """The mesh of an .obj or .ply file; texture, normals and colours are passed over.

    Raises ValueError that names the file and what is wrong.
    """
    suffix = path.suffix.lower()
    if suffix == ".obj":
        vertices, polygons = _read_obj(path)
    elif suffix == ".ply":
        vertices, polygons = read_ply(path)
    else:
        raise ValueError(f"{path}: meshes are read from {' and '.join(SUFFIXES)} files")
    if not len(vertices):
        raise ValueError(f"{path}: has no vertices")
    if not np.isfinite(vertices).all():
        raise ValueError(f"{path}: has vertices that are not finite")
    low = min((min(polygon, default=0) for polygon in polygons), default=0)
    high = max((max(polygon, default=0) for polygon in polygons), default=0)
    if low < 0 or high >= len(vertices):
        raise ValueError(f"{path}: faces use vertices {low} to {high}, there are {len(vertices)}")
    return MeshFile(vertices, _triangulated(polygons))


def read_surface_file(path: Path) -> MeshFile:
    """As `read_mesh_file`; raises ValueError for a point cloud, too."""
    mesh = read_mesh_file(path)
    if not len(mesh.triangles):
        raise ValueError(f"{path}: has no faces; a cloud of points is no surface")
    return mesh


def write_mesh_file(
    path: Path, vertices: NDArray[np.floating], triangles: NDArray[np.integer]
) -> None:
    """Write an .obj or (binary) .ply file, by the suffix."""
    suffix = path.suffix.lower()
    if suffix == ".obj":
        _write_obj(path, vertices, triangles)
    elif suffix == ".ply":
        write_ply(path, vertices, triangles)
    else:
        raise ValueError(f"{path}: meshes are written to {' and '.join(SUFFIXES)} files")


def _read_obj(path: Path) -> tuple[NDArray[np.float64], list[list[int]]]:
    vertices: list[list[float]] = []
    polygons: list[list[int]] = []
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            parts = line.split()
            try:
                if parts[:1] == ["v"]:
                    vertices.append([float(value) for value in parts[1:4]])
                    if len(vertices[-1]) != 3:
                        raise ValueError("a vertex needs three numbers")
                elif parts[:1] == ["f"]:
                    polygons.append([_obj_index(part, len(vertices)) for part in parts[1:]])
            except ValueError as error:
                raise ValueError(f"{path}: line {number}: {error}") from None
    return np.array(vertices, np.float64).reshape(-1, 3), polygons


def _obj_index(text: str, count: int) -> int:
    """Row of a face's corner such as 3, 3/1, 3//2 or -1 (the last so far)."""
    index = int(text.partition("/")[0])
    if index == 0:
        raise ValueError("faces count vertices from 1")
    return index - 1 if index > 0 else count + index


def _triangulated(polygons: list[list[int]]) -> NDArray[np.int32]:
    fans = [
        (polygon[0], polygon[i], polygon[i + 1])
        for polygon in polygons
        for i in range(1, len(polygon) - 1)
    ]
    return np.array(fans, np.int32).reshape(-1, 3)


def _write_obj(path: Path, vertices: NDArray[np.floating], triangles: NDArray[np.integer]) -> None:
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices]
    lines += [f"f {a} {b} {c}" for a, b, c in np.asarray(triangles) + 1]
    path.write_text("\n".join(lines) + "\n")
