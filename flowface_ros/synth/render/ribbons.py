"""Strands of hair turned into ribbons that face the viewer."""

from __future__ import annotations

from functools import lru_cache

import numba
import numpy as np
from numpy.typing import NDArray

_LEAST_HALF_WIDTH_PX = 0.12
"""Thinner ribbons would be seen by too few samples; lashes far off get this."""


@lru_cache(maxsize=64)
def ribbon_triangles(strands: int, size: int) -> NDArray[np.int32]:
    """Triangles (2 n (k - 1), 3) of n ribbons with k pairs of vertices each."""
    pair = (np.arange(strands)[:, None] * size + np.arange(size - 1)).ravel() * 2
    first = np.stack([pair, pair + 1, pair + 2], axis=1)
    second = np.stack([pair + 2, pair + 1, pair + 3], axis=1)
    return np.concatenate([first, second], axis=1).reshape(-1, 3).astype(np.int32)


@numba.njit(nogil=True, cache=True)
def move_strands(axes, origin, points):  # type: ignore[no-untyped-def]
    """Points (n, k, 3) of strands in frames of axes (n, 3, 3: columns) at origins (n, 3)."""
    out = np.empty(points.shape, axes.dtype)
    for i in range(points.shape[0]):
        for j in range(points.shape[1]):
            for c in range(3):
                out[i, j, c] = (
                    origin[i, c]
                    + axes[i, c, 0] * points[i, j, 0]
                    + axes[i, c, 1] * points[i, j, 1]
                    + axes[i, c, 2] * points[i, j, 2]
                )
    return out


@numba.njit(nogil=True, cache=True)
def strand_tangents(points):  # type: ignore[no-untyped-def]
    """Unit tangents (n, k, 3) float32 of strands (n, k, 3), towards the tip."""
    n, k = points.shape[0], points.shape[1]
    out = np.empty((n, k, 3), np.float32)
    for i in range(n):
        for j in range(k):
            a, b = max(j - 1, 0), min(j + 1, k - 1)
            x = points[i, b, 0] - points[i, a, 0]
            y = points[i, b, 1] - points[i, a, 1]
            z = points[i, b, 2] - points[i, a, 2]
            scale = 1 / np.sqrt(x * x + y * y + z * z + 1e-18)
            out[i, j, 0], out[i, j, 1], out[i, j, 2] = x * scale, y * scale, z * scale
    return out


@numba.njit(nogil=True, cache=True)
def widen(pixels, half_width, focal_px, parallel, out):  # type: ignore[no-untyped-def]
    """Ribbon corners out (n, k, 2, 3) of strands at pixels (n, k, 3: x, y, depth).

    half_width: (n, k) metres; a point's is focal_px / depth pixels per metre, or focal_px when
    the view is parallel.
    """
    n, k = pixels.shape[0], pixels.shape[1]
    for i in range(n):
        for j in range(k):
            a, b = max(j - 1, 0), min(j + 1, k - 1)
            dx, dy = pixels[i, b, 0] - pixels[i, a, 0], pixels[i, b, 1] - pixels[i, a, 1]
            length = np.sqrt(dx * dx + dy * dy)
            if length > 1e-6:
                dx, dy = dx / length, dy / length
            else:
                dx, dy = np.float32(1), np.float32(0)
            z = pixels[i, j, 2]
            scale = focal_px if parallel else focal_px / z
            w = max(half_width[i, j] * scale, np.float32(_LEAST_HALF_WIDTH_PX))
            out[i, j, 0, 0], out[i, j, 0, 1], out[i, j, 0, 2] = pixels[i, j, 0] - dy * w, pixels[i, j, 1] + dx * w, z  # fmt: skip  # noqa: E501
            out[i, j, 1, 0], out[i, j, 1, 1], out[i, j, 1, 2] = pixels[i, j, 0] + dy * w, pixels[i, j, 1] - dx * w, z  # fmt: skip  # noqa: E501
