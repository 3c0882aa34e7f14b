"""Shading of rasterized fragments in linear light, with edges blended from 2x2 samples a pixel."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numba
import numpy as np
from numpy.typing import NDArray

from flowface_ros.synth.raster import perspective_weights

TEXTURE_CHANNELS = 5
"""Square root of linear R, G, B; height; gloss. All uint8."""

SAMPLES = 2
"""Samples along each side of a pixel."""


class Surface(IntEnum):
    """How a material answers light."""

    SKIN = 0
    EYE = 1
    HAIR = 2
    MATTE = 3
    GLOSSY = 4


_SKIN, _EYE, _HAIR, _GLOSSY = (
    int(Surface.SKIN),
    int(Surface.EYE),
    int(Surface.HAIR),
    int(Surface.GLOSSY),
)

MATERIAL_DTYPE = np.dtype(
    [
        ("surface", np.int32),
        ("texture", np.int32),  # first byte in the texture buffer, -1 for none
        ("texture_size", np.int32),
        ("shadow_map", np.int32),  # -1 for none
        ("tint", np.float32, 3),  # multiplies the texture, linear
        ("roughness", np.float32),  # GGX alpha
        ("specular", np.float32),  # reflectance at normal incidence
        ("bump_m", np.float32),  # height of a texel value of 1, metres
        ("grey", np.float32),  # share of hairs without pigment
        ("center", np.float32, 3),  # of the skull (HAIR) in the rig frame
        ("axis", np.float32, 3),  # gaze direction (EYE) in the rig frame
        ("up_px", np.float32, 2),  # image direction of the upper lid (EYE), unit
    ]
)


@dataclass(frozen=True)
class ShadedMesh:
    """Everything that is drawn opaque, concatenated; the rig frame, metres.

    pixels: (N, 3) float32 x px, y px, depth. position, normal: (N, 3); the normal of HAIR is its
    tangent, towards the tip. uv: (N, 2); for HAIR the strand's tone and the place along it.
    occlusion: (N,) share of ambient light that arrives. triangles: (F, 3) int32.
    material: (F,) int32 row of materials. materials: MATERIAL_DTYPE. textures: uint8 buffer.
    """

    pixels: NDArray[np.float32]
    position: NDArray[np.float32]
    normal: NDArray[np.float32]
    uv: NDArray[np.float32]
    occlusion: NDArray[np.float32]
    triangles: NDArray[np.int32]
    material: NDArray[np.int32]
    materials: NDArray[np.void]
    textures: NDArray[np.uint8]


@numba.njit(nogil=True, cache=True, fastmath=True, inline="always")
def _ambient(sh, x, y, z, k):  # type: ignore[no-untyped-def]
    return (
        sh[0, k]
        + sh[1, k] * x
        + sh[2, k] * y
        + sh[3, k] * z
        + sh[4, k] * x * y
        + sh[5, k] * y * z
        + sh[6, k] * x * z
        + sh[7, k] * (np.float32(3) * z * z - np.float32(1))
        + sh[8, k] * (x * x - y * y)
    )


@numba.njit(nogil=True, cache=True, fastmath=True, inline="always")
def _lit_share(maps, frames, m, x, y, z, slack):  # type: ignore[no-untyped-def]
    """Share of the key light that reaches a point: a 2x2 filtered look-up in shadow map m.

    frames[m]: rows that give texel x, texel y and depth of a rig point; row 3 holds the bias,
    of which there is `slack` times as much.
    """
    size = maps.shape[1]
    qx = frames[m, 0, 0] * x + frames[m, 0, 1] * y + frames[m, 0, 2] * z + frames[m, 0, 3]
    qy = frames[m, 1, 0] * x + frames[m, 1, 1] * y + frames[m, 1, 2] * z + frames[m, 1, 3]
    qz = frames[m, 2, 0] * x + frames[m, 2, 1] * y + frames[m, 2, 2] * z + frames[m, 2, 3]
    ix, iy = int(np.floor(qx)), int(np.floor(qy))
    if ix < 1 or iy < 1 or ix >= size - 2 or iy >= size - 2:
        return np.float32(1)
    limit = np.float32(1) / (qz - slack * frames[m, 3, 0])
    ax, ay = qx - ix, qy - iy
    # 3x3 taps with weights that slide with the point: a soft edge without a stair pattern.
    lit = np.float32(0)
    for j in range(-1, 3):
        wy = (np.float32(1) - ay) if j == -1 else (ay if j == 2 else np.float32(1))
        row = np.float32(0)
        if maps[m, iy + j, ix - 1] < limit:
            row += np.float32(1) - ax
        if maps[m, iy + j, ix] < limit:
            row += np.float32(1)
        if maps[m, iy + j, ix + 1] < limit:
            row += np.float32(1)
        if maps[m, iy + j, ix + 2] < limit:
            row += ax
        lit += wy * row
    return lit / np.float32(9)


@numba.njit(nogil=True, cache=True, fastmath=True, inline="always")
def _lid_shadow(triangle, triangle_material, materials, own, sx, sy, step):  # type: ignore[no-untyped-def]
    """Light left on an eyeball near the lids, from what surrounds it in the image."""
    height, width = triangle.shape
    ux, uy = materials[own].up_px[0], materials[own].up_px[1]
    light = np.float32(1)
    for k in range(10):
        if k < 4:  # towards the brow, twice as far
            reach = step * (k + 1) * np.float32(0.5)
            dx, dy, weight = ux * reach, uy * reach, np.float32(0.15)
        else:
            angle = np.float32(1.0471976) * (k - 4)
            dx, dy, weight = np.cos(angle) * step, np.sin(angle) * step, np.float32(0.06)
        x, y = int(sx + dx), int(sy + dy)
        if x < 0 or y < 0 or x >= width or y >= height:
            continue
        t = triangle[y, x]
        if t < 0 or triangle_material[t] != own:
            light -= weight
    return max(light, np.float32(0.12))


@numba.njit(nogil=True, cache=True, fastmath=True)
def _shade(  # type: ignore[no-untyped-def]
    t, wa, wb, wc, lid,
    position, normal, uv, occlusion, triangles, material, materials, textures,
    eye, sh, directions, colors, radius, shadow_maps, shadow_frames,
):  # fmt: skip
    """Linear R, G, B of a point of triangle t."""
    one, zero = np.float32(1), np.float32(0)
    a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
    m = materials[material[t]]
    surface = m.surface
    nx = wa * normal[a, 0] + wb * normal[b, 0] + wc * normal[c, 0]
    ny = wa * normal[a, 1] + wb * normal[b, 1] + wc * normal[c, 1]
    nz = wa * normal[a, 2] + wb * normal[b, 2] + wc * normal[c, 2]
    scale = one / np.sqrt(nx * nx + ny * ny + nz * nz + np.float32(1e-12))
    nx, ny, nz = nx * scale, ny * scale, nz * scale
    px = wa * position[a, 0] + wb * position[b, 0] + wc * position[c, 0]
    py = wa * position[a, 1] + wb * position[b, 1] + wc * position[c, 1]
    pz = wa * position[a, 2] + wb * position[b, 2] + wc * position[c, 2]
    u = wa * uv[a, 0] + wb * uv[b, 0] + wc * uv[c, 0]
    v = wa * uv[a, 1] + wb * uv[b, 1] + wc * uv[c, 1]
    ao = wa * occlusion[a] + wb * occlusion[b] + wc * occlusion[c]
    vx, vy, vz = eye[0] - px, eye[1] - py, eye[2] - pz
    scale = one / np.sqrt(vx * vx + vy * vy + vz * vz + np.float32(1e-12))
    vx, vy, vz = vx * scale, vy * scale, vz * scale
    r, g, bl = m.tint[0], m.tint[1], m.tint[2]
    gloss = one
    if surface != _HAIR and nx * vx + ny * vy + nz * vz < 0 and surface != _SKIN:
        nx, ny, nz = -nx, -ny, -nz  # the back of cloth
    tx, ty, tz = nx, ny, nz
    if surface == _HAIR:
        # Light falls on hair as on the rounded mass that it forms.
        nx, ny, nz = px - m.center[0], py - m.center[1], pz - m.center[2]
        along = nx * tx + ny * ty + nz * tz
        nx, ny, nz = nx - along * tx, ny - along * ty, nz - along * tz
        scale = one / np.sqrt(nx * nx + ny * ny + nz * nz + np.float32(1e-12))
        nx, ny, nz = nx * scale, ny * scale, nz * scale
        tone = np.float32(0.55) + np.float32(0.9) * u
        pick = u * np.float32(37.7)
        if pick - np.floor(pick) < m.grey:
            r, g, bl = np.float32(0.32), np.float32(0.31), np.float32(0.30)
        tone *= np.float32(0.8) + np.float32(0.4) * v
        r, g, bl = r * tone, g * tone, bl * tone
    elif m.texture >= 0:
        size = m.texture_size
        fx, fy = u * size - np.float32(0.5), v * size - np.float32(0.5)
        limit = np.float32(size - 1) - np.float32(0.01)
        if surface == _SKIN or surface == _EYE:
            fx, fy = min(max(fx, zero), limit), min(max(fy, zero), limit)
        else:
            fx, fy = fx - np.floor(fx / limit) * limit, fy - np.floor(fy / limit) * limit
        ix, iy = int(fx), int(fy)
        ax, ay = fx - ix, fy - iy
        o = m.texture + (iy * size + ix) * TEXTURE_CHANNELS
        p = o + TEXTURE_CHANNELS
        q = o + size * TEXTURE_CHANNELS
        s = q + TEXTURE_CHANNELS
        w00, w10 = (one - ax) * (one - ay), ax * (one - ay)
        w01, w11 = (one - ax) * ay, ax * ay
        i255 = np.float32(1 / 255)
        c0 = w00 * textures[o] + w10 * textures[p] + w01 * textures[q] + w11 * textures[s]
        c1 = w00 * textures[o + 1] + w10 * textures[p + 1] + w01 * textures[q + 1] + w11 * textures[s + 1]  # fmt: skip  # noqa: E501
        c2 = w00 * textures[o + 2] + w10 * textures[p + 2] + w01 * textures[q + 2] + w11 * textures[s + 2]  # fmt: skip  # noqa: E501
        c4 = w00 * textures[o + 4] + w10 * textures[p + 4] + w01 * textures[q + 4] + w11 * textures[s + 4]  # fmt: skip  # noqa: E501
        c0, c1, c2, gloss = c0 * i255, c1 * i255, c2 * i255, c4 * i255
        r, g, bl = r * c0 * c0, g * c1 * c1, bl * c2 * c2
        if m.bump_m > 0:
            h00, h10 = np.float32(textures[o + 3]), np.float32(textures[p + 3])
            h01, h11 = np.float32(textures[q + 3]), np.float32(textures[s + 3])
            per_texel = m.bump_m * i255 * np.float32(size)
            hu = ((h10 - h00) * (one - ay) + (h11 - h01) * ay) * per_texel
            hv = ((h01 - h00) * (one - ax) + (h11 - h10) * ax) * per_texel
            if hu != 0 or hv != 0:
                e1x, e1y, e1z = position[b, 0] - position[a, 0], position[b, 1] - position[a, 1], position[b, 2] - position[a, 2]  # fmt: skip  # noqa: E501
                e2x, e2y, e2z = position[c, 0] - position[a, 0], position[c, 1] - position[a, 1], position[c, 2] - position[a, 2]  # fmt: skip  # noqa: E501
                du1, dv1 = uv[b, 0] - uv[a, 0], uv[b, 1] - uv[a, 1]
                du2, dv2 = uv[c, 0] - uv[a, 0], uv[c, 1] - uv[a, 1]
                det = du1 * dv2 - du2 * dv1
                if abs(det) > np.float32(1e-10):
                    det = one / det
                    # gradient of height over the surface, from the tangents dP/du and dP/dv
                    pux, puy, puz = (e1x * dv2 - e2x * dv1) * det, (e1y * dv2 - e2y * dv1) * det, (e1z * dv2 - e2z * dv1) * det  # fmt: skip  # noqa: E501
                    pvx, pvy, pvz = (e2x * du1 - e1x * du2) * det, (e2y * du1 - e1y * du2) * det, (e2z * du1 - e1z * du2) * det  # fmt: skip  # noqa: E501
                    uu = hu / (pux * pux + puy * puy + puz * puz + np.float32(1e-9))
                    vv = hv / (pvx * pvx + pvy * pvy + pvz * pvz + np.float32(1e-9))
                    nx -= uu * pux + vv * pvx
                    ny -= uu * puy + vv * pvy
                    nz -= uu * puz + vv * pvz
                    scale = one / np.sqrt(nx * nx + ny * ny + nz * nz + np.float32(1e-12))
                    nx, ny, nz = nx * scale, ny * scale, nz * scale
    er = max(_ambient(sh, nx, ny, nz, 0), zero) * ao
    eg = max(_ambient(sh, nx, ny, nz, 1), zero) * ao
    eb = max(_ambient(sh, nx, ny, nz, 2), zero) * ao
    sr, sg, sb = zero, zero, zero
    if surface == _SKIN:  # light bleeds out of lit tissue into creases, red furthest
        deep = one - ao
        er *= one + np.float32(0.35) * deep
        eg *= one + np.float32(0.08) * deep
    snx, sny, snz = nx, ny, nz
    if surface == _EYE:
        facing = nx * m.axis[0] + ny * m.axis[1] + nz * m.axis[2]
        if facing > np.float32(0.82):  # the cornea is more curved than the eyeball
            bulge = np.float32(0.55)
            snx += bulge * (nx - m.axis[0])
            sny += bulge * (ny - m.axis[1])
            snz += bulge * (nz - m.axis[2])
            scale = one / np.sqrt(snx * snx + sny * sny + snz * snz)
            snx, sny, snz = snx * scale, sny * scale, snz * scale
        er, eg, eb = er * lid, eg * lid, eb * lid
    nv = max(snx * vx + sny * vy + snz * vz, np.float32(0.02))
    grazing = one - nv
    grazing2 = grazing * grazing
    fresnel = m.specular + (np.float32(0.9) - m.specular) * grazing2 * grazing2 * grazing
    if surface != _HAIR:
        rx, ry, rz = (
            np.float32(2) * nv * snx - vx,
            np.float32(2) * nv * sny - vy,
            np.float32(2) * nv * snz - vz,
        )
        mirror = fresnel * gloss * ao * ao * (one - np.float32(0.6) * m.roughness)
        if surface == _EYE:
            mirror *= lid * np.float32(0.8)
        sr += mirror * max(_ambient(sh, rx, ry, rz, 0), zero)
        sg += mirror * max(_ambient(sh, rx, ry, rz, 1), zero)
        sb += mirror * max(_ambient(sh, rx, ry, rz, 2), zero)
    a2 = m.roughness * m.roughness
    slack = np.float32(3) if surface == _HAIR else one
    for k in range(len(directions)):
        lx, ly, lz = directions[k, 0], directions[k, 1], directions[k, 2]
        nl = nx * lx + ny * ly + nz * lz
        if nl < np.float32(-0.45):
            continue
        lit = np.float32(0.5) + np.float32(0.5) * ao
        if k == 0 and m.shadow_map >= 0:
            lit *= _lit_share(shadow_maps, shadow_frames, m.shadow_map, px, py, pz, slack)
        if surface == _SKIN:
            # Wrapped diffuse light: it travels under skin, red furthest.
            dr = max((nl + np.float32(0.26)) / np.float32(1.26), zero)
            dg = max((nl + np.float32(0.10)) / np.float32(1.10), zero)
            db = max((nl + np.float32(0.06)) / np.float32(1.06), zero)
            soft = lit * (np.float32(2) - lit)
            er += colors[k, 0] * dr * (np.float32(0.6) * lit + np.float32(0.4) * soft)
            eg += colors[k, 1] * dg * lit
            eb += colors[k, 2] * db * lit
        elif surface == _HAIR:
            along = tx * lx + ty * ly + tz * lz
            diffuse = np.sqrt(max(one - along * along, zero))
            diffuse *= max((nl + np.float32(0.35)) / np.float32(1.35), zero) * lit * ao
            er += colors[k, 0] * diffuse
            eg += colors[k, 1] * diffuse
            eb += colors[k, 2] * diffuse
            hx, hy, hz = lx + vx, ly + vy, lz + vz
            scale = one / np.sqrt(hx * hx + hy * hy + hz * hz + np.float32(1e-9))
            th = (tx * hx + ty * hy + tz * hz) * scale
            # Two highlights (Marschner 2003): white towards the root, tinted towards the tip.
            e1, e2 = th - np.float32(0.10), th + np.float32(0.14)
            q1 = one / (one + e1 * e1 / a2)
            q2 = one / (one + e2 * e2 / (np.float32(4) * a2))
            q1, q2 = q1 * q1 * m.specular, q2 * q2 * np.float32(0.5)
            q = lit * ao * max(nl + np.float32(0.25), zero)
            sr += colors[k, 0] * q * (q1 + q2 * r)
            sg += colors[k, 1] * q * (q1 + q2 * g)
            sb += colors[k, 2] * q * (q1 + q2 * bl)
            continue
        else:
            d = max(nl, zero) * lit * lid
            er += colors[k, 0] * d
            eg += colors[k, 1] * d
            eb += colors[k, 2] * d
        nls = snx * lx + sny * ly + snz * lz
        if nls > 0:
            hx, hy, hz = lx + vx, ly + vy, lz + vz
            scale = one / np.sqrt(hx * hx + hy * hy + hz * hz + np.float32(1e-9))
            nh = max((snx * hx + sny * hy + snz * hz) * scale, zero)
            vh = max((vx * hx + vy * hy + vz * hz) * scale, zero)
            edge = one - vh
            edge2 = edge * edge
            f = m.specular + (one - m.specular) * edge2 * edge2 * edge
            if surface == _EYE:
                # A disc as large as the light, mirrored in the tear film.
                half = radius[k] * np.float32(0.5)
                sine2 = one - nh * nh
                disc = min(max(np.float32(1.6) - sine2 / (half * half), zero), one)
                q = f * disc * lit * min(lid * np.float32(2), one) / (radius[k] * radius[k])
                q *= np.float32(0.7)
            else:
                d = nh * nh * (a2 - one) + one
                visibility = np.float32(0.5) / (
                    nls * (nv * (one - m.roughness) + m.roughness)
                    + nv * (nls * (one - m.roughness) + m.roughness)
                )
                q = f * gloss * a2 / (d * d) * visibility * nls * lit
            sr += colors[k, 0] * q
            sg += colors[k, 1] * q
            sb += colors[k, 2] * q
    return r * er + sr, g * eg + sg, bl * eb + sb


@numba.njit(nogil=True, cache=True, fastmath=True)
def shade_fragments(  # type: ignore[no-untyped-def]
    triangle, inverse_depth, pixels, lid_step_m_px,
    position, normal, uv, occlusion, triangles, material, materials, textures,
    eye, sh, directions, colors, radius, shadow_maps, shadow_frames, image,
):  # fmt: skip
    """Blend what the samples (2H, 2W) see into `image` (H, W, 3), which holds the background.

    A surface that several samples of a pixel see is shaded once, so only edges cost more.
    pixels: vertices in sample coordinates. lid_step_m_px: samples per metre at depth 1, times the
    reach of the lids' shadow.
    """
    height, width = image.shape[0], image.shape[1]
    first = np.zeros(4, np.int32)
    place = np.zeros(4, np.int32)
    weight = np.zeros(4, np.int32)
    for y in range(height):
        for x in range(width):
            count = 0
            empty = 0
            for s in range(4):
                t = triangle[2 * y + (s >> 1), 2 * x + (s & 1)]
                if t < 0:
                    empty += 1
                    continue
                found = False
                for k in range(count):
                    other = first[k]
                    same = other == t
                    if not same and material[other] == material[t]:
                        if materials[material[t]].surface != _HAIR:
                            near = inverse_depth[2 * y + (s >> 1), 2 * x + (s & 1)]
                            far = inverse_depth[2 * y + (place[k] >> 1), 2 * x + (place[k] & 1)]
                            # within 0.6 % of the distance: the same piece of surface
                            same = abs(near - far) < np.float32(0.006) * near
                    if same:
                        weight[k] += 1
                        found = True
                        break
                if not found:
                    first[count], place[count], weight[count] = t, s, 1
                    count += 1
            if count == 0:
                continue
            share = np.float32(0.25) * empty
            r, g, b = image[y, x, 0] * share, image[y, x, 1] * share, image[y, x, 2] * share
            for k in range(count):
                t = first[k]
                if weight[k] == 4:
                    sx, sy = np.float32(2 * x + 0.5), np.float32(2 * y + 0.5)
                else:
                    sx = np.float32(2 * x + (place[k] & 1))
                    sy = np.float32(2 * y + (place[k] >> 1))
                wa, wb, wc, z = perspective_weights(
                    pixels, triangles[t, 0], triangles[t, 1], triangles[t, 2], sx, sy
                )
                lid = np.float32(1)
                if materials[material[t]].surface == _EYE:
                    lid = _lid_shadow(
                        triangle, material, materials, material[t], sx, sy, lid_step_m_px / z
                    )
                cr, cg, cb = _shade(
                    t, wa, wb, wc, lid,
                    position, normal, uv, occlusion, triangles, material, materials, textures,
                    eye, sh, directions, colors, radius, shadow_maps, shadow_frames,
                )  # fmt: skip
                share = np.float32(0.25) * weight[k]
                r += cr * share
                g += cg * share
                b += cb * share
            image[y, x, 0], image[y, x, 1], image[y, x, 2] = r, g, b


@numba.njit(nogil=True, cache=True, fastmath=True)
def blend_glass(  # type: ignore[no-untyped-def]
    triangle, barycentric, depth, scene_depth, position, normal, triangles, passed, specular,
    eye, sh, directions, colors, radius, image,
):  # fmt: skip
    """Lay clear lenses that are nearer than the scene over `image`: what passes and what mirrors."""
    height, width = triangle.shape
    for y in range(height):
        for x in range(width):
            t = triangle[y, x]
            if t < 0 or depth[y, x] > scene_depth[y, x]:
                continue
            nx, ny, nz = np.float32(0), np.float32(0), np.float32(0)
            vx, vy, vz = eye[0], eye[1], eye[2]
            for k in range(3):
                w, p = barycentric[y, x, k], triangles[t, k]
                nx, ny, nz = nx + w * normal[p, 0], ny + w * normal[p, 1], nz + w * normal[p, 2]
                vx, vy, vz = (
                    vx - w * position[p, 0],
                    vy - w * position[p, 1],
                    vz - w * position[p, 2],
                )
            scale = 1 / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
            nx, ny, nz = nx * scale, ny * scale, nz * scale
            scale = 1 / np.sqrt(vx * vx + vy * vy + vz * vz + 1e-12)
            vx, vy, vz = vx * scale, vy * scale, vz * scale
            nv = nx * vx + ny * vy + nz * vz
            if nv < 0:
                nx, ny, nz, nv = -nx, -ny, -nz, -nv
            rx, ry, rz = 2 * nv * nx - vx, 2 * nv * ny - vy, 2 * nv * nz - vz
            mirror = specular + (1 - specular) * (1 - nv) ** 5
            for k in range(3):
                seen = max(_ambient(sh, rx, ry, rz, k), np.float32(0))
                for i in range(len(directions)):
                    c = rx * directions[i, 0] + ry * directions[i, 1] + rz * directions[i, 2]
                    if c > np.cos(radius[i]):
                        seen += colors[i, k] * np.float32(0.5) / (radius[i] * radius[i])
                image[y, x, k] = image[y, x, k] * passed[k] * (1 - mirror) + mirror * seen
