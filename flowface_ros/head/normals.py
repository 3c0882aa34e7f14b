"""Normals of triangle meshes."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


def vertex_normals(
    vertices: NDArray[np.floating], triangles: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Unit normals (V, 3) of vertices (V, 3), triangles (F, 3) weighted by their area.

    A vertex without area around it gets a zero normal.
    """
    points = np.ascontiguousarray(vertices, np.float64)
    return _vertex_normals(points, np.ascontiguousarray(triangles, np.int32))


def triangle_normals(
    vertices: NDArray[np.floating], triangles: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Normals (F, 3) of triangles (F, 3), as long as twice the triangle's area, m^2."""
    a, b, c = np.moveaxis(np.asarray(vertices, np.float64)[triangles], 1, 0)
    return np.cross(b - a, c - a)


@njit(cache=True)
def _vertex_normals(vertices, triangles):  # type: ignore[no-untyped-def]
    normals = np.zeros_like(vertices)
    for f in range(len(triangles)):
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            area = (vertices[b, j] - vertices[a, j]) * (vertices[c, k] - vertices[a, k])
            area -= (vertices[b, k] - vertices[a, k]) * (vertices[c, j] - vertices[a, j])
            normals[a, i] += area
            normals[b, i] += area
            normals[c, i] += area
    for v in range(len(normals)):
        length = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2)
        if length > 0:
            for i in range(3):
                normals[v, i] /= length
    return normals
