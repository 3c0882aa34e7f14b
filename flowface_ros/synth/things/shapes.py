"""Small meshes that hair, clothes, glasses and occluders are made of."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowface_ros.head.normals import vertex_normals


@dataclass(frozen=True)
class Mesh:
    """A mesh with its own texture coordinates.

    vertices: (n, 3) float64 metres. triangles: (f, 3) int32, counter-clockwise from outside.
    uv: (n, 2) float64.
    """

    vertices: NDArray[np.float64]
    triangles: NDArray[np.int32]
    uv: NDArray[np.float64]

    @property
    def normals(self) -> NDArray[np.float64]:
        """(n, 3) unit."""
        return vertex_normals(self.vertices, self.triangles)

    def moved(self, rotation: ArrayLike, translation: ArrayLike) -> Mesh:
        """The mesh after a rotation (3, 3) and a translation (3,)."""
        moved = self.vertices @ np.asarray(rotation, float).T + np.asarray(translation, float)
        return replace(self, vertices=moved)


def join(meshes: list[Mesh]) -> Mesh:
    """One mesh of several."""
    start = np.cumsum([0] + [len(m.vertices) for m in meshes])
    return Mesh(
        np.concatenate([m.vertices for m in meshes]),
        np.concatenate([m.triangles + s for m, s in zip(meshes, start, strict=False)]).astype(
            np.int32
        ),
        np.concatenate([m.uv for m in meshes]),
    )


def sheet(points: NDArray[np.float64], closed: bool = False, repeat: float = 1.0) -> Mesh:
    """A surface through a grid of points (rows, columns, 3).

    Its outside is that of columns to the right and rows down. closed: the last column meets the
    first, with a seam in uv. repeat: uv units along the columns.
    """
    if closed:
        points = np.concatenate([points, points[:, :1]], axis=1)
    rows, columns = points.shape[:2]
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b = index[:-1, :-1].ravel(), index[:-1, 1:].ravel()
    c, d = index[1:, :-1].ravel(), index[1:, 1:].ravel()
    triangles = np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])
    u, v = np.meshgrid(np.linspace(0, repeat, columns), np.linspace(0, repeat, rows))
    uv = np.stack([u, v], axis=-1).reshape(-1, 2)
    return Mesh(points.reshape(-1, 3).astype(float), triangles.astype(np.int32), uv)


def tube(
    path: NDArray[np.float64], radius: ArrayLike, sides: int = 6, closed: bool = False
) -> Mesh:
    """A tube around a path (n, 3) with radius (n,) or (n, 2): sideways and upwards (y)."""
    following = np.roll(path, -1, 0) if closed else np.vstack([path[1:], 2 * path[-1] - path[-2]])
    preceding = np.roll(path, 1, 0) if closed else np.vstack([2 * path[0] - path[1], path[:-1]])
    along = following - preceding
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-12
    steep = np.abs(along[:, 1:2]) > 0.97
    reference = np.where(steep, [[0.0, 0.0, 1.0]], [[0.0, 1.0, 0.0]])
    if closed:
        reference = np.broadcast_to([[0.0, 0.0, 1.0]], path.shape)
    side = np.cross(along, reference)
    side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-12
    up = np.cross(side, along)
    radii = np.asarray(radius, float)
    radii = np.broadcast_to(radii if radii.ndim == 2 else radii.reshape(-1, 1), (len(path), 2))
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    offsets = (
        np.cos(angle)[None, :, None] * (side * radii[:, :1])[:, None]
        + np.sin(angle)[None, :, None] * (up * radii[:, -1:])[:, None]
    )
    grid = path[:, None] + offsets
    if closed:
        grid = np.concatenate([grid, grid[:1]])
    return sheet(grid, closed=True)


def capsule(start: ArrayLike, end: ArrayLike, radius: float, end_radius: float) -> Mesh:
    """A rounded rod between two points; its radius changes along it."""
    a, b = np.asarray(start, float), np.asarray(end, float)
    axis = (b - a) / (np.linalg.norm(b - a) + 1e-12)
    bow = np.sin(np.linspace(0, np.pi / 2, 4))
    path, radii = [], []
    for s in bow[:-1]:
        path.append(a - axis * radius * (1 - s) * 0.9)
        radii.append(radius * np.sqrt(max(1 - (1 - s) ** 2, 0.0)))
    for s in (0.0, 0.33, 0.67, 1.0):
        path.append(a + (b - a) * s)
        radii.append(radius + (end_radius - radius) * s)
    for s in bow[::-1][1:]:
        path.append(b + axis * end_radius * (1 - s) * 0.9)
        radii.append(end_radius * np.sqrt(max(1 - (1 - s) ** 2, 0.0)))
    return tube(np.array(path), np.array(radii), sides=9)


def box(size: ArrayLike) -> Mesh:
    """A box of this size (3,) around the origin; every face has its own corners."""
    corners = np.array([[-1, 1], [-1, -1], [1, 1], [1, -1]]) / 2.0
    faces = []
    for axis in range(3):
        for sign in (1.0, -1.0):
            points = np.zeros((2, 2, 3))
            points[..., axis] = sign / 2
            u, v = (axis + 1) % 3, (axis + 2) % 3
            points[..., u] = corners[:, 0].reshape(2, 2) * sign
            points[..., v] = corners[:, 1].reshape(2, 2)
            faces.append(sheet(points.transpose(1, 0, 2)[:, ::-1] * np.asarray(size, float)))
    return _outward(join(faces))


def ellipsoid(radii: ArrayLike, rows: int = 12, columns: int = 18) -> Mesh:
    """An ellipsoid around the origin."""
    polar = np.linspace(0, np.pi, rows)[:, None]
    azimuth = np.linspace(0, 2 * np.pi, columns, endpoint=False)[None]
    points = np.stack(
        [
            np.sin(polar) * np.sin(azimuth),
            np.cos(polar) * np.ones_like(azimuth),
            np.sin(polar) * np.cos(azimuth),
        ],
        axis=-1,
    )
    return sheet(points * np.asarray(radii, float), closed=True)


def _outward(mesh: Mesh) -> Mesh:
    """A star-shaped mesh around the origin with every triangle turned outwards."""
    corners = mesh.vertices[mesh.triangles]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    inward = (normal * corners.mean(axis=1)).sum(axis=1) < 0
    triangles = mesh.triangles.copy()
    triangles[inward] = triangles[inward][:, ::-1]
    return replace(mesh, triangles=triangles)
