"""Points to shade, in blocks: what is known of each before light falls on it.

A block is one flat float32 array with BLOCK places per channel. Loops over the places of channels
then read and write at constant distances in one array, which the compiler can prove free of
overlap, so that it handles many points per instruction.
"""

from __future__ import annotations

import numpy as np

from flowface_ros.synth.render.lighting import lit_share
from flowface_ros.synth.render.materials import (
    AXIS,
    BUMP_M,
    CENTER,
    EYE,
    ROUGHNESS,
    SHADOW_MAP,
    SKIN,
    SPECULAR,
    SURFACE,
    TEXTURE,
    TEXTURE_SIZE,
)
from flowface_ros.synth.render.raster import perspective_weights
from flowface_ros.synth.render.surfaces import (
    hair_color,
    slope,
    surface_axes,
    texel_place,
    textured,
    tint_of,
)
from flowface_ros.synth.render.vectors import compiled, inlined

# mypy: disable-error-code="no-untyped-def"

BLOCK = 256
"""Points per block, so that its channels stay in the first cache."""

_CHANNELS = 39
(
    PX, PY, PZ,  # position in the rig frame
    NX, NY, NZ,  # normal before bumps, of hair the tangent; any length
    U, V,
    OPEN,  # share of ambient light
    DEPTH,
    RED, GREEN, BLUE,  # linear colour of the surface
    GLOSS,
    TILT_X, TILT_Y, TILT_Z,  # what bumps add to the unit normal
    IS_SKIN, IS_EYE,  # 1 or 0
    LID,  # light that the lids leave on an eye, 1 elsewhere
    ROUGH, SPEC,
    AXIS_X, AXIS_Y, AXIS_Z,  # gaze of an eye; centre of the skull under hair; else unused
    LIT,  # share of the key light that nothing blocks
    VX, VY, VZ,  # unit, to the viewer
    MX, MY, MZ,  # unit, the normal that mirrors
    NV,  # cosine between both
    DIFFUSE_R, DIFFUSE_G, DIFFUSE_B,  # light that the surface scatters
    SHINE_R, SHINE_G, SHINE_B,  # light that it mirrors
) = (k * BLOCK for k in range(_CHANNELS))  # fmt: skip
BLOCK_SIZE = _CHANNELS * BLOCK

PLACE, POSITION, NORMAL, UV, OPENNESS, ATTRIBUTES = 0, 3, 6, 9, 11, 12
"""Columns of a vertex's attributes: x, y in the image of samples and depth; position in the rig
frame; normal, of hair the tangent; texture's u, v, of hair tone and place along the strand; share
of ambient light."""

_ONE, _ZERO = np.float32(1), np.float32(0)


@compiled
def interpolate_points(which, where, count, mesh, block):
    """Position, normal, uv, openness and depth of queued points."""
    attributes, triangles, _ = mesh
    for i in range(min(count, BLOCK)):
        t = np.uint32(which[i, 0])
        a, b, c = np.uint32(triangles[t, 0]), np.uint32(triangles[t, 1]), np.uint32(triangles[t, 2])
        wa, wb, wc, z = perspective_weights(attributes, a, b, c, where[i, 0], where[i, 1])
        block[DEPTH + i] = z
        for k in range(ATTRIBUTES - POSITION):  # the first channels, in the same order
            block[k * BLOCK + i] = (
                wa * attributes[a, POSITION + k]
                + wb * attributes[b, POSITION + k]
                + wc * attributes[c, POSITION + k]
            )


@inlined
def _fill_axes(mesh, t, axes):
    attributes, triangles, _ = mesh
    a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
    along_u, along_v = surface_axes(
        (_columns(attributes, a), _columns(attributes, b), _columns(attributes, c)),
        (
            (attributes[a, UV], attributes[a, UV + 1]),
            (attributes[b, UV], attributes[b, UV + 1]),
            (attributes[c, UV], attributes[c, UV + 1]),
        ),
    )
    for k in range(3):
        axes[t, k], axes[t, 3 + k] = along_u[k], along_v[k]


@inlined
def _columns(attributes, vertex):
    return (
        attributes[vertex, POSITION],
        attributes[vertex, POSITION + 1],
        attributes[vertex, POSITION + 2],
    )


@compiled
def paint_solid(which, count, mesh, table, texture_axes, block):
    """Colour, gloss, bumps and material of queued points of skin, eyes and things."""
    material = mesh[2]
    number, real, textures = table
    axes, known = texture_axes
    for i in range(min(count, BLOCK)):
        t = which[i, 0]
        row = material[t]
        surface = number[row, SURFACE]
        block[IS_SKIN + i] = _ONE if surface == SKIN else _ZERO
        block[IS_EYE + i] = _ONE if surface == EYE else _ZERO
        block[ROUGH + i], block[SPEC + i] = real[row, ROUGHNESS], real[row, SPECULAR]
        if surface == EYE:
            for k in range(3):
                block[AXIS_X + k * BLOCK + i] = real[row, AXIS + k]
        r, g, b = tint_of(real, row)
        gloss = _ONE
        tilt = (_ZERO, _ZERO, _ZERO)
        if number[row, TEXTURE] >= 0:
            place = texel_place(number, row, block[U + i], block[V + i])
            painted, gloss = textured(textures, place)
            r, g, b = r * painted[0], g * painted[1], b * painted[2]
            if real[row, BUMP_M] > 0:
                per_unit = real[row, BUMP_M] * np.float32(number[row, TEXTURE_SIZE])
                hu, hv = slope(textures, place, per_unit)
                if hu != 0 or hv != 0:
                    if not known[t]:
                        _fill_axes(mesh, t, axes)
                        known[t] = True
                    tilt = (
                        -hu * axes[t, 0] - hv * axes[t, 3],
                        -hu * axes[t, 1] - hv * axes[t, 4],
                        -hu * axes[t, 2] - hv * axes[t, 5],
                    )
        block[RED + i], block[GREEN + i], block[BLUE + i], block[GLOSS + i] = r, g, b, gloss
        block[TILT_X + i], block[TILT_Y + i], block[TILT_Z + i] = tilt


@compiled
def paint_hair(which, count, mesh, table, block):
    """Colour and material of queued points of hair."""
    material, real = mesh[2], table[1]
    for i in range(min(count, BLOCK)):
        row = material[which[i, 0]]
        block[ROUGH + i], block[SPEC + i] = real[row, ROUGHNESS], real[row, SPECULAR]
        for k in range(3):
            block[AXIS_X + k * BLOCK + i] = real[row, CENTER + k]
        r, g, b = hair_color(real, row, block[U + i], block[V + i])
        block[RED + i], block[GREEN + i], block[BLUE + i] = r, g, b


@compiled
def cast_shadows(which, count, mesh, table, shadows, slack, block):
    """Share of the key light that reaches queued points past what casts shadows."""
    material, number = mesh[2], table[0]
    maps, map_frames = shadows
    for i in range(min(count, BLOCK)):
        m = number[material[which[i, 0]], SHADOW_MAP]
        lit = _ONE
        if m >= 0:
            point = (block[PX + i], block[PY + i], block[PZ + i])
            lit = lit_share(maps, map_frames, m, point, slack)
        block[LIT + i] = lit


@compiled
def deposit(which, where, count, block, image):
    """Add the light of queued points to their pixels, by the share of the pixel that they fill."""
    width = image.shape[1]
    for i in range(min(count, BLOCK)):
        y, x = divmod(which[i, 1], width)
        share = where[i, 2]
        image[y, x, 0] += share * block[DIFFUSE_R + i]
        image[y, x, 1] += share * block[DIFFUSE_G + i]
        image[y, x, 2] += share * block[DIFFUSE_B + i]
