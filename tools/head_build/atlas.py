"""The UV atlas: the skin as one island inside a superellipse, small islands in its corners.

Every disc-like island is a convex-combination map (Tutte, Floater): with positive weights and a
convex boundary no triangle can flip. The weights are changed until texel density is what we want.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from head_build.topology import Index
from numpy.typing import NDArray
from scipy.sparse.linalg import spsolve

Array = NDArray[np.float64]

DENSITY_STEPS = 60
DENSITY_RATE = 0.35
WEIGHT_RANGE = 1e4


@dataclass(frozen=True)
class Island:
    """triangles (F, 3) into `vertex`; vertex (n,) mesh vertex of each UV; loop (b,) outer rim."""

    triangles: Index
    vertex: Index
    loop: Index


def boundary_loops(triangles: Index) -> list[Index]:
    """Closed vertex loops of edges that belong to one triangle, in the triangles' direction."""
    edges = triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    known = {(a, b) for a, b in edges.tolist()}
    after = {a: b for a, b in edges.tolist() if (b, a) not in known}
    loops = []
    while after:
        start, loop = min(after), []
        vertex = start
        while vertex in after:
            loop.append(vertex)
            vertex = after.pop(vertex)
        loops.append(np.array(loop))
    return loops


def mean_value_weights(vertices: Array, triangles: Index) -> sp.csr_matrix:
    """(n, n) Floater's mean value weights tan(angle / 2) / length, all positive."""
    rows, columns, values = [], [], []
    for k in range(3):
        i, j, m = (triangles[:, (k + s) % 3] for s in range(3))
        a, b = vertices[j] - vertices[i], vertices[m] - vertices[i]
        la, lb = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
        cosine = (a * b).sum(axis=1) / np.maximum(la * lb, 1e-15)
        half = np.sqrt(np.maximum(1 - cosine, 1e-4) / np.maximum(1 + cosine, 1e-4))
        rows += [i, i]
        columns += [j, m]
        values += [half / np.maximum(la, 1e-5), half / np.maximum(lb, 1e-5)]
    size = len(vertices)
    return sp.csr_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), (size, size)
    )


def triangle_areas(points: Array, triangles: Index) -> Array:
    """(F,) areas of triangles of (n, 2 or 3) points."""
    a, b = points[triangles[:, 1]] - points[triangles[:, 0]], points[triangles[:, 2]] - points[triangles[:, 0]]
    if points.shape[1] == 2:
        return np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2
    return np.linalg.norm(np.cross(a, b), axis=1) / 2


def embed(
    vertices: Array, triangles: Index, loop: Index, rim: Array, density: Array, steps: int
) -> Array:
    """(n, 2) map of a disc with holes onto the convex `rim` (b, 2), its outer loop's places.

    density (F,): wanted texels per surface area, relative.
    """
    holes = [h for h in boundary_loops(triangles) if set(h.tolist()) != set(loop.tolist())]
    filled, points = [triangles], [vertices]
    size = len(vertices)
    for hole in holes:
        centre = np.full(len(hole), size)
        filled.append(np.stack([np.roll(hole, -1), hole, centre], axis=1))
        points.append(vertices[hole].mean(axis=0, keepdims=True))
        size += 1
    every, faces = np.concatenate(points), np.concatenate(filled)
    weights = mean_value_weights(every, faces).tocoo()
    row, column, weight = weights.row, weights.col, weights.data.copy()
    total = np.bincount(row, weight, size)
    weight /= total[row]
    in_hole = (row >= len(vertices)) | (column >= len(vertices))
    weight[in_hole] = np.where(row[in_hole] >= len(vertices), 1.0, 0.05)
    wanted = triangle_areas(vertices, triangles) * density
    wanted /= wanted.sum()
    inner = np.setdiff1d(np.arange(size), loop)
    uv = _solve(size, row, column, weight, inner, loop, rim)
    for _ in range(steps):
        got = triangle_areas(uv, triangles)
        got /= got.sum()
        have, want = (
            sum(np.bincount(triangles[:, k], a, size) for k in range(3)) for a in (got, wanted)
        )
        ratio = np.where(want > 0, (have + 1e-12) / (want + 1e-12), 1.0)
        factor = np.clip(ratio, 0.2, 5.0) ** DENSITY_RATE
        weight = weight * factor[column]
        weight /= np.bincount(row, weight, size)[row]
        weight = np.maximum(weight, 1 / WEIGHT_RANGE)
        uv = _solve(size, row, column, weight, inner, loop, rim)
    return uv[: len(vertices)]


def _solve(
    size: int, row: Index, column: Index, weight: Array, inner: Index, loop: Index, rim: Array
) -> Array:
    matrix = sp.csr_matrix((weight, (row, column)), (size, size))
    matrix = sp.diags(1 / np.asarray(matrix.sum(axis=1)).ravel()) @ matrix
    uv = np.zeros((size, 2))
    uv[loop] = rim
    system = (sp.identity(len(inner)) - matrix[inner][:, inner]).tocsc()
    uv[inner] = spsolve(system, matrix[inner][:, loop] @ rim)
    return uv
