"""UV triangles of a head that was registered to an atlas with seams.

A triangle whose corners lie on both sides of a seam, or beside the atlas, shrinks to a point there:
no texel falls on it, so a texel never stands for a place other than its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flowface_ros.head.atlas import points_at_uv, uv_at_points
from flowface_ros.head.model import HeadModel
from flowface_ros.head.surface import SurfacePoints

_SLACK_M = 0.002
_SLACK_PER_LENGTH = 0.25
"""How far the middle of an edge in the atlas may lie from its middle in space: between two sides of
a seam it is a large part of the head away."""

_TESTED = np.array([[0.5, 0.5, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [1 / 3, 1 / 3, 1 / 3]])
"""Barycentric coordinates of the places of a triangle that are looked up in the atlas."""


def atlas_triangles(
    builtin: HeadModel,
    wrapped: NDArray[np.float64],
    points: SurfacePoints,
    triangles: NDArray[np.int32],
    on_atlas: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """uv (V, 2) and uv triangles (F, 3) of a mesh whose V vertices lie at points of the built-in.

    wrapped: vertices of the built-in head, wrapped onto the mesh, metres. triangles: (F, 3) of the
    mesh. on_atlas: (V,) whether the vertex's point is where the vertex is.
    """
    uv = uv_at_points(builtin, points)
    places = points.interpolate(builtin.triangles, wrapped)
    spans = on_atlas[triangles].all(axis=1) & _continuous(builtin, wrapped, uv, places, triangles)
    uv_triangles = triangles.astype(np.int32)
    uv_triangles[~spans] = triangles[~spans][:, :1]
    return np.clip(uv, 0, 1), uv_triangles


def _continuous(
    builtin: HeadModel,
    wrapped: NDArray[np.float64],
    uv: NDArray[np.float64],
    places: NDArray[np.float64],
    triangles: NDArray[np.int32],
) -> NDArray[np.bool_]:
    """(F,) whether the atlas between a triangle's corners is the surface between them."""
    corners = places[triangles]
    edges = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    allowed = _SLACK_PER_LENGTH * edges + _SLACK_M
    fits = np.ones(len(triangles), bool)
    for weights in _TESTED:
        found, exists = points_at_uv(builtin, np.einsum("k,fki->fi", weights, uv[triangles]))
        there = found.interpolate(builtin.triangles, wrapped)
        here = np.einsum("k,fki->fi", weights, corners)
        fits &= exists & (np.linalg.norm(there - here, axis=1) <= allowed)
    return fits
