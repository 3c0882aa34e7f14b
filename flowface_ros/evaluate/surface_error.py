"""Distances between a predicted and a true surface."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flowface_ros import rigid
from flowface_ros.head.closest import ClosestPoints

Array = NDArray[np.float64]

_ICP_STEPS = 20
_ICP_STILL_M = 1e-7
"""Alignment ends when a step moves points by less than this on average."""


def rigid_alignment(source: NDArray[np.floating], target: NDArray[np.floating]) -> Array:
    """target_from_source (4, 4), the rotation and translation that bring points (N, 3) nearest to
    their counterparts (N, 3) in the least-squares sense (Kabsch)."""
    a, b = np.asarray(source, np.float64), np.asarray(target, np.float64)
    centre_a, centre_b = a.mean(axis=0), b.mean(axis=0)
    u, _, vt = np.linalg.svd((a - centre_a).T @ (b - centre_b))
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * sign @ vt).T
    return rigid.transform(rotation, centre_b - rotation @ centre_a)


def similarity_alignment(
    source: NDArray[np.floating], target: NDArray[np.floating]
) -> tuple[Array, float]:
    """Rigid transform (4, 4) and scale s with target = transform(s source), least squares
    (Umeyama)."""
    a, b = np.asarray(source, np.float64), np.asarray(target, np.float64)
    turn = rigid_alignment(a, b)[:3, :3]
    centred_a, centred_b = a - a.mean(axis=0), b - b.mean(axis=0)
    scale = float(np.sum(centred_b * (centred_a @ turn.T)) / np.sum(centred_a**2))
    return rigid.transform(turn, b.mean(axis=0) - scale * turn @ a.mean(axis=0)), scale


def vertex_distances(truth: NDArray[np.floating], prediction: NDArray[np.floating]) -> Array:
    """(V,) metres between vertices of one topology."""
    return np.linalg.norm(np.asarray(prediction, np.float64) - truth, axis=1)


def aligned_vertex_distances(
    truth: NDArray[np.floating], prediction: NDArray[np.floating]
) -> Array:
    """As `vertex_distances`, after the prediction was brought rigidly onto the truth."""
    moved = rigid.apply(rigid_alignment(prediction, truth), prediction)
    return vertex_distances(truth, moved)


def scan_to_mesh_distances(
    scan: NDArray[np.floating], vertices: NDArray[np.floating], triangles: NDArray[np.int32]
) -> Array:
    """(N,) metres from scan points (N, 3) to the nearest point of a mesh."""
    points = np.asarray(scan, np.float64)
    _, places = ClosestPoints(vertices, triangles).query(points)
    return np.linalg.norm(places - points, axis=1)


def aligned_scan_to_mesh_distances(
    scan: NDArray[np.floating],
    vertices: NDArray[np.floating],
    triangles: NDArray[np.int32],
    start: NDArray[np.floating] | None = None,
) -> Array:
    """As `scan_to_mesh_distances`, after the scan was brought rigidly onto the mesh (ICP).

    start: mesh_from_scan (4, 4) to begin with, e.g. from landmarks; the identity when None.
    """
    closest = ClosestPoints(vertices, triangles)
    points = np.asarray(scan, np.float64)
    if start is not None:
        points = rigid.apply(start, points)
    for _ in range(_ICP_STEPS):
        _, places = closest.query(points)
        moved = rigid.apply(rigid_alignment(points, places), points)
        step = np.linalg.norm(moved - points, axis=1).mean()
        points = moved
        if step < _ICP_STILL_M:
            break
    _, places = closest.query(points)
    return np.linalg.norm(places - points, axis=1)
