"""Ground truth of a picture: which head's surface is seen at each pixel, and where on it."""

from __future__ import annotations

import numba
import numpy as np

from flowface_ros.synth.render.raster import perspective_weights

_HIDING_SAMPLES = 2
"""A head's surface counts as hidden where at least so many of a pixel's samples see other things
before it."""


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _covering(sample_triangle, sample_inverse, x, y, first, own):  # type: ignore[no-untyped-def]
    """How many samples of a pixel see triangles from `first` on at more than an inverse depth, and
    the nearest's inverse depth."""
    count, nearest = 0, np.float32(0)
    for s in range(4):
        v, u = 2 * y + (s >> 1), 2 * x + (s & 1)
        if sample_triangle[v, u] >= first and sample_inverse[v, u] > own:
            count += 1
            nearest = max(nearest, sample_inverse[v, u])
    return count, nearest


@numba.njit(nogil=True, cache=True, error_model="numpy")
def resolve_truth(  # type: ignore[no-untyped-def]
    pixels, triangles, starts, sample_triangle, sample_inverse, inverse, triangle, barycentric,
    depth, face,
):  # fmt: skip
    """Turn the heads' z-buffer into ground truth, less what other things cover.

    pixels: (V, 3) vertices in the image. triangles: (F, 3) of the heads. starts: (n + 1,) first
    triangle of each head and of the other things. inverse: (H, W) of the z-buffer. triangle: seen
    by it; becomes that of the head's own model. barycentric, depth, face: written as in
    `RenderedImage`.
    """
    height, width = triangle.shape
    heads = len(starts) - 1
    for y in range(height):
        for x in range(width):
            t = triangle[y, x]
            covering, nearest = _covering(
                sample_triangle, sample_inverse, x, y, starts[heads], inverse[y, x]
            )
            wa, wb, wc, z, head = (
                np.float32(0),
                np.float32(0),
                np.float32(0),
                np.float32(np.inf),
                -1,
            )
            if covering >= _HIDING_SAMPLES:
                triangle[y, x] = -1
                z = 1 / nearest
            elif t >= 0:
                a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
                wa, wb, wc, z = perspective_weights(pixels, a, b, c, np.float32(x), np.float32(y))
                head = 0
                while t >= starts[head + 1]:
                    head += 1
                triangle[y, x] = t - starts[head]
            barycentric[y, x, 0], barycentric[y, x, 1], barycentric[y, x, 2] = wa, wb, wc
            depth[y, x], face[y, x] = z, head
