"""Light that a point sends to the viewer: ambient, shadow map, skin, hair, eyes, solid things."""

from __future__ import annotations

import numpy as np

from flowface_ros.synth.vectors import clamped, compiled, dot, inlined, plus, unit

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
def ambient(sh, n):
    """Light (3 channels) from all around on a normal, or seen in a direction, at least 0."""
    x, y, z = n
    return (_harmonics(sh, 0, x, y, z), _harmonics(sh, 1, x, y, z), _harmonics(sh, 2, x, y, z))


@inlined
def _harmonics(sh, k, x, y, z):
    value = sh[0, k] + sh[1, k] * x + sh[2, k] * y + sh[3, k] * z
    value += sh[4, k] * x * y + sh[5, k] * y * z + sh[6, k] * x * z
    value += sh[7, k] * (np.float32(3) * z * z - _ONE) + sh[8, k] * (x * x - y * y)
    return max(value, _ZERO)


@inlined
def mirrored(sh, r):
    """Coarse ambient light (3 channels) from a mirror direction."""
    x, y, z = r
    return (
        max(sh[0, 0] + sh[1, 0] * x + sh[2, 0] * y + sh[3, 0] * z, _ZERO),
        max(sh[0, 1] + sh[1, 1] * x + sh[2, 1] * y + sh[3, 1] * z, _ZERO),
        max(sh[0, 2] + sh[1, 2] * x + sh[2, 2] * y + sh[3, 2] * z, _ZERO),
    )


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
    ix, iy = int(np.floor(qx)), int(np.floor(qy))
    if ix < 1 or iy < 1 or ix >= size - 2 or iy >= size - 2:
        return _ONE
    limit = _ONE / (qz - slack * frames[m, 3, 0])
    ax, ay = np.float32(qx - ix), np.float32(qy - iy)
    lit = _ZERO
    for j in range(-1, 3):
        weight = (_ONE - ay) if j == -1 else (ay if j == 2 else _ONE)
        row = _ZERO
        if maps[m, iy + j, ix - 1] < limit:
            row += _ONE - ax
        if maps[m, iy + j, ix] < limit:
            row += _ONE
        if maps[m, iy + j, ix + 1] < limit:
            row += _ONE
        if maps[m, iy + j, ix + 2] < limit:
            row += ax
        lit += weight * row
    return lit / np.float32(9)


@compiled
def crease_glow(light, open_share):
    """Ambient light on skin, with what bleeds into places that few directions reach."""
    deep = _ONE - open_share
    return (
        light[0] * (_ONE + _CREASE_BLEED[0] * deep),
        light[1] * (_ONE + _CREASE_BLEED[1] * deep),
        light[2] * (_ONE + _CREASE_BLEED[2] * deep),
    )


@compiled
def skin_diffuse(nl, lit):
    """Share of a light that skin scatters back, per channel."""
    red = max((nl + _WRAP[0]) / (_ONE + _WRAP[0]), _ZERO)
    green = max((nl + _WRAP[1]) / (_ONE + _WRAP[1]), _ZERO)
    blue = max((nl + _WRAP[2]) / (_ONE + _WRAP[2]), _ZERO)
    # Red light also seeps over the edge of a shadow.
    seep = np.float32(0.6) * lit + np.float32(0.4) * lit * (np.float32(2) - lit)
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
