"""Colour and normal of a point of a surface: textures, bumps, strands of hair."""

from __future__ import annotations

import numpy as np

from flowface_ros.synth.materials import (
    BUMP_M,
    CENTER,
    EYE,
    GREY,
    SKIN,
    SURFACE,
    TEXTURE,
    TEXTURE_CHANNELS,
    TEXTURE_SIZE,
    TINT,
)
from flowface_ros.synth.vectors import dot, inlined, plus, row_of, scaled, unit

# mypy: disable-error-code="no-untyped-def"

_GREY_HAIR = (np.float32(0.32), np.float32(0.31), np.float32(0.30))
_PER_BYTE = np.float32(1 / 255)


@inlined
def tint_of(real, row):
    """Linear colour of a material."""
    return real[row, TINT], real[row, TINT + 1], real[row, TINT + 2]


@inlined
def hair_color(real, row, tone, along):
    """Colour of a strand with this tone, at this place between root (0) and tip (1)."""
    r, g, b = tint_of(real, row)
    grey = real[row, GREY]
    white = grey * np.float32(0.6)
    pick = tone * np.float32(37.7)  # scatters neighbouring tones over [0, 1)
    if pick - np.floor(pick) < grey:
        white += np.float32(0.4)
    light = (np.float32(0.55) + np.float32(0.9) * tone) * (
        np.float32(0.8) + np.float32(0.4) * along
    )
    return (
        light * (r + white * (_GREY_HAIR[0] - r)),
        light * (g + white * (_GREY_HAIR[1] - g)),
        light * (b + white * (_GREY_HAIR[2] - b)),
    )


@inlined
def hair_normal(real, row, point, tangent):
    """Light falls on hair as on the rounded mass that it forms."""
    center = (real[row, CENTER], real[row, CENTER + 1], real[row, CENTER + 2])
    outward = plus(point, center, np.float32(-1))
    return unit(plus(outward, tangent, -dot(outward, tangent)))


@inlined
def texel_place(number, row, u, v):
    """Byte of the texel at the top left of a place, size of the texture, and the fractions.

    Skin and eyes end at the texture's border; everything else repeats.
    """
    size = number[row, TEXTURE_SIZE]
    zero, limit = np.float32(0), np.float32(size) - np.float32(1.01)
    x, y = u * size - np.float32(0.5), v * size - np.float32(0.5)
    surface = number[row, SURFACE]
    if surface in (SKIN, EYE):
        x, y = min(max(x, zero), limit), min(max(y, zero), limit)
    else:
        x, y = x - np.floor(x / limit) * limit, y - np.floor(y / limit) * limit
    column, line = int(x), int(y)
    first = number[row, TEXTURE] + (line * size + column) * TEXTURE_CHANNELS
    return first, size, np.float32(x - column), np.float32(y - line)


@inlined
def texel(textures, first, size, ax, ay, channel):
    """Bilinear value of a channel, in [0, 1]."""
    one = np.float32(1)
    o = first + channel
    below = o + size * TEXTURE_CHANNELS
    upper = (one - ax) * np.float32(textures[o]) + ax * np.float32(textures[o + TEXTURE_CHANNELS])
    lower = (one - ax) * np.float32(textures[below]) + ax * np.float32(
        textures[below + TEXTURE_CHANNELS]
    )
    return ((one - ay) * upper + ay * lower) * _PER_BYTE


@inlined
def textured(textures, first, size, ax, ay):
    """Linear colour and gloss."""
    r = texel(textures, first, size, ax, ay, 0)
    g = texel(textures, first, size, ax, ay, 1)
    b = texel(textures, first, size, ax, ay, 2)
    return (r * r, g * g, b * b), texel(textures, first, size, ax, ay, 4)


@inlined
def bumped(textures, first, size, ax, ay, height_m, normal, position, uv, corners):
    """The normal, tilted by the slope of the texture's height over the surface."""
    one = np.float32(1)
    o = first + 3
    below = o + size * TEXTURE_CHANNELS
    h00, h10 = np.float32(textures[o]), np.float32(textures[o + TEXTURE_CHANNELS])
    h01, h11 = np.float32(textures[below]), np.float32(textures[below + TEXTURE_CHANNELS])
    per_unit = height_m * _PER_BYTE * np.float32(size)
    hu = ((h10 - h00) * (one - ay) + (h11 - h01) * ay) * per_unit
    hv = ((h01 - h00) * (one - ax) + (h11 - h10) * ax) * per_unit
    if hu == 0 and hv == 0:
        return normal
    a, b, c = corners
    e1 = plus(row_of(position, b), row_of(position, a), -one)
    e2 = plus(row_of(position, c), row_of(position, a), -one)
    du1, dv1 = uv[b, 0] - uv[a, 0], uv[b, 1] - uv[a, 1]
    du2, dv2 = uv[c, 0] - uv[a, 0], uv[c, 1] - uv[a, 1]
    area = du1 * dv2 - du2 * dv1
    if abs(area) < np.float32(1e-10):
        return normal
    # dP/du and dP/dv of the triangle; the gradient of a height h is along them, dh/du / |dP/du|.
    along_u = scaled(plus(scaled(e1, dv2), e2, -dv1), one / area)
    along_v = scaled(plus(scaled(e2, du1), e1, -du2), one / area)
    tilt = plus(normal, along_u, -hu / (dot(along_u, along_u) + np.float32(1e-9)))
    return unit(plus(tilt, along_v, -hv / (dot(along_v, along_v) + np.float32(1e-9))))


@inlined
def has_bumps(number, real, row):
    """Whether the material's texture has height."""
    return number[row, TEXTURE] >= 0 and real[row, BUMP_M] > 0
