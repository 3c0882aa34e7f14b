"""Shading of rasterized fragments in linear light, with edges blended from 2x2 samples a pixel."""

from __future__ import annotations

import numpy as np

from flowface_ros.synth.lighting import (
    ambient,
    catch_light,
    crease_glow,
    hair_lobes,
    highlight,
    lit_share,
    mirror_strength,
    mirrored,
    skin_diffuse,
)
from flowface_ros.synth.materials import (
    AXIS,
    BUMP_M,
    EYE,
    HAIR,
    ROUGHNESS,
    SHADOW_MAP,
    SKIN,
    SPECULAR,
    SURFACE,
    TEXTURE,
    UP_PX,
)
from flowface_ros.synth.raster import perspective_weights
from flowface_ros.synth.surfaces import (
    bumped,
    hair_color,
    hair_normal,
    has_bumps,
    texel_place,
    textured,
    tint_of,
)
from flowface_ros.synth.vectors import between, compiled, dot, inlined, plus, scaled, unit

# mypy: disable-error-code="no-untyped-def"

SAMPLES = 2
"""Samples along each side of a pixel."""

_HAIRS_PER_PIXEL = 2
"""At most this many strands of a kind are shaded in a pixel; more share these."""

_ONE, _ZERO = np.float32(1), np.float32(0)
_SAME_SURFACE = np.float32(0.006)
"""Samples of one material whose depths differ by less than this share are shaded together."""

_DARKEST = np.float32(-0.45)
"""No light gets through hair or skin where its cosine is below this."""

_IRIS_COSINE, _CORNEA_BULGE = np.float32(0.82), np.float32(0.55)
_DARKEST_LID = np.float32(0.12)
_HAIR_SHADOW_SLACK = np.float32(3)


@inlined
def _lid_shadow(triangle, material, real, own, sx, sy, step):
    """Light left on an eyeball near the lids, from what surrounds it in the image."""
    height, width = triangle.shape
    light = _ONE
    for k in range(10):
        if k < 4:  # towards the brow, twice as far
            reach = step * np.float32(k + 1) * np.float32(0.5)
            dx, dy, weight = (
                real[own, UP_PX] * reach,
                real[own, UP_PX + 1] * reach,
                np.float32(0.15),
            )
        else:
            angle = np.float32(1.0471976) * np.float32(k - 4)
            dx, dy, weight = np.cos(angle) * step, np.sin(angle) * step, np.float32(0.06)
        x, y = int(sx + dx), int(sy + dy)
        if x < 0 or y < 0 or x >= width or y >= height:
            continue
        t = triangle[y, x]
        if t < 0 or material[t] != own:
            light -= weight
    return max(light, _DARKEST_LID)


@inlined
def _cornea(normal, real, row):
    """The cornea is more curved than the eyeball."""
    axis = (real[row, AXIS], real[row, AXIS + 1], real[row, AXIS + 2])
    if dot(normal, axis) < _IRIS_COSINE:
        return normal
    return unit(plus(normal, plus(normal, axis, -_ONE), _CORNEA_BULGE))


@inlined
def _shade_hair(point, tangent, view, color, row, open_share, real, number, sh, lights, shadows):
    directions, colors, _ = lights
    normal = hair_normal(real, row, point, tangent)
    diffuse = scaled(ambient(sh, normal), open_share)
    shine = (_ZERO, _ZERO, _ZERO)
    for k in range(len(directions)):
        light = (directions[k, 0], directions[k, 1], directions[k, 2])
        nl = dot(normal, light)
        if nl < _DARKEST:
            continue
        lit = (np.float32(0.5) + np.float32(0.5) * open_share) * open_share
        if k == 0 and number[row, SHADOW_MAP] >= 0:
            lit *= lit_share(
                shadows[0], shadows[1], number[row, SHADOW_MAP], point, _HAIR_SHADOW_SLACK
            )
        flat, white, tinted = hair_lobes(
            tangent, light, view, nl, real[row, ROUGHNESS], real[row, SPECULAR]
        )
        source = (colors[k, 0] * lit, colors[k, 1] * lit, colors[k, 2] * lit)
        diffuse = plus(diffuse, source, flat)
        shine = (
            shine[0] + source[0] * (white + tinted * color[0]),
            shine[1] + source[1] * (white + tinted * color[1]),
            shine[2] + source[2] * (white + tinted * color[2]),
        )
    return (
        color[0] * diffuse[0] + shine[0],
        color[1] * diffuse[1] + shine[1],
        color[2] * diffuse[2] + shine[2],
    )


@inlined
def _shade_solid(
    point, normal, view, color, gloss, lid, row, open_share, real, number, sh, lights, shadows
):
    """Skin, eyes, cloth and things. lid: light that the lids leave on an eye, else 1."""
    directions, colors, radius = lights
    surface = number[row, SURFACE]
    roughness, specular = real[row, ROUGHNESS], real[row, SPECULAR]
    diffuse = scaled(ambient(sh, normal), open_share * lid)
    mirror_normal = normal
    if surface == SKIN:
        diffuse = crease_glow(diffuse, open_share)
    elif surface == EYE:
        mirror_normal = _cornea(normal, real, row)
    nv = max(dot(mirror_normal, view), np.float32(0.02))
    back = plus(scaled(view, -_ONE), mirror_normal, np.float32(2) * nv)
    strength = mirror_strength(specular, roughness, nv) * gloss * open_share * open_share * lid
    shine = scaled(mirrored(sh, back), strength)
    for k in range(len(directions)):
        light = (directions[k, 0], directions[k, 1], directions[k, 2])
        nl = dot(normal, light)
        if nl < _DARKEST:
            continue
        lit = np.float32(0.5) + np.float32(0.5) * open_share
        if k == 0 and number[row, SHADOW_MAP] >= 0:
            lit *= lit_share(shadows[0], shadows[1], number[row, SHADOW_MAP], point, _ONE)
        source = (colors[k, 0], colors[k, 1], colors[k, 2])
        if surface == SKIN:
            red, green, blue = skin_diffuse(nl, lit)
            diffuse = (
                diffuse[0] + source[0] * red,
                diffuse[1] + source[1] * green,
                diffuse[2] + source[2] * blue,
            )
        else:
            diffuse = plus(diffuse, source, max(nl, _ZERO) * lit * lid)
        mirror_nl = dot(mirror_normal, light)
        if mirror_nl <= 0:
            continue
        if surface == EYE:
            share = catch_light(mirror_normal, light, view, radius[k], specular)
            share *= min(lid * np.float32(2), _ONE)
        else:
            share = gloss * highlight(
                mirror_normal, light, view, mirror_nl, nv, roughness, specular
            )
        shine = plus(shine, source, share * lit)
    return (
        color[0] * diffuse[0] + shine[0],
        color[1] * diffuse[1] + shine[1],
        color[2] * diffuse[2] + shine[2],
    )


@inlined
def _shade(t, weights, lid, mesh, table, eye, sh, lights, shadows):
    """Linear R, G, B of a point of triangle t."""
    position, normals, uv, occlusion, triangles, material = mesh
    number, real, textures = table
    corners = (triangles[t, 0], triangles[t, 1], triangles[t, 2])
    a, b, c = corners
    wa, wb, wc = weights
    row = material[t]
    surface = number[row, SURFACE]
    normal = unit(between(normals, corners, weights))
    point = between(position, corners, weights)
    u = wa * uv[a, 0] + wb * uv[b, 0] + wc * uv[c, 0]
    v = wa * uv[a, 1] + wb * uv[b, 1] + wc * uv[c, 1]
    open_share = wa * occlusion[a] + wb * occlusion[b] + wc * occlusion[c]
    view = unit((eye[0] - point[0], eye[1] - point[1], eye[2] - point[2]))
    if surface == HAIR:
        color = hair_color(real, row, u, v)
        return _shade_hair(
            point, normal, view, color, row, open_share, real, number, sh, lights, shadows
        )
    if surface != SKIN and dot(normal, view) < 0:
        normal = scaled(normal, -_ONE)  # the back of cloth
    color, gloss = tint_of(real, row), _ONE
    if number[row, TEXTURE] >= 0:
        first, size, ax, ay = texel_place(number, row, u, v)
        painted, gloss = textured(textures, first, size, ax, ay)
        color = (color[0] * painted[0], color[1] * painted[1], color[2] * painted[2])
        if has_bumps(number, real, row):
            normal = bumped(
                textures, first, size, ax, ay, real[row, BUMP_M], normal, position, uv, corners
            )
    return _shade_solid(
        point, normal, view, color, gloss, lid, row, open_share, real, number, sh, lights, shadows
    )


@inlined
def _gather(triangle, inverse_depth, material, number, x, y, first, place, weight):
    """Group a pixel's samples by surface; how many groups, and how many samples see nothing.

    first, place, weight: (4,) triangle, sample and number of samples of each group; written.
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
            same = first[k] == t
            if not same and material[first[k]] == material[t]:
                if number[material[t], SURFACE] == HAIR:
                    hairs += 1
                    same = hairs == _HAIRS_PER_PIXEL
                else:
                    near = inverse_depth[v, u]
                    far = inverse_depth[2 * y + (place[k] >> 1), 2 * x + (place[k] & 1)]
                    same = abs(near - far) < _SAME_SURFACE * near
            if same:
                weight[k] += 1
                found = True
                break
        if not found:
            first[count], place[count], weight[count] = t, s, 1
            count += 1
    return count, empty


@compiled
def shade_fragments(
    triangle, inverse_depth, pixels, lid_step_px_m, mesh, table, eye, sh, lights, shadows, image
):
    """Blend what the samples (2H, 2W) see into `image` (H, W, 3), which holds the background.

    A surface that several samples of a pixel see is shaded once, so only edges cost more.
    pixels: (N, 3) vertices in sample coordinates. lid_step_px_m: reach of the lids' shadow, in
    samples at depth 1 m. mesh: position, normal (N, 3; of hair the tangent), uv (N, 2; of hair
    tone and place along the strand), share of ambient light (N,), triangles (F, 3), material
    (F,). table: materials as integers and floats, textures. eye: (3,) viewer. sh: (9, 3). lights:
    directions, colors (n, 3), radius (n,). shadows: maps, frames. All float32 or int32, in the
    rig frame.
    """
    material, number = mesh[5], table[0]
    triangles = mesh[4]
    first, place, weight = np.zeros(4, np.int32), np.zeros(4, np.int32), np.zeros(4, np.int32)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            count, empty = _gather(
                triangle, inverse_depth, material, number, x, y, first, place, weight
            )
            if count == 0:
                continue
            share = np.float32(0.25) * np.float32(empty)
            total = (image[y, x, 0] * share, image[y, x, 1] * share, image[y, x, 2] * share)
            for k in range(count):
                t = first[k]
                sx, sy = np.float32(2 * x) + np.float32(0.5), np.float32(2 * y) + np.float32(0.5)
                if weight[k] < 4:
                    sx = np.float32(2 * x + (place[k] & 1))
                    sy = np.float32(2 * y + (place[k] >> 1))
                wa, wb, wc, z = perspective_weights(
                    pixels, triangles[t, 0], triangles[t, 1], triangles[t, 2], sx, sy
                )
                lid = _ONE
                if number[material[t], SURFACE] == EYE:
                    step = lid_step_px_m / z
                    lid = _lid_shadow(triangle, material, table[1], material[t], sx, sy, step)
                color = _shade(t, (wa, wb, wc), lid, mesh, table, eye, sh, lights, shadows)
                total = plus(total, color, np.float32(0.25) * np.float32(weight[k]))
            image[y, x, 0], image[y, x, 1], image[y, x, 2] = total
