"""Animated meshes with morph targets as binary glTF 2.0 files (.glb)."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FLOAT, _UINT32 = 5126, 5125
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963
_SHAPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
_MAGIC, _VERSION, _JSON, _BIN = 0x46546C67, 2, 0x4E4F534A, 0x004E4942
_Y_UP_FROM_Z_UP = (-np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5))
"""Quaternion xyzw: glTF's y points up, z in a frame of ROS."""


@dataclass(frozen=True, eq=False)
class MorphAnimation:
    """One mesh that moves and changes its shape.

    vertices: (V, 3) metres. normals: (V, 3). uv: (V, 2), v down. triangles: (F, 3).
    targets: displacements (V, 3) by name, at weight 1.
    times_s: (T,). weights: (T, targets). rotations: (T, 4) quaternions xyzw and translations
    (T, 3) of the mesh in the scene, whose z axis points up.
    """

    name: str
    vertices: NDArray[np.floating]
    normals: NDArray[np.floating]
    uv: NDArray[np.floating]
    triangles: NDArray[np.integer]
    targets: dict[str, NDArray[np.floating]]
    times_s: NDArray[np.floating]
    weights: NDArray[np.floating]
    rotations: NDArray[np.floating]
    translations: NDArray[np.floating]


def write_glb(path: Path, meshes: Sequence[MorphAnimation], generator: str) -> None:
    """All meshes under one root node, in one animation."""
    file = _Builder(generator)
    root = file.node(name="rig", rotation=[float(v) for v in _Y_UP_FROM_Z_UP])
    file.json["scenes"] = [{"nodes": [root]}]
    animation: dict[str, Any] = {"name": "tracking", "channels": [], "samplers": []}
    children = []
    for mesh in meshes:
        node = file.node(name=mesh.name, mesh=_add_mesh(file, mesh))
        children.append(node)
        _animate(file, animation, node, mesh)
    file.json["nodes"][root]["children"] = children
    file.json["animations"] = [animation]
    path.write_bytes(file.glb())


class _Builder:
    """The JSON part and the binary part of a file."""

    def __init__(self, generator: str) -> None:
        self.json: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": generator},
            "scene": 0,
            "nodes": [],
            "meshes": [],
            "materials": [
                {"name": "skin", "pbrMetallicRoughness": {
                    "baseColorFactor": [0.8, 0.62, 0.53, 1.0],
                    "metallicFactor": 0.0, "roughnessFactor": 0.7,
                }}
            ],
            "accessors": [],
            "bufferViews": [],
        }  # fmt: skip
        self._chunks: list[bytes] = []
        self._length = 0

    def node(self, **fields: Any) -> int:
        self.json["nodes"].append(fields)
        return len(self.json["nodes"]) - 1

    def accessor(self, values: NDArray, target: int | None = None, bounds: bool = False) -> int:
        """Index of an accessor of rows (N,) or (N, 2..4); integers become uint32."""
        integer = np.issubdtype(values.dtype, np.integer)
        array = np.ascontiguousarray(values, "<u4" if integer else "<f4")
        data = array.tobytes()
        view: dict[str, Any] = {"buffer": 0, "byteOffset": self._length, "byteLength": len(data)}
        if target is not None:
            view["target"] = target
        self._chunks.append(data)
        self._length += len(data)
        self.json["bufferViews"].append(view)
        width = 1 if array.ndim == 1 else array.shape[1]
        accessor: dict[str, Any] = {
            "bufferView": len(self.json["bufferViews"]) - 1,
            "componentType": _UINT32 if integer else _FLOAT,
            "count": len(array),
            "type": _SHAPES[width],
        }
        if bounds:
            rows = array.reshape(len(array), width)
            accessor["min"] = rows.min(axis=0).astype(float).tolist()
            accessor["max"] = rows.max(axis=0).astype(float).tolist()
        self.json["accessors"].append(accessor)
        return len(self.json["accessors"]) - 1

    def glb(self) -> bytes:
        """The file; chunks are padded to four bytes, text with spaces."""
        binary = b"".join(self._chunks)
        self.json["buffers"] = [{"byteLength": len(binary)}]
        text = json.dumps(self.json, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        total = 12 + 8 + len(text) + 8 + len(binary)
        return b"".join(
            [
                struct.pack("<III", _MAGIC, _VERSION, total),
                struct.pack("<II", len(text), _JSON),
                text,
                struct.pack("<II", len(binary), _BIN),
                binary,
            ]
        )


def _add_mesh(file: _Builder, mesh: MorphAnimation) -> int:
    attributes = {
        "POSITION": file.accessor(mesh.vertices, _ARRAY_BUFFER, bounds=True),
        "NORMAL": file.accessor(mesh.normals, _ARRAY_BUFFER),
        "TEXCOORD_0": file.accessor(mesh.uv, _ARRAY_BUFFER),
    }
    targets = [
        {"POSITION": file.accessor(shift, _ARRAY_BUFFER, bounds=True)}
        for shift in mesh.targets.values()
    ]
    primitive = {
        "attributes": attributes,
        "indices": file.accessor(mesh.triangles.reshape(-1), _ELEMENT_ARRAY_BUFFER),
        "material": 0,
        "targets": targets,
    }
    file.json["meshes"].append(
        {
            "name": mesh.name,
            "primitives": [primitive],
            "weights": [0.0] * len(targets),
            "extras": {"targetNames": list(mesh.targets)},
        }
    )
    return len(file.json["meshes"]) - 1


def _animate(file: _Builder, animation: dict[str, Any], node: int, mesh: MorphAnimation) -> None:
    times = file.accessor(mesh.times_s, bounds=True)
    for path, values in (
        ("weights", mesh.weights.reshape(-1)),
        ("rotation", mesh.rotations),
        ("translation", mesh.translations),
    ):
        sampler = {"input": times, "output": file.accessor(values), "interpolation": "LINEAR"}
        channel = {
            "sampler": len(animation["samplers"]),
            "target": {"node": node, "path": path},
        }
        animation["samplers"].append(sampler)
        animation["channels"].append(channel)
