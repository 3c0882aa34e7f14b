"""The head's mesh as a linear map of the source's vertices: selection, neck cut, mirror."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from head_build import teeth
from head_build.source import DATA, Source
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]

SKIN, MOUTH, SOCKET_LEFT, SOCKET_RIGHT = 0, 1, 2, 3
EYE_LEFT, EYE_RIGHT, TEETH_UPPER, TEETH_LOWER, TONGUE = 4, 5, 6, 7, 8
PARTS = (
    "skin", "mouth_cavity", "left_socket", "right_socket", "left_eyeball", "right_eyeball",
    "upper_teeth", "lower_teeth", "tongue",
)  # fmt: skip
MIRRORED_PART = np.array([0, 1, 3, 2, 5, 4, 6, 7, 8])

NECK_PLANE_POINT = np.array([0.0, 0.597, 0.03])
NECK_PLANE_NORMAL = np.array([0.0, 0.955, 0.297])
"""The neck is cut across its axis, above the shoulders (source's frame, metres)."""
SNAP = 0.002
"""Vertices nearer than this (m) to the neck plane are moved onto it: no sliver triangles."""

EYE_RING_DEG = (6, 12, 18, 23.5, 28, 33, 39, 46, 54, 63, 74, 87, 102, 120, 145)
EYE_SEGMENTS = 28
IRIS_RING = 4


@dataclass(frozen=True)
class Topology:
    """V vertices = `combine` (V, N) @ source vertices (N, 3).

    triangles (F, 3), counter-clockwise from outside; part (F,), see `PARTS`; vertex_part (V,) the
    part of a vertex (skin where it is shared); mirror (V,); hem (n,) vertices of the neck's rim.
    """

    combine: sp.csr_matrix
    triangles: Index
    part: Index
    vertex_part: Index
    mirror: Index
    hem: Index

    def vertices(self, source_vertices: Array) -> Array:
        return np.asarray(self.combine @ source_vertices)

    def mirrored(self, displacement: Array) -> Array:
        """Values (V, 3, ...) as they look in a mirror."""
        sign = np.array([-1.0, 1.0, 1.0]).reshape(3, *(1,) * (displacement.ndim - 2))
        return displacement[self.mirror] * sign

    def symmetrised(self, displacement: Array) -> Array:
        return 0.5 * (displacement + self.mirrored(displacement))

    def part_vertices(self, part: int) -> Index:
        return np.unique(self.triangles[self.part == part])


def build_topology(source: Source, shape: Array) -> Topology:
    """The head's mesh; `shape` (N, 3) is the source shape that decides where the neck is cut."""
    triangles, part = _source_triangles(source, shape)
    triangles, part, edges = _cut(triangles, part, shape, source.mirror)
    used, triangles = np.unique(triangles, return_inverse=True)
    triangles = triangles.reshape(-1, 3)
    total = len(shape)
    rows, columns, values = [], [], []
    for row, vertex in enumerate(used):
        ends = {int(vertex): 1.0} if vertex < total else edges[int(vertex)]
        rows += [row] * len(ends)
        columns += list(ends)
        values += list(ends.values())
    skin = sp.csr_matrix((values, (rows, columns)), (len(used), total))
    blocks, faces, parts, offset = [skin], [triangles], [part], len(used)
    for label, (group, count, own) in _rigid_parts().items():
        blocks.append(_rigid_map(source.vertex_groups[group], count, total))
        faces.append(own + offset)
        parts.append(np.full(len(own), label))
        offset += count
    combine = sp.vstack(blocks).tocsr()
    all_faces, all_parts = np.concatenate(faces), np.concatenate(parts)
    mirror = _mirror_of(
        _distinct(np.asarray(combine @ shape), all_faces, all_parts), all_faces, all_parts
    )
    vertex_part = np.full(combine.shape[0], SKIN)
    for label in range(len(PARTS) - 1, -1, -1):
        vertex_part[all_faces[all_parts == label]] = label
    distance = (np.asarray(combine @ shape) - NECK_PLANE_POINT) @ NECK_PLANE_NORMAL
    hem = np.flatnonzero((np.abs(distance) < SNAP) & (vertex_part == SKIN))
    hem = hem[np.isin(hem, boundary_vertices(all_faces[all_parts <= SOCKET_RIGHT]))]
    return Topology(combine, all_faces, all_parts, vertex_part, mirror, hem)


def boundary_vertices(triangles: Index) -> Index:
    """Vertices of edges that belong to one triangle only."""
    edges = np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    unique, count = np.unique(edges, axis=0, return_counts=True)
    return np.unique(unique[count == 1])


def edge_average(triangles: Index, count: int) -> sp.csr_matrix:
    """(V, V) matrix that averages over the neighbours of a vertex."""
    edges = np.unique(np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)
    both = np.concatenate([edges, edges[:, ::-1]])
    graph = sp.csr_matrix((np.ones(len(both)), both.T), (count, count))
    return sp.csr_matrix(sp.diags(1 / np.maximum(np.asarray(graph.sum(axis=1)).ravel(), 1)) @ graph)


def _source_triangles(source: Source, shape: Array) -> tuple[Index, Index]:
    """Triangles and parts of the body's and tongue's quads, split the same way on both sides."""
    _, polygons, groups = source.mesh
    body = np.array([q for q, group in zip(polygons, groups, strict=True) if group == "body"])
    tongue = np.array(
        [q for q, group in zip(polygons, groups, strict=True) if group == "helper-tongue"]
    )
    quad = np.concatenate([body, tongue])
    part = np.concatenate([_body_parts(source, body), np.full(len(tongue), TONGUE)])
    middle = shape[quad][..., 0].mean(axis=1)
    left = quad[middle > 0]
    part_left = part[middle > 0]
    a, b, c, d = (shape[left[:, k]] for k in range(4))
    first = np.linalg.norm(a - c, axis=1) <= np.linalg.norm(b - d, axis=1)
    split = np.where(
        first[:, None, None], left[:, [[0, 1, 2], [0, 2, 3]]], left[:, [[0, 1, 3], [1, 2, 3]]]
    ).reshape(-1, 3)
    mirrored = source.mirror[split][:, ::-1]
    part_left = np.repeat(part_left, 2)
    return np.concatenate([split, mirrored]), np.concatenate([part_left, MIRRORED_PART[part_left]])


def _body_parts(source: Source, body: Index) -> Index:
    """The source's own UV islands tell skin, mouth cavity and eye sockets apart."""
    corners, group = [], ""
    for line in source.read(DATA + "3dobjs/base.obj").decode().splitlines():
        if line.startswith("g "):
            group = line[2:].strip()
        elif line.startswith("f ") and group == "body":
            corners.append([int(corner.split("/")[1]) for corner in line[2:].split()])
    uv = np.array(corners)
    count = uv.max() + 1
    pairs = uv[:, [0, 1, 1, 2, 2, 3]].reshape(-1, 2)
    graph = sp.coo_matrix((np.ones(len(pairs)), pairs.T), (count, count))
    island = sp.csgraph.connected_components(graph, directed=False)[1][uv[:, 0]]
    part = np.full(len(body), SKIN)
    vertices = source.mesh[0]
    for label in np.unique(island):
        quads = np.flatnonzero(island == label)
        points = vertices[np.unique(body[quads])]
        centre = points.mean(axis=0)
        if np.ptp(points, axis=0).max() < 0.2 and centre[1] > 0.6 and points[:, 1].max() < 0.8:
            side = SOCKET_LEFT if centre[0] > 0 else SOCKET_RIGHT
            part[quads] = MOUTH if abs(centre[0]) < 0.005 else side
    return part


def _cut(
    triangles: Index, part: Index, shape: Array, mirror: Index
) -> tuple[Index, Index, dict[int, dict[int, float]]]:
    """Clips the triangles at the neck plane and keeps the head's side.

    Returns triangles, parts and, for every new vertex, its source vertices with weights.
    """
    distance = (shape - NECK_PLANE_POINT) @ NECK_PLANE_NORMAL
    distance[np.abs(distance) < SNAP] = 0.0
    new: dict[tuple[int, int], int] = {}
    weights: dict[int, dict[int, float]] = {}

    def crossing(a: int, b: int) -> int:
        key = (min(a, b), max(a, b))
        if key not in new:
            new[key] = len(shape) + len(new)
            t = distance[key[0]] / (distance[key[0]] - distance[key[1]])
            weights[new[key]] = {key[0]: 1 - t, key[1]: t}
        return new[key]

    kept, labels = [], []
    for corners, label in zip(triangles.tolist(), part.tolist(), strict=True):
        side = distance[corners]
        if (side <= 0).all():
            continue
        polygon = []
        for k in range(3):
            a, b = corners[k], corners[(k + 1) % 3]
            if distance[a] >= 0:
                polygon.append(a)
            if distance[a] * distance[b] < 0:
                polygon.append(crossing(a, b))
        for k in range(1, len(polygon) - 1):
            kept.append([polygon[0], polygon[k], polygon[k + 1]])
            labels.append(label)
    faces, parts = np.array(kept), np.array(labels)
    keep = _with_face(faces, parts)
    return faces[keep], parts[keep], weights


def _with_face(faces: Index, parts: Index) -> NDArray[np.bool_]:
    """The body component that has the mouth cavity, and the tongue."""
    size = faces.max() + 1
    pairs = faces[:, [0, 1, 1, 2]].reshape(-1, 2)
    graph = sp.coo_matrix((np.ones(len(pairs)), pairs.T), (size, size))
    component = sp.csgraph.connected_components(graph, directed=False)[1][faces[:, 0]]
    return (component == component[parts == MOUTH][0]) | (parts >= TEETH_UPPER)


def eyeball_directions(mirrored: bool) -> Array:
    """Unit vectors (n, 3) of an eyeball's vertices; the first looks along +z, the gaze."""
    polar = np.radians(EYE_RING_DEG)[:, None]
    azimuth = np.arange(EYE_SEGMENTS) * (2 * np.pi / EYE_SEGMENTS)
    x, y = np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth)
    rings = np.stack([x, y, np.cos(polar) * np.ones_like(x)], axis=-1).reshape(-1, 3)
    directions = np.concatenate([[[0, 0, 1]], rings, [[0, 0, -1]]])
    return directions * [-1, 1, 1] if mirrored else directions


def eyeball_triangles(mirrored: bool) -> Index:
    """Triangles of an eyeball's vertices, counter-clockwise from outside."""
    n, rings = EYE_SEGMENTS, len(EYE_RING_DEG)
    faces = []
    for k in range(n):
        after = (k + 1) % n
        faces.append([0, 1 + k, 1 + after])
        for ring in range(rings - 1):
            a, b = 1 + ring * n + k, 1 + ring * n + after
            faces += [[a, a + n, b + n], [a, b + n, b]]
        last = 1 + (rings - 1) * n
        faces.append([last + k, 1 + rings * n, last + after])
    triangles = np.array(faces)
    return triangles[:, ::-1] if mirrored else triangles


def _rigid_parts() -> dict[int, tuple[str, int, Index]]:
    """Label -> the source group that it moves with, vertex count and triangles of our own parts."""
    balls = len(eyeball_directions(False))
    rows = teeth.ROWS * teeth.COLUMNS
    return {
        EYE_LEFT: ("helper-l-eye", balls, eyeball_triangles(mirrored=False)),
        EYE_RIGHT: ("helper-r-eye", balls, eyeball_triangles(mirrored=True)),
        TEETH_UPPER: ("helper-upper-teeth", rows, teeth.arch_triangles(upper=True)),
        TEETH_LOWER: ("helper-lower-teeth", rows, teeth.arch_triangles(upper=False)),
    }


def _rigid_map(group: Index, count: int, source_size: int) -> sp.csr_matrix:
    """(count, source_size): every vertex moves with the mean of the source's group."""
    columns = np.tile(group, count)
    rows = np.repeat(np.arange(count), len(group))
    return sp.csr_matrix(
        (np.full(len(rows), 1 / len(group)), (rows, columns)), (count, source_size)
    )


def _distinct(vertices: Array, triangles: Index, part: Index) -> Array:
    """The vertices with eyeballs and teeth in their own shape, so that no two coincide."""
    vertices = vertices.copy()
    shapes = {
        EYE_LEFT: eyeball_directions(mirrored=False),
        EYE_RIGHT: eyeball_directions(mirrored=True),
        TEETH_UPPER: teeth.arch(upper=True),
        TEETH_LOWER: teeth.arch(upper=False),
    }
    for label, shape in shapes.items():
        vertices[np.unique(triangles[part == label])] += shape
    return vertices


def _mirror_of(vertices: Array, triangles: Index, part: Index) -> Index:
    """The vertex at the mirrored place, within the same (mirrored) part."""
    from scipy.spatial import cKDTree

    mirror = np.arange(len(vertices))
    for label in range(len(PARTS)):
        own = np.unique(triangles[part == label])
        other = np.unique(triangles[part == MIRRORED_PART[label]])
        found = cKDTree(vertices[other] * [-1, 1, 1]).query(vertices[own])
        distance, nearest = np.asarray(found[0]), np.asarray(found[1])
        if distance.max() > 1e-4:
            raise RuntimeError(f"{PARTS[label]} is not symmetric: {distance.max():.2e} m")
        mirror[own] = other[nearest]
    if not (mirror[mirror] == np.arange(len(mirror))).all():
        raise RuntimeError("the mirror map is not an involution")
    return mirror
