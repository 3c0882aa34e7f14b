"""Colour and normal of points: textures, bumps, strands, as in `synth.render.surfaces`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from flowface_ros.synth.render.materials import EYE, SKIN
from flowface_ros.train.gpu.asset import BLUE, BUMP_M, GREY, RED, SIZE, SURFACE
from flowface_ros.train.gpu.lighting import dot

_GREY_HAIR = (0.32, 0.31, 0.30)


@dataclass(frozen=True)
class Corners:
    """Corners of the triangles of P points: position (P, 3, 3), uv (P, 3, 2)."""

    position: Tensor
    uv: Tensor


def hair_color(rows: Tensor, tone: Tensor, along: Tensor) -> Tensor:
    """(P, 3) colour of strands of a tone at places between root (0) and tip (1)."""
    grey = rows[:, GREY]
    pick = (tone * 37.7) % 1.0
    white = (0.6 * grey + torch.where(pick < grey, 0.4, 0.0))[:, None]
    light = ((0.55 + 0.9 * tone) * (0.8 + 0.4 * along))[:, None]
    tint = rows[:, RED : BLUE + 1]
    return light * (tint + white * (torch.tensor(_GREY_HAIR, device=tint.device) - tint))


def hair_normal(point: Tensor, center: Tensor, tangent: Tensor) -> Tensor:
    """(P, 3): light falls on hair as on the rounded mass that it forms."""
    outward = point - center
    return normalize(outward - dot(outward, tangent)[:, None] * tangent, dim=1)


def textured(
    texels: Tensor, first: Tensor, rows: Tensor, uv: Tensor, normal: Tensor, corners: Corners
) -> tuple[Tensor, Tensor, Tensor]:
    """Colour (P, 3) linear, gloss (P,) and bumped normal (P, 3) of points.

    texels: (n, 5) uint8 of the banks. first: (P,) first texel of the point's texture, -1 for
    none, where the result is white, 1 and the normal as it was. rows: (P, 11) materials.
    """
    has = first >= 0
    size = rows[:, SIZE]
    limit = size - 1.01
    place = uv * size[:, None] - 0.5
    bound = ((rows[:, SURFACE] == SKIN) | (rows[:, SURFACE] == EYE))[:, None]
    repeated = place - (place / limit[:, None]).floor() * limit[:, None]
    place = torch.where(bound, torch.minimum(place.clamp(min=0), limit[:, None]), repeated)
    base = place.floor()
    ax, ay = (place - base).unbind(dim=1)
    column, line = base.long().unbind(dim=1)
    step = size.long()
    start = torch.where(has, first + line * step + column, 0)
    step = torch.where(has, step, 1)
    right = has.long()
    taps = [
        texels[index].float()
        for index in (start, start + right, start + step, start + step + right)
    ]
    ax, ay = ax[:, None], ay[:, None]
    upper = (1 - ax) * taps[0] + ax * taps[1]
    lower = (1 - ax) * taps[2] + ax * taps[3]
    value = ((1 - ay) * upper + ay * lower) / 255
    color = torch.where(has[:, None], value[:, :3] ** 2, 1.0)
    gloss = torch.where(has, value[:, 4], 1.0)
    heights = [tap[:, 3:4] for tap in taps]
    across = (heights[1] - heights[0]) * (1 - ay) + (heights[3] - heights[2]) * ay
    down = (heights[2] - heights[0]) * (1 - ax) + (heights[3] - heights[1]) * ax
    per_unit = torch.where(has, rows[:, BUMP_M] * size / 255, 0.0)
    slope = torch.cat([across, down], dim=1) * per_unit[:, None]
    return color, gloss, _bumped(normal, slope, corners)


def _bumped(normal: Tensor, slope: Tensor, corners: Corners) -> Tensor:
    """The normal (P, 3), tilted by a height's slope (P, 2) per unit of u and v."""
    e1 = corners.position[:, 1] - corners.position[:, 0]
    e2 = corners.position[:, 2] - corners.position[:, 0]
    d1, d2 = corners.uv[:, 1] - corners.uv[:, 0], corners.uv[:, 2] - corners.uv[:, 0]
    area = (d1[:, 0] * d2[:, 1] - d2[:, 0] * d1[:, 1])[:, None]
    flat = area.abs() < 1e-10
    safe = torch.where(flat, 1.0, area)
    along_u = (e1 * d2[:, 1:] - e2 * d1[:, 1:]) / safe
    along_v = (e2 * d1[:, :1] - e1 * d2[:, :1]) / safe
    tilt = normal - along_u * (slope[:, :1] / ((along_u**2).sum(dim=1, keepdim=True) + 1e-9))
    tilt = tilt - along_v * (slope[:, 1:] / ((along_v**2).sum(dim=1, keepdim=True) + 1e-9))
    return torch.where(flat, normal, normalize(tilt, dim=1))
