"""Colour and normal of a point of a surface: textures, bumps, strands of hair."""

from __future__ import annotations

import numpy as np

from flowface_ros.synth.render.materials import (
    EYE,
    GREY,
    SKIN,
    SURFACE,
    TEXTURE,
    TEXTURE_CHANNELS,
    TEXTURE_SIZE,
    TINT,
)
from flowface_ros.synth.render.vectors import compiled, dot, inlined, plus, scaled

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
def texel_place(number, row, u, v):
    """Byte of the texel at the top left of a place, that of the one below it, and the fractions.

    Skin and eyes end at the texture's border; everything else repeats.
    """
    size = number[row, TEXTURE_SIZE]
    zero, limit = np.float32(0), np.float32(size) - np.float32(1.01)
    x, y = u * np.float32(size) - np.float32(0.5), v * np.float32(size) - np.float32(0.5)
    surface = number[row, SURFACE]
    if surface in (SKIN, EYE):
        x, y = min(max(x, zero), limit), min(max(y, zero), limit)
    else:
        x, y = x - np.floor(x / limit) * limit, y - np.floor(y / limit) * limit
    column, line = np.int32(x), np.int32(y)
    first = np.uint32(number[row, TEXTURE] + (line * size + column) * TEXTURE_CHANNELS)
    below = np.uint32(first + size * TEXTURE_CHANNELS)
    return first, below, x - np.float32(column), y - np.float32(line)


@inlined
def _texels(textures, place, channel):
    """A channel of the four texels around a place: two above, two below."""
    o, p = place[0] + np.uint32(channel), place[1] + np.uint32(channel)
    beside = np.uint32(TEXTURE_CHANNELS)
    return (
        np.float32(textures[o]),
        np.float32(textures[o + beside]),
        np.float32(textures[p]),
        np.float32(textures[p + beside]),
    )


@inlined
def texel(textures, place, channel):
    """Bilinear value of a channel, in [0, 1]."""
    h00, h10, h01, h11 = _texels(textures, place, channel)
    upper, lower = h00 + place[2] * (h10 - h00), h01 + place[2] * (h11 - h01)
    return (upper + place[3] * (lower - upper)) * _PER_BYTE


@inlined
def textured(textures, place):
    """Linear colour and gloss."""
    r, g, b = texel(textures, place, 0), texel(textures, place, 1), texel(textures, place, 2)
    return (r * r, g * g, b * b), texel(textures, place, 4)


@inlined
def slope(textures, place, per_unit):
    """Growth of the texture's height per unit of u and of v.

    per_unit: metres of the greatest height times texels along the texture's side.
    """
    h00, h10, h01, h11 = _texels(textures, place, 3)
    right, down = h10 - h00, h01 - h00
    hu = right + place[3] * (h11 - h01 - right)
    hv = down + place[2] * (h11 - h10 - down)
    return hu * per_unit * _PER_BYTE, hv * per_unit * _PER_BYTE


@compiled
def surface_axes(points, places):
    """Directions of u and of v on a triangle, each over its squared length times that of u or v.

    points: three positions. places: three (u, v). A slope (hu, hv) tilts the unit normal by
    -hu times the first and -hv times the second. Zero where the texture has no area.
    """
    one, tiny = np.float32(1), np.float32(1e-9)
    e1, e2 = plus(points[1], points[0], -one), plus(points[2], points[0], -one)
    du1, dv1 = places[1][0] - places[0][0], places[1][1] - places[0][1]
    du2, dv2 = places[2][0] - places[0][0], places[2][1] - places[0][1]
    area = du1 * dv2 - du2 * dv1
    share = np.float32(0) if abs(area) < np.float32(1e-10) else one / area
    # dP/du and dP/dv of the triangle; the gradient of a height h is along them, dh/du / |dP/du|.
    along_u = scaled(plus(scaled(e1, dv2), e2, -dv1), share)
    along_v = scaled(plus(scaled(e2, du1), e1, -du2), share)
    return (
        scaled(along_u, one / (dot(along_u, along_u) + tiny)),
        scaled(along_v, one / (dot(along_v, along_v) + tiny)),
    )
