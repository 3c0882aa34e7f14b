"""The UV atlas: which surface point a place in the atlas is, and grids of such places.

Networks answer for the texels of a grid over the atlas. Row r, column c of a grid of size n has
its centre at uv = ((c + 0.5) / n, (r + 0.5) / n).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csr_array

from flowface_ros.head.model import HeadModel
from flowface_ros.head.surface import SurfacePoints

_EDGE = -1e-9
"""Lowest barycentric coordinate that is still inside: points on shared edges are in a triangle."""


@dataclass(frozen=True, eq=False)
class TexelGrid:
    """Texels of an atlas that lie on the skin.

    size: texels per side. valid: (size, size) bool. points: the N valid texels' centres on the
    surface, in row-major order.
    """

    size: int
    valid: NDArray[np.bool_]
    points: SurfacePoints

    @cached_property
    def index(self) -> NDArray[np.int32]:
        """(size, size) row of each texel in `points`, -1 where it is not valid."""
        index = np.full(self.valid.shape, -1, np.int32)
        index[self.valid] = np.arange(len(self.points), dtype=np.int32)
        return index

    @cached_property
    def uv(self) -> NDArray[np.float64]:
        """(N, 2) atlas coordinates of the valid texels."""
        return texel_centres(self.size)[self.valid]

    def to_image(self, values: NDArray, fill: float = np.nan) -> NDArray:
        """Values (N, ...) of the valid texels as a picture (size, size, ...)."""
        image = np.full((self.size, self.size, *values.shape[1:]), fill, np.result_type(values))
        image[self.valid] = values
        return image


def texel_centres(size: int) -> NDArray[np.float64]:
    """uv (size, size, 2) of the texels' centres."""
    steps = (np.arange(size) + 0.5) / size
    u, v = np.meshgrid(steps, steps)
    return np.stack([u, v], axis=-1)


def skin_triangles(model: HeadModel) -> NDArray[np.int32]:
    """Triangles (n,) of the outer skin, whose corners are all in the vertex group "skin".

    ValueError when the model has no such group.
    """
    if "skin" not in model.vertex_groups:
        raise ValueError(f"the head {model.name!r} has no vertex group 'skin'")
    on_skin = np.zeros(model.vertex_count, bool)
    on_skin[model.vertex_groups["skin"]] = True
    return np.flatnonzero(on_skin[model.triangles].all(axis=1)).astype(np.int32)


def texel_grid(model: HeadModel, size: int) -> TexelGrid:
    """The grid of size x size texels over the skin's island of the atlas."""
    if size < 1:
        raise ValueError(f"size is {size}, must be at least 1")
    points, found = points_at_uv(model, texel_centres(size).reshape(-1, 2), skin_triangles(model))
    return TexelGrid(size, found.reshape(size, size), points[found])


def points_at_uv(
    model: HeadModel, uv: NDArray[np.floating], triangles: NDArray[np.int32] | None = None
) -> tuple[SurfacePoints, NDArray[np.bool_]]:
    """Surface points of atlas places uv (N, 2), and whether there is one (N,).

    triangles: the triangles to look in; all when None. Where there is none, the point is
    meaningless. Where the atlas folds over itself, the triangle in which the place lies deepest.
    """
    chosen = np.arange(model.triangle_count, dtype=np.int32) if triangles is None else triangles
    corners = model.uv[model.uv_triangles[chosen]].astype(np.float64)
    places = np.ascontiguousarray(uv, np.float64).reshape(-1, 2)
    row, barycentric = _locate(corners, *_bins(corners), places)
    found = row >= 0
    triangle = np.where(found, chosen[row] if len(chosen) else 0, 0).astype(np.int32)
    return SurfacePoints(triangle, barycentric), found


def uv_at_points(model: HeadModel, points: SurfacePoints) -> NDArray[np.float64]:
    """Atlas coordinates (N, 2) of surface points."""
    return points.interpolate(model.uv_triangles, model.uv.astype(np.float64))


def vertex_points(model: HeadModel, vertices: NDArray[np.integer] | None = None) -> SurfacePoints:
    """Vertices (n,), all when None, as surface points: a corner of one triangle each.

    ValueError when one of them is in no triangle.
    """
    triangle = np.full(model.vertex_count, -1, np.int32)
    corner = np.zeros(model.vertex_count, np.int32)
    for k in range(3):
        triangle[model.triangles[:, k]] = np.arange(model.triangle_count)
        corner[model.triangles[:, k]] = k
    chosen = np.arange(model.vertex_count) if vertices is None else np.asarray(vertices)
    if np.any(triangle[chosen] < 0):
        raise ValueError(f"vertex {chosen[triangle[chosen] < 0][0]} is in no triangle")
    return SurfacePoints(triangle[chosen], np.eye(3)[corner[chosen]])


def texel_interpolation(
    model: HeadModel, grid: TexelGrid, points: SurfacePoints
) -> tuple[csr_array, NDArray[np.bool_]]:
    """Matrix (P, N) from values at the grid's N texels to values at P surface points.

    Bilinear in the atlas over the valid ones of the four texels around each point, its rows sum
    to 1. Also (P,) bool: False, and a row of zeros, where none of the four is valid.
    """
    place = uv_at_points(model, points) * grid.size - 0.5
    base = np.floor(place).astype(np.int64)
    share = place - base
    rows, columns, weights = [], [], []
    for down in (0, 1):
        for right in (0, 1):
            c, r = base[:, 0] + right, base[:, 1] + down
            inside = (c >= 0) & (r >= 0) & (c < grid.size) & (r < grid.size)
            index = np.where(inside, grid.index[np.where(inside, r, 0), np.where(inside, c, 0)], -1)
            weight = np.abs(1 - right - share[:, 0]) * np.abs(1 - down - share[:, 1])
            keep = np.flatnonzero((index >= 0) & (weight > 0))
            rows.append(keep)
            columns.append(index[keep])
            weights.append(weight[keep])
    row, weight = np.concatenate(rows), np.concatenate(weights)
    total = np.bincount(row, weight, len(points))
    shape = (len(points), len(grid.points))
    matrix = csr_array((weight / total[row], (row, np.concatenate(columns))), shape=shape)
    return matrix, total > 0


def _bins(corners: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int32], int]:
    """Which triangles (F, 3, 2) each cell of a coarse grid over the atlas may hold.

    Returns the cells' starts in a list of triangles, that list, and the cells per side.
    """
    side = max(1, int(np.sqrt(len(corners))))
    low = np.clip(np.floor(corners.min(axis=1, initial=np.inf) * side), 0, side - 1).astype(int)
    high = np.clip(np.floor(corners.max(axis=1, initial=-np.inf) * side), 0, side - 1).astype(int)
    counts = np.zeros(side * side + 1, np.int64)
    _count_cells(low, high, side, counts)
    starts = np.cumsum(counts)
    members = np.empty(starts[-1], np.int32)
    _fill_cells(low, high, side, starts[:-1].copy(), members)
    return starts, members, side


@njit(cache=True)
def _count_cells(low, high, side, counts):  # type: ignore[no-untyped-def]
    for f in range(len(low)):
        for r in range(low[f, 1], high[f, 1] + 1):
            for c in range(low[f, 0], high[f, 0] + 1):
                counts[r * side + c + 1] += 1


@njit(cache=True)
def _fill_cells(low, high, side, free, members):  # type: ignore[no-untyped-def]
    for f in range(len(low)):
        for r in range(low[f, 1], high[f, 1] + 1):
            for c in range(low[f, 0], high[f, 0] + 1):
                members[free[r * side + c]] = f
                free[r * side + c] += 1


@njit(cache=True)
def _locate(corners, starts, members, side, places):  # type: ignore[no-untyped-def]
    rows = np.full(len(places), -1, np.int64)
    barycentric = np.zeros((len(places), 3))
    weights = np.empty(3)
    for n in range(len(places)):
        u, v = places[n, 0], places[n, 1]
        if not (0 <= u <= 1 and 0 <= v <= 1):
            continue
        cell = min(int(v * side), side - 1) * side + min(int(u * side), side - 1)
        deepest = _EDGE
        for m in range(starts[cell], starts[cell + 1]):
            f = members[m]
            ax, ay = corners[f, 0, 0], corners[f, 0, 1]
            bx, by = corners[f, 1, 0] - ax, corners[f, 1, 1] - ay
            cx, cy = corners[f, 2, 0] - ax, corners[f, 2, 1] - ay
            double_area = bx * cy - by * cx
            if double_area == 0:
                continue
            weights[1] = ((u - ax) * cy - (v - ay) * cx) / double_area
            weights[2] = ((v - ay) * bx - (u - ax) * by) / double_area
            weights[0] = 1 - weights[1] - weights[2]
            depth = min(weights[0], weights[1], weights[2])
            if depth >= deepest:
                deepest = depth
                rows[n] = f
                barycentric[n] = weights
    return rows, barycentric
