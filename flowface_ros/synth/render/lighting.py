"""Light that a point sends to the viewer: ambient, shadow map, skin, hair, eyes, solid things."""

from __future__ import annotations

import numpy as np

from flowface_ros.synth.render.vectors import clamped, compiled, dot, inlined, plus, unit

# mypy: disable-error-code="no-untyped-def"

_ZERO, _ONE = np.float32(0), np.float32(1)

_WRAP = (np.float32(0.26), np.float32(0.10), np.float32(0.06))
"""How far light travels under skin past the terminator, red furthest."""

_CREASE_BLEED = (np.float32(0.35), np.float32(0.08), np.float32(0.0))
"""Light that bleeds out of lit tissue into creases, red most."""

_HAIR_WRAP = np.float32(0.35)
_ROOT_SHIFT, _TIP_SHIFT = np.float32(0.10), np.float32(0.14)
"""Cuticle scales tilt the white highlight towards the root and the tinted one to the tip."""

_GRAZING_CEILING = np.float32(0.7)
_EYE_HIGHLIGHT = np.float32(0.7)


@inlined
def harmonic_rows(sh):
    """Coefficients (9, 3) as one tuple per channel."""
    return (_channel(sh, 0), _channel(sh, 1), _channel(sh, 2))


@inlined
def _channel(sh, k):
    return (
        sh[0, k], sh[1, k], sh[2, k], sh[3, k], sh[4, k], sh[5, k], sh[6, k], sh[7, k], sh[8, k],
    )  # fmt: skip


@compiled
def ambient(rows, n):
    """Light (3 channels) from all around on a normal, or seen in a direction, at least 0.

    rows: of `harmonic_rows`.
    """
    return _harmonics(rows[0], n), _harmonics(rows[1], n), _harmonics(rows[2], n)


@compiled
def _harmonics(c, n):
    x, y, z = n
    value = c[0] + c[1] * x + c[2] * y + c[3] * z
    value += c[4] * x * y + c[5] * y * z + c[6] * x * z
    value += c[7] * (np.float32(3) * z * z - _ONE) + c[8] * (x * x - y * y)
    return max(value, _ZERO)


@compiled
def mirrored(rows, r):
    """Coarse ambient light (3 channels) from a mirror direction."""
    return _coarse(rows[0], r), _coarse(rows[1], r), _coarse(rows[2], r)


@compiled
def _coarse(c, r):
    return max(c[0] + c[1] * r[0] + c[2] * r[1] + c[3] * r[2], _ZERO)


@compiled
def mirror_strength(specular, roughness, nv):
    """Fresnel reflectance (Schlick); rough surfaces mirror less at grazing angles."""
    grazing = _ONE - nv
    grazing2 = grazing * grazing
    ceiling = (_ONE - roughness) * (_ONE - roughness) * _GRAZING_CEILING
    fresnel = specular + max(ceiling - specular, _ZERO) * grazing2 * grazing2 * grazing
    return fresnel * (_ONE - np.float32(0.6) * roughness)


@inlined
def lit_share(maps, frames, m, point, slack):
    """Share of the key light that reaches a point: 3x3 taps of shadow map m that slide with it.

    frames[m]: rows that give texel x, texel y and depth of a rig point; row 3 holds the bias, of
    which there is `slack` times as much.
    """
    size = maps.shape[1]
    x, y, z = point
    qx = frames[m, 0, 0] * x + frames[m, 0, 1] * y + frames[m, 0, 2] * z + frames[m, 0, 3]
    qy = frames[m, 1, 0] * x + frames[m, 1, 1] * y + frames[m, 1, 2] * z + frames[m, 1, 3]
    qz = frames[m, 2, 0] * x + frames[m, 2, 1] * y + frames[m, 2, 2] * z + frames[m, 2, 3]
    ix, iy = np.int32(np.floor(qx)), np.int32(np.floor(qy))
    if ix < 1 or iy < 1 or ix >= size - 2 or iy >= size - 2:
        return _ONE
    limit = _ONE / (qz - slack * frames[m, 3, 0])
    ax, ay = qx - np.float32(ix), qy - np.float32(iy)
    first, top = np.uint32(ix - 1), np.uint32(iy - 1)
    lit = _row_lit(maps, m, top, first, limit, ax) * (_ONE - ay)
    lit += _row_lit(maps, m, top + np.uint32(1), first, limit, ax)
    lit += _row_lit(maps, m, top + np.uint32(2), first, limit, ax)
    lit += _row_lit(maps, m, top + np.uint32(3), first, limit, ax) * ay
    return lit * np.float32(1 / 9)


@inlined
def _row_lit(maps, m, y, x, limit, ax):
    """Taps of a row that are lit, of four whose first and last count in part. No branch: which
    taps are lit is as good as random along the edge of a shadow."""
    lit = (_ONE - ax) if maps[m, y, x] < limit else _ZERO
    lit += _ONE if maps[m, y, x + np.uint32(1)] < limit else _ZERO
    lit += _ONE if maps[m, y, x + np.uint32(2)] < limit else _ZERO
    lit += ax if maps[m, y, x + np.uint32(3)] < limit else _ZERO
    return lit


@compiled
def crease_glow(light, deep):
    """Ambient light on skin, with what bleeds into places that few directions reach.

    deep: share of directions from which none comes; 0 where the surface isn't skin.
    """
    return (
        light[0] * (_ONE + _CREASE_BLEED[0] * deep),
        light[1] * (_ONE + _CREASE_BLEED[1] * deep),
        light[2] * (_ONE + _CREASE_BLEED[2] * deep),
    )


@compiled
def scattered(nl, lit, skin):
    """Share of a light that a surface scatters back, per channel.

    skin: 1 where light wraps around it under the surface, 0 where it doesn't.
    """
    red = max((nl + skin * _WRAP[0]) / (_ONE + skin * _WRAP[0]), _ZERO)
    green = max((nl + skin * _WRAP[1]) / (_ONE + skin * _WRAP[1]), _ZERO)
    blue = max((nl + skin * _WRAP[2]) / (_ONE + skin * _WRAP[2]), _ZERO)
    # Red light also seeps over the edge of a shadow.
    seep = lit * (_ONE + np.float32(0.4) * skin * (_ONE - lit))
    return red * seep, green * lit, blue * lit


@compiled
def hair_lobes(tangent, light, view, nl, roughness, specular):
    """Diffuse share, white and tinted highlights of a strand (Kajiya and Kay 1989, with the
    shifted highlights of Marschner 2003)."""
    along = dot(tangent, light)
    diffuse = np.sqrt(max(_ONE - along * along, _ZERO))
    diffuse *= max((nl + _HAIR_WRAP) / (_ONE + _HAIR_WRAP), _ZERO)
    half = dot(tangent, unit(plus(light, view, _ONE)))
    root, tip = half - _ROOT_SHIFT, half + _TIP_SHIFT
    alpha2 = roughness * roughness
    white = _ONE / (_ONE + root * root / alpha2)
    tinted = _ONE / (_ONE + tip * tip / (np.float32(4) * alpha2))
    facing = max(nl + np.float32(0.25), _ZERO)
    return (
        diffuse,
        white * white * specular * facing,
        tinted * tinted * np.float32(0.5) * facing,
    )


@compiled
def highlight(normal, light, view, nl, nv, roughness, specular):
    """Share of a light that a rough surface mirrors to the viewer: GGX with Schlick's Fresnel."""
    half = unit(plus(light, view, _ONE))
    nh, edge = max(dot(normal, half), _ZERO), _ONE - max(dot(view, half), _ZERO)
    edge2 = edge * edge
    fresnel = specular + (_ONE - specular) * edge2 * edge2 * edge
    alpha2 = roughness * roughness
    spread = nh * nh * (alpha2 - _ONE) + _ONE
    visibility = np.float32(0.5) / (
        nl * (nv * (_ONE - roughness) + roughness) + nv * (nl * (_ONE - roughness) + roughness)
    )
    return fresnel * alpha2 / (spread * spread) * visibility * nl


@compiled
def catch_light(normal, light, view, radius, specular):
    """A disc as large as the light, mirrored in the tear film."""
    half = unit(plus(light, view, _ONE))
    nh, edge = max(dot(normal, half), _ZERO), _ONE - max(dot(view, half), _ZERO)
    edge2 = edge * edge
    fresnel = specular + (_ONE - specular) * edge2 * edge2 * edge
    reach = np.float32(0.25) * radius * radius
    disc = clamped(np.float32(1.6) - (_ONE - nh * nh) / reach)
    return fresnel * disc * _EYE_HIGHLIGHT / (radius * radius)
