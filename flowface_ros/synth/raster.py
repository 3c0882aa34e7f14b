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

_NARROW_PX = 3
"""Rows no wider than this are tested pixel by pixel, wider ones are cut to the triangle first."""

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
    near_m: float = DEFAULT_NEAR_M,
) -> Fragments:
    """The nearest triangle at every pixel centre; pixel (0, 0)'s centre is at (0, 0).

    vertices_px: (V, 3) x px, y px, z metres (depth along the optical axis).
    triangles: (F, 3) vertex indices; several meshes are drawn together by concatenation.
    cull_back_faces: skip triangles that turn clockwise in the image (y down), which is the back
        of a mesh whose triangles are counter-clockwise seen from outside.
    near_m: a triangle with any vertex at depth <= near_m, not finite, or more than 131072 px off
        is skipped whole, not clipped.

    Edges follow the top-left rule: a pixel centre on an edge shared by two triangles belongs to
    exactly one of them. At equal depth the lower triangle index wins.
    """
    vertices, faces = _checked(vertices_px, triangles, width, height)
    triangle = np.full((height, width), -1, np.int32)
    inverse_depth = np.zeros((height, width), np.float32)
    fill_triangles(vertices, faces, cull_back_faces, near_m, 0, triangle, inverse_depth)
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
def fill_triangles(vertices, triangles, cull, near_m, offset, triangle, inverse_depth):  # type: ignore[no-untyped-def]
    """Draw into `triangle` (H, W) and `inverse_depth` (H, W), which keep what is nearer.

    offset is added to the index that is written. What is in the buffers stays where it is nearer,
    so that meshes may be drawn one after another.
    """
    height, width = triangle.shape
    one = 1 << SUBPIXEL_BITS
    half_scale = np.float64(one)
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        za, zb, zc = vertices[a, 2], vertices[b, 2], vertices[c, 2]
        if not (za > near_m and zb > near_m and zc > near_m and za + zb + zc < np.inf):
            continue
        fx_low = min(vertices[a, 0], vertices[b, 0], vertices[c, 0])
        fx_high = max(vertices[a, 0], vertices[b, 0], vertices[c, 0])
        fy_low = min(vertices[a, 1], vertices[b, 1], vertices[c, 1])
        fy_high = max(vertices[a, 1], vertices[b, 1], vertices[c, 1])
        if not (fx_high >= 0 and fy_high >= 0 and fx_low <= width - 1 and fy_low <= height - 1):
            continue
        if not (
            fx_low > -_MAX_COORDINATE_PX
            and fy_low > -_MAX_COORDINATE_PX
            and fx_high < _MAX_COORDINATE_PX
            and fy_high < _MAX_COORDINATE_PX
        ):
            continue
        xa = np.int64(np.rint(vertices[a, 0] * half_scale))
        ya = np.int64(np.rint(vertices[a, 1] * half_scale))
        xb = np.int64(np.rint(vertices[b, 0] * half_scale))
        yb = np.int64(np.rint(vertices[b, 1] * half_scale))
        xc = np.int64(np.rint(vertices[c, 0] * half_scale))
        yc = np.int64(np.rint(vertices[c, 1] * half_scale))
        area = (xb - xa) * (yc - ya) - (xc - xa) * (yb - ya)
        if area == 0 or (cull and area > 0):
            continue
        if area < 0:
            xb, xc, yb, yc, zb, zc = xc, xb, yc, yb, zc, zb
            area = -area
        x_first = max(0, (min(xa, xb, xc) + one - 1) >> SUBPIXEL_BITS)
        x_last = min(width - 1, max(xa, xb, xc) >> SUBPIXEL_BITS)
        y_first = max(0, (min(ya, yb, yc) + one - 1) >> SUBPIXEL_BITS)
        y_last = min(height - 1, max(ya, yb, yc) >> SUBPIXEL_BITS)
        if x_first > x_last or y_first > y_last:
            continue
        px, py = np.int64(x_first) << SUBPIXEL_BITS, np.int64(y_first) << SUBPIXEL_BITS
        row_a = (xc - xb) * (py - yb) - (yc - yb) * (px - xb) + _edge_bias(xc - xb, yc - yb)
        row_b = (xa - xc) * (py - yc) - (ya - yc) * (px - xc) + _edge_bias(xa - xc, ya - yc)
        row_c = (xb - xa) * (py - ya) - (yb - ya) * (px - xa) + _edge_bias(xb - xa, yb - ya)
        step_xa, step_xb, step_xc = (yb - yc) * one, (yc - ya) * one, (ya - yb) * one
        step_ya, step_yb, step_yc = (xc - xb) * one, (xa - xc) * one, (xb - xa) * one
        ia, ib, ic = 1.0 / (za * area), 1.0 / (zb * area), 1.0 / (zc * area)
        for y in range(y_first, y_last + 1):
            low, high = x_first, x_last
            if x_last - x_first > _NARROW_PX:
                low, high = _row_range(row_a, step_xa, x_first, low, high)
                low, high = _row_range(row_b, step_xb, x_first, low, high)
                low, high = _row_range(row_c, step_xc, x_first, low, high)
            shift = low - x_first
            wa, wb, wc = row_a + shift * step_xa, row_b + shift * step_xb, row_c + shift * step_xc
            for x in range(low, high + 1):
                if (wa | wb | wc) >= 0:
                    inverse = np.float32(wa * ia + wb * ib + wc * ic)
                    if inverse > inverse_depth[y, x]:
                        inverse_depth[y, x] = inverse
                        triangle[y, x] = t + offset
                wa += step_xa
                wb += step_xb
                wc += step_xc
            row_a += step_ya
            row_b += step_yb
            row_c += step_yc


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


@numba.njit(nogil=True, cache=True, error_model="numpy")
def hide_covered(  # type: ignore[no-untyped-def]
    sample_triangle, sample_inverse, starts, triangle, barycentric, depth, face
):
    """Take out of the heads' ground truth what other things cover, in place.

    starts: (n + 1,) first triangle of each head and of the other things. A head's surface counts
    as hidden where at least half of the pixel's samples see some other thing before it. triangle
    becomes that of the head's own model, face which head it is, depth that of what is seen.
    """
    height, width = triangle.shape
    heads = len(starts) - 1
    for y in range(height):
        for x in range(width):
            t, covering, nearest = triangle[y, x], 0, np.float32(0)
            own = 1 / depth[y, x] if t >= 0 else np.float32(0)
            for s in range(4):
                v, u = 2 * y + (s >> 1), 2 * x + (s & 1)
                if sample_triangle[v, u] >= starts[heads] and sample_inverse[v, u] > own:
                    covering += 1
                    nearest = max(nearest, sample_inverse[v, u])
            if covering >= 2:
                depth[y, x] = 1 / nearest
                triangle[y, x] = -1
                barycentric[y, x, :] = 0
            elif t >= 0:
                for k in range(heads):
                    if t < starts[k + 1]:
                        face[y, x] = k
                        triangle[y, x] = t - starts[k]
                        break
