"""What the samples of each pixel see, as a queue of points to shade."""

from __future__ import annotations

import numpy as np

from flowface_ros.synth.render.materials import HAIR, SURFACE
from flowface_ros.synth.render.vectors import compiled, inlined

# mypy: disable-error-code="no-untyped-def"

SAMPLES = 2
"""Samples along each side of a pixel."""

_HAIRS_PER_PIXEL = 2
"""At most this many strands of a kind are shaded in a pixel; more share these."""

_SAME_SURFACE = np.float32(0.006)
"""Samples of one material whose depths differ by less than this share are shaded together."""

_NOTHING, _ONE_SURFACE, _EDGES = 0, 1, 2


@compiled
def sort_row(triangle, inverse_depth, material, number, y, kind):
    """What the samples of a row's pixels see: nothing (0), one surface (1), or edges (2)."""
    for x in range(len(kind)):
        t, far = triangle[2 * y, 2 * x], inverse_depth[2 * y, 2 * x]
        alike = 0
        for s in range(1, 4):
            v, u = 2 * y + (s >> 1), 2 * x + (s & 1)
            other = triangle[v, u]
            if other == t:
                alike += 1
            elif t >= 0 and other >= 0 and material[other] == material[t]:
                near = inverse_depth[v, u]
                if number[material[t], SURFACE] != HAIR and abs(near - far) < _SAME_SURFACE * near:
                    alike += 1
        kind[x] = _EDGES if alike < 3 else (_NOTHING if t < 0 else _ONE_SURFACE)


@inlined
def _group(triangle, inverse_depth, material, number, x, y, groups):
    """Group a pixel's samples by surface; how many groups, and how many samples see nothing.

    groups: (3, 4), written: triangle, sample and number of samples of each group.
    """
    count, empty = 0, 0
    for s in range(4):
        v, u = 2 * y + (s >> 1), 2 * x + (s & 1)
        t = triangle[v, u]
        if t < 0:
            empty += 1
            continue
        found, hairs = False, 0
        for k in range(count):
            same = groups[0, k] == t
            if not same and material[groups[0, k]] == material[t]:
                if number[material[t], SURFACE] == HAIR:
                    hairs += 1
                    same = hairs == _HAIRS_PER_PIXEL
                else:
                    near, place = inverse_depth[v, u], groups[1, k]
                    far = inverse_depth[2 * y + (place >> 1), 2 * x + (place & 1)]
                    same = abs(near - far) < _SAME_SURFACE * near
            if same:
                groups[2, k] += 1
                found = True
                break
        if not found:
            groups[0, count], groups[1, count], groups[2, count] = t, s, 1
            count += 1
    return count, empty


@compiled
def queue_row(
    triangle, inverse_depth, material, number, y, kind, groups, image, which, where, counts
):
    """Queue the points to shade in a row of pixels; the image keeps what shows of its background.

    kind: of `sort_row`. groups: (3, 4) to work in. which: (2, n, 2) int32 and where: (2, n, 3)
    float32, the queues of solid points and of hair, each counts[k] long: triangle and pixel;
    sample coordinates x, y and the share of the pixel. A pixel adds up to four points.
    """
    width = len(kind)
    for x in range(width):
        if kind[x] == _NOTHING:
            continue
        count, empty = 1, 0
        groups[0, 0], groups[2, 0] = triangle[2 * y, 2 * x], 4
        if kind[x] == _EDGES:
            count, empty = _group(triangle, inverse_depth, material, number, x, y, groups)
        share = np.float32(0.25) * np.float32(empty)
        for k in range(3):
            image[y, x, k] *= share
        for k in range(count):
            t = groups[0, k]
            sx, sy = np.float32(2 * x) + np.float32(0.5), np.float32(2 * y) + np.float32(0.5)
            if groups[2, k] < 4:
                sx = np.float32(2 * x + (groups[1, k] & 1))
                sy = np.float32(2 * y + (groups[1, k] >> 1))
            queue = 1 if number[material[t], SURFACE] == HAIR else 0
            at = counts[queue]
            which[queue, at, 0], which[queue, at, 1] = t, y * width + x
            where[queue, at, 0], where[queue, at, 1] = sx, sy
            where[queue, at, 2] = np.float32(0.25) * np.float32(groups[2, k])
            counts[queue] = at + 1
