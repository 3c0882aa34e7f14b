"""PLY files: ASCII and binary, vertices and faces."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1",
    "short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2",
    "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_FACE_LISTS = ("vertex_indices", "vertex_index")
_LONGEST_HEADER = 1 << 16


@dataclass
class _Property:
    name: str
    kind: str
    count_kind: str | None = None
    """Type of the length of a list; None for a single number."""


@dataclass
class _Element:
    name: str
    count: int
    properties: list[_Property] = field(default_factory=list)


def read_ply(path: Path) -> tuple[NDArray[np.float64], list[list[int]]]:
    """Vertices (V, 3) and polygons (rows of vertices). Raises ValueError that names the file."""
    data = path.read_bytes()
    try:
        order, elements, start = _header(data)
        if order:
            rows = _read_binary(data, start, order, elements)
        else:
            rows = _read_ascii(data[start:].decode("ascii").split(), elements)
        faces = rows.get("face", {})
        polygons: Any = next((faces[name] for name in _FACE_LISTS if name in faces), [])
        corners = [[int(i) for i in polygon] for polygon in polygons]
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise ValueError(f"{path}: not a PLY file that can be read: {error}") from None
    missing = [name for name in "xyz" if name not in rows.get("vertex", {})]
    if missing:
        raise ValueError(f"{path}: vertices have no {', '.join(missing)}")
    vertices = np.stack([np.asarray(rows["vertex"][name], np.float64) for name in "xyz"], axis=1)
    return vertices, corners


def write_ply(path: Path, vertices: NDArray[np.floating], triangles: NDArray[np.integer]) -> None:
    """Binary little-endian, float32."""
    header = (
        "ply\nformat binary_little_endian 1.0\n"
        f"element vertex {len(vertices)}\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face {len(triangles)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    faces = np.zeros(len(triangles), [("count", "u1"), ("corners", "<i4", 3)])
    faces["count"], faces["corners"] = 3, triangles
    path.write_bytes(header.encode() + np.asarray(vertices, "<f4").tobytes() + faces.tobytes())


def _header(data: bytes) -> tuple[str, list[_Element], int]:
    """Byte order ("" for text), elements and where the data begins."""
    end = data.find(b"end_header", 0, _LONGEST_HEADER)
    if not data.startswith(b"ply") or end < 0:
        raise ValueError("no PLY header")
    start = data.index(b"\n", end) + 1
    order: str | None = None
    elements: list[_Element] = []
    for line in data[:end].decode("ascii").splitlines()[1:]:
        words = line.split()
        if words[:1] == ["format"]:
            order = _ORDERS.get(words[1])
        elif words[:1] == ["element"]:
            elements.append(_Element(words[1], int(words[2])))
        elif words[:2] == ["property", "list"]:
            elements[-1].properties.append(_Property(words[4], _kind(words[3]), _kind(words[2])))
        elif words[:1] == ["property"]:
            elements[-1].properties.append(_Property(words[2], _kind(words[1])))
    if order is None:
        raise ValueError("unknown format")
    for element in elements:
        # A row has a byte at least: what promises more would be waited for in vain.
        if (element.count and not element.properties) or not 0 <= element.count <= len(data):
            raise ValueError(f"no {element.count} rows of {element.name!r}")
    return order, elements, start


def _kind(name: str) -> str:
    if name not in _TYPES:
        raise ValueError(f"unknown type {name!r}")
    return _TYPES[name]


_Rows = dict[str, dict[str, Any]]
"""Columns of each element by name: numbers, or a list for each row."""


def _read_ascii(words: list[str], elements: list[_Element]) -> _Rows:
    rows: _Rows = {}
    at = 0
    for element in elements:
        columns: dict[str, list] = {p.name: [] for p in element.properties}
        for _ in range(element.count):
            for p in element.properties:
                if p.count_kind is None:
                    columns[p.name].append(float(words[at]))
                    at += 1
                else:
                    length = _length(words[at])
                    columns[p.name].append([float(w) for w in words[at + 1 : at + 1 + length]])
                    at += 1 + length
        rows[element.name] = columns
    if at > len(words):
        raise ValueError("it is cut off")
    return rows


def _length(value: Any) -> int:
    length = int(value)
    if length < 0:
        raise ValueError(f"a list of length {length}")
    return length


def _read_binary(data: bytes, at: int, order: str, elements: list[_Element]) -> _Rows:
    rows: _Rows = {}
    for element in elements:
        if all(p.count_kind is None for p in element.properties):
            kind = np.dtype([(p.name, order + p.kind) for p in element.properties])
            table = np.frombuffer(data, kind, element.count, at)
            rows[element.name] = {p.name: table[p.name] for p in element.properties}
            at += table.nbytes
        else:
            rows[element.name], at = _read_lists(data, at, order, element)
    return rows


def _read_lists(data: bytes, at: int, order: str, element: _Element) -> tuple[dict[str, list], int]:
    columns: dict[str, list] = {p.name: [] for p in element.properties}
    for _ in range(element.count):
        for p in element.properties:
            length = 1
            if p.count_kind is not None:
                count = np.frombuffer(data, order + p.count_kind, 1, at)
                length, at = _length(count[0]), at + count.nbytes
            values = np.frombuffer(data, order + p.kind, length, at)
            columns[p.name].append(values[0] if p.count_kind is None else values.tolist())
            at += values.nbytes
    return columns, at
