"""Light of points on a drawing, as in `synth.render.shading`, on arrays of points."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from flowface_ros.synth.render.materials import EYE, HAIR, SKIN
from flowface_ros.train.gpu import lighting
from flowface_ros.train.gpu.asset import BLUE, RED, ROUGHNESS, SPECULAR, SURFACE
from flowface_ros.train.gpu.bank import Lights
from flowface_ros.train.gpu.drawing import Drawing
from flowface_ros.train.gpu.lighting import dot
from flowface_ros.train.gpu.raster import Seen
from flowface_ros.train.gpu.shadow import Shadows
from flowface_ros.train.gpu.surfaces import Corners, hair_color, hair_normal, textured

_DARKEST = -0.45
_IRIS_COSINE, _CORNEA_BULGE, _DARKEST_LID = 0.82, 0.55, 0.12
_HAIR_SHADOW_SLACK = 3.0
_BROW_TAPS, _BROW_SHARE = 4, 0.15
_RING_TAPS, _RING_SHARE = 6, 0.06


@dataclass(frozen=True)
class World:
    """What all points of a batch share. texels: (n, 5) uint8 of the banks. lights: of B images."""

    drawing: Drawing
    texels: Tensor
    lights: Lights
    shadows: Shadows


@dataclass(frozen=True)
class Points:
    """P points. triangle: (P,) rows of the drawing's triangles. weights: (P, 3) barycentric.
    lid: (P,) light that the lids leave on an eye, 1 elsewhere."""

    triangle: Tensor
    weights: Tensor
    lid: Tensor

    def __getitem__(self, rows: Tensor) -> Points:
        return Points(self.triangle[rows], self.weights[rows], self.lid[rows])


Shader = Callable[[World, Points], Tensor]


def shade(world: World, points: Points, compiled: bool = False) -> Tensor:
    """Linear light (P, 3) that the points send to the camera at the origin.

    compiled: through torch.compile, which fuses some hundred operations.
    """
    drawing = world.drawing
    surface = drawing.materials[drawing.material[points.triangle], SURFACE]
    is_hair = surface == HAIR
    color = torch.zeros((len(surface), 3), device=surface.device)
    hair, solid = _compiled() if compiled else (_shade_hair, _shade_solid)
    for chosen, shader in ((is_hair, hair), (~is_hair, solid)):
        rows = torch.nonzero(chosen).flatten()
        if len(rows):
            color[rows] = shader(world, points[rows])
    return color


@functools.cache
def _compiled() -> tuple[Shader, Shader]:
    hair, solid = (torch.compile(f, dynamic=True) for f in (_shade_hair, _shade_solid))
    return hair, solid


def _between(values: Tensor, corners: Tensor, weights: Tensor) -> Tensor:
    """Values (N, C) or (N,) at points with corners (P, 3) and weights (P, 3)."""
    picked = values[corners]
    if picked.ndim == 2:
        return (picked * weights).sum(dim=1)
    return (picked * weights[..., None]).sum(dim=1)


def _shade_hair(world: World, points: Points) -> Tensor:
    drawing = world.drawing
    corners = drawing.triangles[points.triangle]
    image, material = drawing.image[points.triangle], drawing.material[points.triangle]
    rows = drawing.materials[material]
    tangent = normalize(_between(drawing.direction, corners, points.weights), dim=1)
    point = _between(drawing.position, corners, points.weights)
    tone, along = _between(drawing.uv, corners, points.weights).unbind(dim=1)
    open_share = _between(drawing.occlusion, corners, points.weights)
    view = normalize(-point, dim=1)
    color = hair_color(rows, tone, along)
    normal = hair_normal(point, drawing.center[image], tangent)
    diffuse = lighting.ambient(world.lights.ambient[image], normal) * open_share[:, None]
    shine = torch.zeros_like(diffuse)
    slack = torch.full_like(open_share, _HAIR_SHADOW_SLACK)
    for k in range(world.lights.directions.shape[1]):
        light = world.lights.directions[image, k]
        nl = dot(normal, light)
        lit = (0.5 + 0.5 * open_share) * open_share
        if k == 0:
            lit = lit * world.shadows.lit_share(image, point, slack)
        lit = torch.where(nl < _DARKEST, 0.0, lit)
        flat, white, tinted = lighting.hair_lobes(
            tangent, light, view, nl, rows[:, ROUGHNESS], rows[:, SPECULAR]
        )
        source = world.lights.colors[image, k] * lit[:, None]
        diffuse = diffuse + source * flat[:, None]
        shine = shine + source * (white[:, None] + tinted[:, None] * color)
    return color * diffuse + shine


def _shade_solid(world: World, points: Points) -> Tensor:
    """Skin, eyes, cloth and things."""
    drawing = world.drawing
    corners = drawing.triangles[points.triangle]
    image, material = drawing.image[points.triangle], drawing.material[points.triangle]
    rows = drawing.materials[material]
    surface = rows[:, SURFACE]
    skin, eye = surface == SKIN, surface == EYE
    normal = normalize(_between(drawing.direction, corners, points.weights), dim=1)
    point = _between(drawing.position, corners, points.weights)
    open_share = _between(drawing.occlusion, corners, points.weights)
    view = normalize(-point, dim=1)
    back = ~skin & (dot(normal, view) < 0)
    normal = torch.where(back[:, None], -normal, normal)
    here = Corners(drawing.position[corners], drawing.uv[corners])
    uv = _between(drawing.uv, corners, points.weights)
    first = drawing.first_texel[material]
    painted, gloss, normal = textured(world.texels, first, rows, uv, normal, here)
    color = rows[:, RED : BLUE + 1] * painted
    sh = world.lights.ambient[image]
    lid, specular, roughness = points.lid, rows[:, SPECULAR], rows[:, ROUGHNESS]
    diffuse = lighting.ambient(sh, normal) * (open_share * lid)[:, None]
    diffuse = torch.where(skin[:, None], lighting.crease_glow(diffuse, open_share), diffuse)
    mirror = _cornea(drawing, normal, image, material, eye)
    nv = dot(mirror, view).clamp(min=0.02)
    reflected = -view + 2 * nv[:, None] * mirror
    strength = lighting.mirror_strength(specular, roughness, nv) * gloss * open_share**2 * lid
    shine = lighting.mirrored(sh, reflected) * strength[:, None]
    for k in range(world.lights.directions.shape[1]):
        light = world.lights.directions[image, k]
        nl = dot(normal, light)
        lit = 0.5 + 0.5 * open_share
        if k == 0:
            lit = lit * world.shadows.lit_share(image, point, torch.ones_like(lit))
        lit = torch.where(nl < _DARKEST, 0.0, lit)
        source = world.lights.colors[image, k]
        plain = (nl.clamp(min=0) * lit * lid)[:, None].expand(-1, 3)
        share = torch.where(skin[:, None], lighting.skin_diffuse(nl, lit), plain)
        diffuse = diffuse + source * share
        mirror_nl = dot(mirror, light)
        glint = lighting.catch_light(mirror, light, view, world.lights.radius[image, k], specular)
        glint = glint * (2 * lid).clamp(max=1)
        above = mirror_nl.clamp(min=1e-4)
        spot = gloss * lighting.highlight(mirror, light, view, above, nv, roughness, specular)
        spot = torch.where(mirror_nl > 0, torch.where(eye, glint, spot), 0.0)
        shine = shine + source * (spot * lit)[:, None]
    return color * diffuse + shine


def _cornea(
    drawing: Drawing, normal: Tensor, image: Tensor, material: Tensor, eye: Tensor
) -> Tensor:
    """Normals (P, 3) that mirror: the cornea is more curved than the eyeball."""
    side = (material - drawing.first_row[image] - 1).clamp(0, 1)
    axis = drawing.eye_axis[image, side]
    bulged = normalize(normal + _CORNEA_BULGE * (normal - axis), dim=1)
    on_cornea = eye & (dot(normal, axis) >= _IRIS_COSINE)
    return torch.where(on_cornea[:, None], bulged, normal)


def lid_shadow(
    drawing: Drawing, seen: Seen, image: Tensor, own: Tensor, x: Tensor, y: Tensor, step: Tensor
) -> Tensor:
    """(P,) light left on eyeballs near the lids, from what surrounds them in the image.

    image: (P,). own: (P,) material of the eye. x, y: (P,) sample coordinates. step: (P,) reach in
    samples.
    """
    height, width = seen.triangle.shape[1:]
    light = torch.ones_like(x)
    up = drawing.up_px[image]
    for k in range(_BROW_TAPS + _RING_TAPS):
        if k < _BROW_TAPS:  # towards the brow, twice as far
            dx, dy = (up * (step * (k + 1) * 0.5)[:, None]).unbind(dim=1)
            weight = _BROW_SHARE
        else:
            angle = 2 * math.pi * (k - _BROW_TAPS) / _RING_TAPS
            dx, dy, weight = math.cos(angle) * step, math.sin(angle) * step, _RING_SHARE
        column, line = (x + dx).long(), (y + dy).long()
        inside = (column >= 0) & (line >= 0) & (column < width) & (line < height)
        triangle = seen.triangle[image, line.clamp(0, height - 1), column.clamp(0, width - 1)]
        other = (triangle < 0) | (drawing.material[triangle.clamp(min=0)] != own)
        light = light - weight * (inside & other)
    return light.clamp(min=_DARKEST_LID)
