"""Closest points on a triangle mesh, where a match may also have to agree in other properties."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from flowface_ros.head.surface import SurfacePoints

_CANDIDATES = 32
"""Nearest samples whose triangles are tried. Each triangle has four, at its centre and edges."""


class ClosestPoints:
    """Look-up of the closest point on a mesh.

    vertices: (V, 3) metres. triangles: (F, 3). features: (F, D) of each triangle, or None.
    The cost of a match is its squared distance plus the squared difference of the features, so
    features are in metres: what a difference is worth.
    """

    def __init__(
        self,
        vertices: NDArray[np.floating],
        triangles: NDArray[np.int32],
        features: NDArray[np.floating] | None = None,
    ) -> None:
        self._corners = np.asarray(vertices, np.float64)[triangles]
        self._features = np.zeros((len(triangles), 0)) if features is None else features
        edges = (self._corners + np.roll(self._corners, -1, axis=1)) / 2
        samples = np.concatenate([self._corners.mean(axis=1, keepdims=True), edges], axis=1)
        self._tree = cKDTree(samples.reshape(-1, 3))

    def query(
        self, points: NDArray[np.float64], features: NDArray[np.floating] | None = None
    ) -> tuple[SurfacePoints, NDArray[np.float64]]:
        """Best matches (rows of the given triangles) of points (N, 3), and their places (N, 3).

        features: (N, D) of the points, as those of the triangles.
        """
        count = min(_CANDIDATES, self._tree.n)
        _, samples = self._tree.query(points, k=count)
        candidates = samples.reshape(len(points), count) // 4
        own = np.zeros((len(points), 0)) if features is None else features
        triangle, barycentric = _closest(
            np.ascontiguousarray(points, np.float64),
            np.ascontiguousarray(own, np.float64),
            self._corners,
            np.ascontiguousarray(self._features, np.float64),
            candidates,
        )
        places = (self._corners[triangle] * barycentric[..., None]).sum(axis=1)
        return SurfacePoints(triangle.astype(np.int32), barycentric), places


@njit(cache=True)
def _closest(points, own, corners, features, candidates):  # type: ignore[no-untyped-def]
    triangle = np.zeros(len(points), np.int64)
    barycentric = np.zeros((len(points), 3))
    weights = np.empty(3)
    for n in range(len(points)):
        best = np.inf
        for k in range(candidates.shape[1]):
            f = candidates[n, k]
            _closest_in_triangle(points[n], corners[f], weights)
            cost = 0.0
            for i in range(3):
                place = 0.0
                for c in range(3):
                    place += weights[c] * corners[f, c, i]
                cost += (points[n, i] - place) ** 2
            for d in range(own.shape[1]):
                cost += (own[n, d] - features[f, d]) ** 2
            if cost < best:
                best = cost
                triangle[n] = f
                barycentric[n] = weights
    return triangle, barycentric


@njit(cache=True)
def _dot(a, b, o, p):  # type: ignore[no-untyped-def]
    """(a - o) . (b - p)."""
    return (
        (a[0] - o[0]) * (b[0] - p[0])
        + (a[1] - o[1]) * (b[1] - p[1])
        + (a[2] - o[2]) * (b[2] - p[2])
    )


@njit(cache=True)
def _closest_in_triangle(p, corners, weights):  # type: ignore[no-untyped-def]
    """Barycentric weights (3,) of the closest point (Ericson, Real-Time Collision Detection)."""
    a, b, c = corners[0], corners[1], corners[2]
    d1, d2 = _dot(b, p, a, a), _dot(c, p, a, a)
    d3, d4 = _dot(b, p, a, b), _dot(c, p, a, b)
    d5, d6 = _dot(b, p, a, c), _dot(c, p, a, c)
    weights[:] = 0.0
    if d1 <= 0 and d2 <= 0:
        weights[0] = 1.0
    elif d3 >= 0 and d4 <= d3:
        weights[1] = 1.0
    elif d6 >= 0 and d5 <= d6:
        weights[2] = 1.0
    else:
        va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
        # Scans have triangles with two corners at one place: an edge without length is passed over.
        if vc <= 0 and d1 >= 0 and d3 <= 0 and d1 > d3:
            weights[1] = d1 / (d1 - d3)
            weights[0] = 1 - weights[1]
        elif vb <= 0 and d2 >= 0 and d6 <= 0 and d2 > d6:
            weights[2] = d2 / (d2 - d6)
            weights[0] = 1 - weights[2]
        elif va <= 0 and d4 >= d3 and d5 >= d6:
            weights[2] = (d4 - d3) / ((d4 - d3) + (d5 - d6))
            weights[1] = 1 - weights[2]
        else:
            total = va + vb + vc
            weights[1], weights[2] = vb / total, vc / total
            weights[0] = 1 - weights[1] - weights[2]
