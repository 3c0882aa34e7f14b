"""A z-buffer in numba: which triangle is seen at every pixel, where on it, and how far away."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

SUBPIXEL_BITS = 12
"""Vertices are snapped to 1/4096 px, so that edge functions are exact integers and triangles that
share an edge neither overlap nor leave a gap."""

_MAX_COORDINATE_PX = 1 << 17
"""Triangles with a vertex further out than this are skipped: their products overflow int64."""

LANES = 16
"""Pixels of a row that are tested at once; of wider rows, only what the triangle covers."""

DEFAULT_NEAR_M = 0.01
"""Triangles with a vertex nearer than this are skipped whole."""


@dataclass(frozen=True)
class Fragments:
    """What is seen at each pixel.

    triangle: (H, W) int32, row of the triangle array, -1 where nothing is seen.
    barycentric: (H, W, 3) float32, perspective-correct weights of its corners; 0 where nothing is.
    depth: (H, W) float32 metres along the optical axis; infinity where nothing is.
    """

    triangle: NDArray[np.int32]
    barycentric: NDArray[np.float32]
    depth: NDArray[np.float32]


def rasterize(
    vertices_px: NDArray[np.floating],
    triangles: NDArray[np.integer],
    width: int,
    height: int,
    cull_back_faces: bool = False,
) -> Fragments:
    """The nearest triangle at every pixel centre; pixel (0, 0)'s centre is at (0, 0).

    vertices_px: (V, 3) x px, y px, z metres (depth along the optical axis).
    triangles: (F, 3) vertex indices; several meshes are drawn together by concatenation.
    cull_back_faces: skip triangles that turn clockwise in the image (y down), which is the back
        of a mesh whose triangles are counter-clockwise seen from outside.

    A triangle with any vertex nearer than 1 cm, not finite, or more than 131072 px off is skipped
    whole, not clipped.
    Edges follow the top-left rule: a pixel centre on an edge shared by two triangles belongs to
    exactly one of them. At equal depth the lower triangle index wins.
    """
    vertices, faces = _checked(vertices_px, triangles, width, height)
    triangle = np.full((height, width), -1, np.int32)
    inverse_depth = np.zeros((height, width), np.float32)
    fill_triangles(vertices, faces, cull_back_faces, triangle, inverse_depth)
    barycentric = np.zeros((height, width, 3), np.float32)
    depth = np.full((height, width), np.inf, np.float32)
    interpolate_visible(vertices, faces, triangle, barycentric, depth)
    return Fragments(triangle, barycentric, depth)


def interpolate(
    fragments: Fragments, triangles: NDArray[np.integer], vertex_values: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Vertex values (V, C) at the seen points, (H, W, C) float32; 0 where nothing is seen."""
    values = np.ascontiguousarray(vertex_values, np.float32)
    faces = np.ascontiguousarray(triangles, np.int32)
    out = np.zeros((*fragments.triangle.shape, values.shape[1]), np.float32)
    _interpolate_values(fragments.triangle, fragments.barycentric, faces, values, out)
    return out


def _checked(
    vertices_px: NDArray[np.floating], triangles: NDArray[np.integer], width: int, height: int
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    vertices = np.ascontiguousarray(vertices_px, np.float32)
    faces = np.ascontiguousarray(triangles, np.int32)
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise ValueError(f"vertices_px must be (V, 3), got {vertices.shape}")
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f"triangles must be (F, 3), got {faces.shape}")
    if faces.size and not (faces.min() >= 0 and faces.max() < len(vertices)):
        raise ValueError(
            f"triangles must index {len(vertices)} vertices, got {faces.min()} to {faces.max()}"
        )
    if width < 1 or height < 1:
        raise ValueError(f"width and height must be at least 1, got {width}x{height}")
    return vertices, faces


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _edge_bias(dx: int, dy: int) -> int:
    """0 for a top or left edge (points on it are inside), -1 otherwise; positive area, y down."""
    return 0 if (dy == 0 and dx > 0) or dy < 0 else -1


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _row_range(value, step, x_first, low, high):  # type: ignore[no-untyped-def]
    """Pixels low to high of a row, less those that an edge leaves out for sure.

    value: of the edge function at x_first; step: its growth per pixel. One pixel of slack covers
    the rounding; the loop tests every pixel exactly.
    """
    if value < 0:
        if step <= 0:
            return low, low - 1
        return max(low, x_first + int(-value / step) - 1), high
    if step < 0:
        return low, min(high, x_first + int(-value / step) + 1)
    return low, high


@numba.njit(nogil=True, cache=True, error_model="numpy")
def snap(vertices):  # type: ignore[no-untyped-def]
    """Vertices (V, 3: x px, y px, z) on the subpixel grid: (V, 2) int32 and inverse depths (V,).

    The inverse depth of what can't be drawn is 0: too near, not finite, too far off the image.
    """
    place, inverse = np.zeros((len(vertices), 2), np.int32), np.zeros(len(vertices))
    scale, limit = np.float32(1 << SUBPIXEL_BITS), np.float32(_MAX_COORDINATE_PX)
    for v in range(len(vertices)):
        x, y, z = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        if z > DEFAULT_NEAR_M and z < np.inf and abs(x) < limit and abs(y) < limit:
            place[v, 0], place[v, 1] = np.int32(np.rint(x * scale)), np.int32(np.rint(y * scale))
            inverse[v] = 1.0 / np.float64(z)
    return place, inverse


@numba.njit(nogil=True, cache=True, error_model="numpy")
def fill_triangles(vertices, triangles, cull, triangle, inverse_depth):  # type: ignore[no-untyped-def]
    """Draw into `triangle` (H, W) and `inverse_depth` (H, W), which keep what is nearer.

    What is in the buffers stays where it is nearer, so that meshes may be drawn one after another.
    """
    place, inverse = snap(vertices)
    fill_snapped(place, inverse, triangles, cull, 0, triangle, inverse_depth, LANES)


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _grid_range(a, b, c, size):  # type: ignore[no-untyped-def]
    """First and last pixel between three snapped coordinates, of an image of this size."""
    one = 1 << SUBPIXEL_BITS
    return (
        max(0, (min(a, b, c) + one - 1) >> SUBPIXEL_BITS),
        min(size - 1, max(a, b, c) >> SUBPIXEL_BITS),
    )


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def fill_snapped(place, inverse, triangles, cull, offset, triangle, inverse_depth, lanes):  # type: ignore[no-untyped-def]
    """As `fill_triangles`, with vertices as `snap` returns them.

    offset: added to the index that is written.
    lanes: always LANES. A constant would be unrolled to single pixels before the compiler looks
    for what it can do to many at once.
    """
    height, width = triangle.shape
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        xa, ya = np.int64(place[a, 0]), np.int64(place[a, 1])
        xb, yb = np.int64(place[b, 0]), np.int64(place[b, 1])
        xc, yc = np.int64(place[c, 0]), np.int64(place[c, 1])
        area = (xb - xa) * (yc - ya) - (xc - xa) * (yb - ya)
        za, zb, zc = inverse[a], inverse[b], inverse[c]
        if area == 0 or (cull and area > 0) or za * zb * zc == 0:
            continue
        x_first, x_last = _grid_range(xa, xb, xc, width)
        y_first, y_last = _grid_range(ya, yb, yc, height)
        if x_first > x_last or y_first > y_last:
            continue
        if area < 0:
            xb, xc, yb, yc, zb, zc = xc, xb, yc, yb, zc, zb
            area = -area
        px, py = np.int64(x_first) << SUBPIXEL_BITS, np.int64(y_first) << SUBPIXEL_BITS
        value_a = (xc - xb) * (py - yb) - (yc - yb) * (px - xb)
        value_b = (xa - xc) * (py - yc) - (ya - yc) * (px - xc)
        value_c = (xb - xa) * (py - ya) - (yb - ya) * (px - xa)
        # A step of a pixel is a multiple of 1 << SUBPIXEL_BITS, so whole multiples decide signs.
        # They and their sums stay below 2**53, where float64 holds every integer.
        row_a = np.float64((value_a + _edge_bias(xc - xb, yc - yb)) >> SUBPIXEL_BITS)
        row_b = np.float64((value_b + _edge_bias(xa - xc, ya - yc)) >> SUBPIXEL_BITS)
        row_c = np.float64((value_c + _edge_bias(xb - xa, yb - ya)) >> SUBPIXEL_BITS)
        step_xa, step_xb, step_xc = np.float64(yb - yc), np.float64(yc - ya), np.float64(ya - yb)
        step_ya, step_yb, step_yc = np.float64(xc - xb), np.float64(xa - xc), np.float64(xb - xa)
        per_area = 1.0 / area
        ia, ib, ic = za * per_area, zb * per_area, zc * per_area
        row_z = value_a * ia + value_b * ib + value_c * ic
        one = np.float64(1 << SUBPIXEL_BITS)
        step_xz = (step_xa * ia + step_xb * ib + step_xc * ic) * one
        step_yz = (step_ya * ia + step_yb * ib + step_yc * ic) * one
        number = np.int32(t + offset)
        for y in range(y_first, y_last + 1):
            low, high = x_first, x_last
            if x_last - x_first >= LANES:
                low, high = _row_range(row_a, step_xa, x_first, low, high)
                low, high = _row_range(row_b, step_xb, x_first, low, high)
                low, high = _row_range(row_c, step_xc, x_first, low, high)
            for x in range(low, high + 1, LANES):
                shift = np.float64(x - x_first)
                wa, wb, wc = (
                    row_a + shift * step_xa,
                    row_b + shift * step_xb,
                    row_c + shift * step_xc,
                )
                z = row_z + shift * step_xz
                for k in range(min(lanes, LANES)):
                    f = np.float64(k)
                    inside = (wa + f * step_xa >= 0) & (wb + f * step_xb >= 0)
                    inside &= (wc + f * step_xc >= 0) & (x + k <= high)
                    if inside:
                        near = np.float32(z + f * step_xz)
                        at = np.uint64(x + k)
                        if near > inverse_depth[y, at]:
                            inverse_depth[y, at] = near
                            triangle[y, at] = number
            row_a += step_ya
            row_b += step_yb
            row_c += step_yc
            row_z += step_yz


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def perspective_weights(vertices, a, b, c, x, y):  # type: ignore[no-untyped-def]
    """Perspective-correct weights of triangle a, b, c at pixel (x, y), and the depth there."""
    xa, ya = vertices[a, 0] - x, vertices[a, 1] - y
    xb, yb = vertices[b, 0] - x, vertices[b, 1] - y
    xc, yc = vertices[c, 0] - x, vertices[c, 1] - y
    wa = (xb * yc - xc * yb) / vertices[a, 2]
    wb = (xc * ya - xa * yc) / vertices[b, 2]
    wc = (xa * yb - xb * ya) / vertices[c, 2]
    if wa + wb + wc < 0:
        wa, wb, wc = -wa, -wb, -wc
    # Vertices were snapped for the coverage test, so a weight may fall a hair below zero here.
    wa, wb, wc = max(wa, np.float32(0)), max(wb, np.float32(0)), max(wc, np.float32(0))
    total = wa + wb + wc
    if total <= 0:
        return np.float32(1), np.float32(0), np.float32(0), vertices[a, 2]
    wa, wb, wc = wa / total, wb / total, wc / total
    depth = wa * vertices[a, 2] + wb * vertices[b, 2] + wc * vertices[c, 2]
    return wa, wb, wc, depth


@numba.njit(nogil=True, cache=True, error_model="numpy")
def interpolate_visible(vertices, triangles, triangle, barycentric, depth):  # type: ignore[no-untyped-def]
    height, width = triangle.shape
    for y in range(height):
        for x in range(width):
            t = triangle[y, x]
            if t < 0:
                continue
            wa, wb, wc, z = perspective_weights(
                vertices,
                triangles[t, 0],
                triangles[t, 1],
                triangles[t, 2],
                np.float32(x),
                np.float32(y),
            )
            barycentric[y, x, 0] = wa
            barycentric[y, x, 1] = wb
            barycentric[y, x, 2] = wc
            depth[y, x] = z


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _interpolate_values(triangle, barycentric, triangles, values, out):  # type: ignore[no-untyped-def]
    height, width = triangle.shape
    channels = values.shape[1]
    for y in range(height):
        for x in range(width):
            t = triangle[y, x]
            if t < 0:
                continue
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            for k in range(channels):
                out[y, x, k] = (
                    barycentric[y, x, 0] * values[a, k]
                    + barycentric[y, x, 1] * values[b, k]
                    + barycentric[y, x, 2] * values[c, k]
                )
