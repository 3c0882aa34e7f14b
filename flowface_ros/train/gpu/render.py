"""A batch of pictures and what is seen in them: samples, shading, blending, texels' visibility."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from flowface_ros.synth.render.materials import EYE, HAIR
from flowface_ros.train.gpu.asset import SURFACE
from flowface_ros.train.gpu.bank import Lights
from flowface_ros.train.gpu.drawing import Drawing, Views, opaque_triangles
from flowface_ros.train.gpu.glass import lay_glass
from flowface_ros.train.gpu.raster import Seen, TriangleSoup, perspective_weights, rasterize
from flowface_ros.train.gpu.shading import Points, World, lid_shadow, shade
from flowface_ros.train.gpu.shadow import cast_shadows

_SAMPLES = 2
"""Samples along each side of a pixel."""
_LID_REACH_M = 0.0014
_SAME_SURFACE = 0.006
"""Samples of a pixel on one material whose depths differ by less are shaded as one."""
_POINTS_AT_ONCE = 1 << 21
"""Points shaded together: some 3 GB."""


@dataclass(frozen=True)
class Rendered:
    """light: (B, S, S, 3) linear. seen: (B, 2S, 2S) samples, rows of the drawing's triangles."""

    light: Tensor
    seen: Seen


def render(
    drawing: Drawing, views: Views, lights: Lights, texels: Tensor, background: Tensor,
    compiled: bool = False,
) -> Rendered:  # fmt: skip
    """background: (B, S, S, 3) linear light. texels: of the banks. compiled: see `shade`."""
    size, batch = views.size, len(background)
    opaque = opaque_triangles(drawing)
    pixels = drawing.pixels(views)
    samples = pixels.clone()
    samples[:, :2] = samples[:, :2] * _SAMPLES + (_SAMPLES - 1) / 2
    cull = opaque < drawing.head_triangles
    soup = TriangleSoup(samples, drawing.triangles[opaque], drawing.image[opaque], cull)
    found = rasterize(soup, batch, size * _SAMPLES, size * _SAMPLES)
    triangle = torch.where(found.triangle < 0, -1, opaque[found.triangle.clamp(min=0)])
    seen = Seen(triangle, found.inverse_depth)
    shadows = cast_shadows(drawing, lights.directions[:, 0], opaque)
    world = World(drawing, texels, lights, shadows)
    light = _blended(world, views, samples, seen, background, compiled)
    nearest = seen.inverse_depth[:, ::_SAMPLES, ::_SAMPLES]
    lay_glass(light, drawing, pixels, nearest, lights)
    return Rendered(light, seen)


def _by_pixel(values: Tensor) -> Tensor:
    """(B, 2S, 2S) -> (B * S * S, 4) in the order of the pixels."""
    b, h, w = values.shape
    blocks = values.reshape(b, h // _SAMPLES, _SAMPLES, w // _SAMPLES, _SAMPLES)
    return blocks.transpose(2, 3).reshape(-1, _SAMPLES**2)


def _blended(
    world: World, views: Views, samples: Tensor, seen: Seen, background: Tensor, compiled: bool
) -> Tensor:
    """Light (B, S, S, 3): what each pixel's samples see, what is alike shaded once."""
    drawing, size = world.drawing, views.size
    triangle, inverse = _by_pixel(seen.triangle), _by_pixel(seen.inverse_depth)
    material = torch.where(triangle < 0, -1, drawing.material[triangle.clamp(min=0)])
    near, far = inverse.amax(dim=1), inverse.amin(dim=1)
    alike = (material == material[:, :1]).all(dim=1) & (material[:, 0] >= 0)
    alike &= near - far < _SAME_SURFACE * near
    hair = drawing.materials[material[:, 0].clamp(min=0), SURFACE] == HAIR
    alike &= ~hair | (triangle == triangle[:, :1]).all(dim=1)
    whole = torch.nonzero(alike).flatten()
    parts, sample = torch.nonzero(~alike[:, None] & (triangle >= 0)).T
    pixel = torch.cat([whole, parts])
    number = torch.cat([triangle[whole, 0], triangle[parts, sample]])
    share = torch.cat([torch.ones_like(near[whole]), torch.full_like(near[parts], 1 / _SAMPLES**2)])
    row, column = (pixel // size) % size, pixel % size
    half = torch.full_like(near[whole], (_SAMPLES - 1) / 2)
    x = column * _SAMPLES + torch.cat([half, (sample % _SAMPLES).float()])
    y = row * _SAMPLES + torch.cat([half, (sample // _SAMPLES).float()])
    empty = (triangle < 0).float().mean(dim=1, keepdim=True)
    light = background.reshape(-1, 3) * empty
    for start in range(0, len(pixel), _POINTS_AT_ONCE):
        some = slice(start, start + _POINTS_AT_ONCE)
        points = _points(world, views, samples, seen, number[some], x[some], y[some])
        color = shade(world, points, compiled)
        light.index_add_(0, pixel[some], color * share[some, None])
    return light.reshape(background.shape)


def _points(
    world: World, views: Views, samples: Tensor, seen: Seen, triangle: Tensor, x: Tensor, y: Tensor
) -> Points:
    """Points of triangles (P,) at sample coordinates x, y (P,)."""
    drawing = world.drawing
    weights, depth = perspective_weights(samples[drawing.triangles[triangle]], x, y)
    material, image = drawing.material[triangle], drawing.image[triangle]
    lid = torch.ones_like(x)
    eye = torch.nonzero(drawing.materials[material, SURFACE] == EYE).flatten()
    if len(eye):
        reach = _SAMPLES * _LID_REACH_M * views.focal_px[image[eye]] / depth[eye]
        lid[eye] = lid_shadow(drawing, seen, image[eye], material[eye], x[eye], y[eye], reach)
    return Points(triangle, weights, lid)


def texels_seen(
    position_px: Tensor, depth_m: Tensor, seen: Seen, head_triangles: int, slack_m: float
) -> Tensor:
    """(B, Q) bool: which texels the pictures show.

    position_px: (B, Q, 2), depth_m: (B, Q). A texel is seen when at least two of the four samples
    of its nearest pixel see a head's surface, and one not further than slack_m from the texel.
    """
    batch, height = seen.triangle.shape[:2]
    column, row = torch.round(position_px).long().unbind(dim=2)
    size = height // _SAMPLES
    inside = (column >= 0) & (row >= 0) & (column < size) & (row < size)
    column, row = column.clamp(0, size - 1), row.clamp(0, size - 1)
    image = torch.arange(batch, device=column.device)[:, None]
    count = torch.zeros_like(column)
    near = torch.zeros_like(inside)
    for sample in range(_SAMPLES**2):
        y, x = row * _SAMPLES + sample // _SAMPLES, column * _SAMPLES + sample % _SAMPLES
        triangle = seen.triangle[image, y, x]
        own = (triangle >= 0) & (triangle < head_triangles)
        away = 1 / seen.inverse_depth[image, y, x].clamp(min=1e-6) - depth_m
        count += own
        near |= own & (away.abs() < slack_m)
    return inside & near & (count >= _SAMPLES)
