"""Light that falls on blocks of points and leaves them for the viewer.

Each loop handles a block of points at a time and has no branches that differ between points, so
that the compiler handles 8 or 16 of them per instruction. What does not apply to a point is
computed and dropped.
"""

from __future__ import annotations

import numpy as np

from flowface_ros.synth.render.blocks import (
    AXIS_X,
    BLOCK,
    DIFFUSE_B,
    DIFFUSE_G,
    DIFFUSE_R,
    GLOSS,
    IS_EYE,
    IS_SKIN,
    LID,
    LIT,
    MX,
    NV,
    NX,
    OPEN,
    PX,
    PY,
    PZ,
    RED,
    ROUGH,
    SHINE_R,
    SPEC,
    TILT_X,
    VX,
)
from flowface_ros.synth.render.lighting import (
    ambient,
    catch_light,
    crease_glow,
    hair_lobes,
    harmonic_rows,
    highlight,
    mirror_strength,
    mirrored,
    scattered,
)
from flowface_ros.synth.render.vectors import compiled, dot, inlined, plus, scaled, unit

# mypy: disable-error-code="no-untyped-def"

_ONE, _ZERO = np.float32(1), np.float32(0)

_DARKEST = np.float32(-0.45)
"""No light gets through hair or skin where its cosine is below this."""

_IRIS_COSINE, _CORNEA_BULGE = np.float32(0.82), np.float32(0.55)


@inlined
def _vector(block, channel, i):
    """Three channels of a point."""
    return block[channel + i], block[channel + BLOCK + i], block[channel + 2 * BLOCK + i]


@inlined
def _store(block, channel, i, vector):
    block[channel + i], block[channel + BLOCK + i], block[channel + 2 * BLOCK + i] = vector


@inlined
def _towards(block, i, eye):
    """Unit vector from a point to the viewer."""
    return unit((eye[0] - block[PX + i], eye[1] - block[PY + i], eye[2] - block[PZ + i]))


@compiled
def _cornea(normal, axis, is_eye):
    """The normal that mirrors: the cornea is more curved than the eyeball."""
    bulge = unit(plus(normal, plus(normal, axis, -_ONE), _CORNEA_BULGE))
    on_cornea = (is_eye > _ZERO) & (dot(normal, axis) >= _IRIS_COSINE)
    return (
        bulge[0] if on_cornea else normal[0],
        bulge[1] if on_cornea else normal[1],
        bulge[2] if on_cornea else normal[2],
    )


@compiled
def ambient_solid(block, count, viewer, sh):
    """Final normals, and ambient light that points of skin, eyes and things send back."""
    rows = harmonic_rows(sh)
    eye = (viewer[0], viewer[1], viewer[2])
    for i in range(min(count, BLOCK)):
        skin, is_eye, open_share = block[IS_SKIN + i], block[IS_EYE + i], block[OPEN + i]
        view, normal = _towards(block, i, eye), unit(_vector(block, NX, i))
        # The back of cloth is turned to the viewer; skin never is.
        side = -_ONE if (skin == _ZERO) & (dot(normal, view) < _ZERO) else _ONE
        normal = unit(plus(_vector(block, TILT_X, i), normal, side))
        mirror = _cornea(normal, _vector(block, AXIS_X, i), is_eye)
        nv = max(dot(mirror, view), np.float32(0.02))
        lid = block[LID + i]
        diffuse = scaled(ambient(rows, normal), open_share * lid)
        diffuse = crease_glow(diffuse, skin * (_ONE - open_share))
        back = plus(scaled(view, -_ONE), mirror, np.float32(2) * nv)
        strength = mirror_strength(block[SPEC + i], block[ROUGH + i], nv)
        strength *= block[GLOSS + i] * open_share * open_share * lid
        _store(block, VX, i, view)
        _store(block, NX, i, normal)
        _store(block, MX, i, mirror)
        block[NV + i] = nv
        _store(block, DIFFUSE_R, i, diffuse)
        _store(block, SHINE_R, i, scaled(mirrored(rows, back), strength))


@compiled
def light_solid(block, count, direction, color, radius, is_key):
    """Add a light to what points of skin, eyes and things scatter and mirror."""
    for i in range(min(count, BLOCK)):
        normal, mirror, view = _vector(block, NX, i), _vector(block, MX, i), _vector(block, VX, i)
        lid, rough, spec = block[LID + i], block[ROUGH + i], block[SPEC + i]
        nl = dot(normal, direction)
        lit = np.float32(0.5) + np.float32(0.5) * block[OPEN + i]
        lit *= block[LIT + i] if is_key else _ONE
        lit = lit if nl >= _DARKEST else _ZERO
        red, green, blue = scattered(nl, lit, block[IS_SKIN + i])
        mirror_nl = dot(mirror, direction)
        glint = catch_light(mirror, direction, view, radius, spec)
        glint *= min(lid * np.float32(2), _ONE)
        above = max(mirror_nl, np.float32(1e-4))
        spot = block[GLOSS + i] * highlight(
            mirror, direction, view, above, block[NV + i], rough, spec
        )
        spot = glint if block[IS_EYE + i] > _ZERO else spot
        spot = spot * lit if mirror_nl > _ZERO else _ZERO
        block[DIFFUSE_R + i] += color[0] * red * lid
        block[DIFFUSE_G + i] += color[1] * green * lid
        block[DIFFUSE_B + i] += color[2] * blue * lid
        for k in range(3):
            block[SHINE_R + k * BLOCK + i] += color[k] * spot


@compiled
def ambient_hair(block, count, viewer, sh):
    """Unit tangents, and ambient light on points of hair, as on the rounded mass that it forms."""
    rows = harmonic_rows(sh)
    eye = (viewer[0], viewer[1], viewer[2])
    for i in range(min(count, BLOCK)):
        tangent = unit(_vector(block, NX, i))
        outward = plus(_vector(block, PX, i), _vector(block, AXIS_X, i), -_ONE)
        normal = unit(plus(outward, tangent, -dot(outward, tangent)))
        _store(block, VX, i, _towards(block, i, eye))
        _store(block, NX, i, tangent)
        _store(block, MX, i, normal)
        _store(block, DIFFUSE_R, i, scaled(ambient(rows, normal), block[OPEN + i]))
        _store(block, SHINE_R, i, (_ZERO, _ZERO, _ZERO))


@compiled
def light_hair(block, count, direction, color, is_key):
    """Add a light to what points of hair scatter and mirror."""
    for i in range(min(count, BLOCK)):
        tangent, view = _vector(block, NX, i), _vector(block, VX, i)
        nl = dot(_vector(block, MX, i), direction)
        lit = (np.float32(0.5) + np.float32(0.5) * block[OPEN + i]) * block[OPEN + i]
        lit *= block[LIT + i] if is_key else _ONE
        lit = lit if nl >= _DARKEST else _ZERO
        flat, white, tinted = hair_lobes(
            tangent, direction, view, nl, block[ROUGH + i], block[SPEC + i]
        )
        for k in range(3):
            at = k * BLOCK + i
            block[DIFFUSE_R + at] += color[k] * lit * flat
            block[SHINE_R + at] += color[k] * lit * (white + tinted * block[RED + at])


@compiled
def gather_light(block, count):
    """What the surface's colour leaves of the scattered light, plus the mirrored: in DIFFUSE."""
    for k in range(3):
        for i in range(min(count, BLOCK)):
            at = k * BLOCK + i
            block[DIFFUSE_R + at] = block[RED + at] * block[DIFFUSE_R + at] + block[SHINE_R + at]
