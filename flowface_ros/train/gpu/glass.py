"""Lenses of glasses over a batch of pictures, as in `synth.render.glass`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from flowface_ros.train.gpu import lighting
from flowface_ros.train.gpu.asset import BLUE, PASSES, RED, SPECULAR
from flowface_ros.train.gpu.bank import Lights
from flowface_ros.train.gpu.drawing import Drawing
from flowface_ros.train.gpu.raster import TriangleSoup, perspective_weights, rasterize


def lay_glass(
    light: Tensor, drawing: Drawing, pixels: Tensor, inverse_depth: Tensor, lights: Lights
) -> None:
    """Lay the nearest lenses over light (B, H, W, 3), in place.

    pixels: (N, 3) projected vertices. inverse_depth: (B, H, W) of what is opaque.
    """
    chosen = torch.nonzero(drawing.materials[drawing.material, PASSES] > 0).flatten()
    if not len(chosen):
        return
    batch, height, width = inverse_depth.shape
    image = drawing.image[chosen]
    soup = TriangleSoup(
        pixels, drawing.triangles[chosen], image, torch.zeros_like(image, dtype=torch.bool)
    )
    seen = rasterize(soup, batch, width, height)
    b, y, x = torch.nonzero((seen.triangle >= 0) & (seen.inverse_depth >= inverse_depth)).T
    triangle = chosen[seen.triangle[b, y, x]]
    corners = drawing.triangles[triangle]
    weights, _ = perspective_weights(pixels[corners], x.float(), y.float())
    point = (drawing.position[corners] * weights[..., None]).sum(dim=1)
    normal = normalize((drawing.direction[corners] * weights[..., None]).sum(dim=1), dim=1)
    view = normalize(-point, dim=1)
    normal = torch.where((lighting.dot(normal, view) < 0)[:, None], -normal, normal)
    nv = lighting.dot(normal, view)[:, None]
    back = -view + 2 * nv * normal
    rows = drawing.materials[drawing.material[triangle]]
    specular = rows[:, SPECULAR : SPECULAR + 1]
    mirror = specular + (1 - specular) * (1 - nv) ** 5
    mirrored = lighting.ambient(lights.ambient[b], back)
    for k in range(lights.directions.shape[1]):
        radius = lights.radius[b, k]
        hit = lighting.dot(back, lights.directions[b, k]) > torch.cos(radius)
        mirrored = mirrored + lights.colors[b, k] * (hit * 0.5 / radius**2)[:, None]
    passed = rows[:, RED : BLUE + 1] * rows[:, PASSES : PASSES + 1]
    light[b, y, x] = light[b, y, x] * passed * (1 - mirror) + mirror * mirrored
