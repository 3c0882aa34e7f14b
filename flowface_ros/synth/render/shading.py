"""Shading of what samples see, in linear light, with edges blended from 2x2 samples a pixel."""

from __future__ import annotations

import numpy as np

from flowface_ros.synth.render.block_light import (
    ambient_hair,
    ambient_solid,
    gather_light,
    light_hair,
    light_solid,
)
from flowface_ros.synth.render.blocks import (
    BLOCK,
    BLOCK_SIZE,
    DEPTH,
    LID,
    cast_shadows,
    deposit,
    interpolate_points,
    paint_hair,
    paint_solid,
)
from flowface_ros.synth.render.materials import EYE, SURFACE, UP_PX
from flowface_ros.synth.render.samples import queue_row, sort_row
from flowface_ros.synth.render.vectors import compiled, inlined, row_of

# mypy: disable-error-code="no-untyped-def"

_ONE = np.float32(1)

_DARKEST_LID = np.float32(0.12)
_HAIR_SHADOW_SLACK = np.float32(3)

_BROW_TAPS, _BROW_SHARE = 4, np.float32(0.15)
_RING_SHARE = np.float32(0.06)
_RING = tuple(
    (np.float32(np.cos(a)), np.float32(np.sin(a))) for a in np.arange(6) * np.float32(1.0471976)
)
"""Where the lids' shadow on an eye is probed: towards the brow, twice as far, and all around."""


@inlined
def _other(triangle, material, own, x, y):
    """Whether something else than material `own` is seen at a sample of the image."""
    column, line = int(x), int(y)
    if column < 0 or line < 0 or column >= triangle.shape[1] or line >= triangle.shape[0]:
        return False
    t = triangle[line, column]
    return t < 0 or material[t] != own


@inlined
def _lid_shadow(triangle, material, real, own, sx, sy, step):
    """Light left on an eyeball near the lids, from what surrounds it in the image."""
    light = _ONE
    for k in range(_BROW_TAPS):
        reach = step * np.float32(k + 1) * np.float32(0.5)
        x, y = sx + real[own, UP_PX] * reach, sy + real[own, UP_PX + 1] * reach
        if _other(triangle, material, own, x, y):
            light -= _BROW_SHARE
    for k in range(6):
        if _other(triangle, material, own, sx + _RING[k][0] * step, sy + _RING[k][1] * step):
            light -= _RING_SHARE
    return max(light, _DARKEST_LID)


@compiled
def _shade_lids(which, where, count, triangle, mesh, table, lid_step_px_m, block):
    """Light that the lids leave on queued points of eyes; 1 elsewhere."""
    material, number, real = mesh[2], table[0], table[1]
    for i in range(min(count, BLOCK)):
        own = material[which[i, 0]]
        lid = _ONE
        if number[own, SURFACE] == EYE:
            step = lid_step_px_m / block[DEPTH + i]
            lid = _lid_shadow(triangle, material, real, own, where[i, 0], where[i, 1], step)
        block[LID + i] = lid


@compiled
def _shade_solid(
    which, where, count, triangle, lid_step_px_m, mesh, table, axes, eye, sh, lights, shadows,
    block, image,
):  # fmt: skip
    directions, colors, radius = lights
    interpolate_points(which, where, count, mesh, block)
    paint_solid(which, count, mesh, table, axes, block)
    _shade_lids(which, where, count, triangle, mesh, table, lid_step_px_m, block)
    cast_shadows(which, count, mesh, table, shadows, _ONE, block)
    ambient_solid(block, count, eye, sh)
    for k in range(len(directions)):
        light_solid(block, count, row_of(directions, k), row_of(colors, k), radius[k], k == 0)
    gather_light(block, count)
    deposit(which, where, count, block, image)


@compiled
def _shade_hair(which, where, count, mesh, table, eye, sh, lights, shadows, block, image):
    directions, colors, _ = lights
    interpolate_points(which, where, count, mesh, block)
    paint_hair(which, count, mesh, table, block)
    cast_shadows(which, count, mesh, table, shadows, _HAIR_SHADOW_SLACK, block)
    ambient_hair(block, count, eye, sh)
    for k in range(len(directions)):
        light_hair(block, count, row_of(directions, k), row_of(colors, k), k == 0)
    gather_light(block, count)
    deposit(which, where, count, block, image)


@compiled
def shade_fragments(
    triangle, inverse_depth, lid_step_px_m, mesh, table, eye, sh, lights, shadows, image
):
    """Blend what the samples (2H, 2W) see into `image` (H, W, 3), which holds the background.

    A surface that several samples of a pixel see is shaded once, so only edges cost more.
    lid_step_px_m: reach of the lids' shadow, in samples at depth 1 m. mesh: vertex attributes
    (N, ATTRIBUTES; see `blocks`), triangles (F, 3), material (F,). table: materials as integers
    and floats, textures. eye: (3,) viewer. sh: (9, 3). lights: directions, colors (n, 3), radius
    (n,). shadows: maps, frames. All float32 or int32, in the rig frame.
    """
    _, triangles, material = mesh
    height, width = image.shape[:2]
    room = BLOCK + 4 * width
    which, where = np.empty((2, room, 2), np.int32), np.empty((2, room, 3), np.float32)
    counts, groups = np.zeros(2, np.int64), np.zeros((3, 4), np.int32)
    kind, block = np.empty(width, np.uint8), np.zeros(BLOCK_SIZE, np.float32)
    axes = np.empty((len(triangles), 6), np.float32), np.zeros(len(triangles), np.bool_)
    for y in range(height):
        sort_row(triangle, inverse_depth, material, table[0], y, kind)
        queue_row(
            triangle, inverse_depth, material, table[0], y, kind, groups, image, which, where,
            counts,
        )  # fmt: skip
        least = BLOCK if y < height - 1 else 1
        while counts[0] >= least:
            first = max(counts[0] - BLOCK, 0)
            _shade_solid(
                which[0, first:], where[0, first:], counts[0] - first, triangle, lid_step_px_m,
                mesh, table, axes, eye, sh, lights, shadows, block, image,
            )  # fmt: skip
            counts[0] = first
        while counts[1] >= least:
            first = max(counts[1] - BLOCK, 0)
            _shade_hair(
                which[1, first:], where[1, first:], counts[1] - first, mesh, table, eye, sh,
                lights, shadows, block, image,
            )  # fmt: skip
            counts[1] = first
