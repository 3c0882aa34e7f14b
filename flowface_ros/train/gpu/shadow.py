"""Shadow maps of a batch: what the first light of each image sees of the head."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from flowface_ros.train.gpu.drawing import Drawing
from flowface_ros.train.gpu.raster import TriangleSoup, rasterize

_SIZE = 256
_RADIUS_M, _FAR_M, _BIAS_M = 0.19, 100.0, 0.0035
"""As in `synth.render.drawing` and `synth.render.parallel`."""


@dataclass(frozen=True)
class Shadows:
    """inverse: (B, size, size) inverse depth. rows: (B, 3, 4) map a rig point to texel x, texel y
    and depth."""

    inverse: Tensor
    rows: Tensor

    def lit_share(self, image: Tensor, point: Tensor, slack: Tensor) -> Tensor:
        """(P,) share of the light that reaches points (P, 3) of images (P,): 3x3 taps that slide
        with the point. slack: (P,) times the bias."""
        rows = self.rows[image]
        q = (rows[:, :, :3] @ point[..., None])[..., 0] + rows[:, :, 3]
        base = q[:, :2].floor()
        share, base = q[:, :2] - base, base.long()
        outside = ((base < 1) | (base >= _SIZE - 2)).any(dim=1)
        x, y = base.clamp(1, _SIZE - 3).unbind(dim=1)
        limit = 1 / (q[:, 2] - slack * _BIAS_M)
        flat = self.inverse.reshape(-1)
        start = (image * _SIZE + y) * _SIZE + x
        lit = torch.zeros_like(limit)
        for down in range(-1, 3):
            for right in range(-1, 3):
                weight = _edge_weight(right, share[:, 0]) * _edge_weight(down, share[:, 1])
                lit += weight * (flat[start + down * _SIZE + right] < limit)
        return torch.where(outside, 1.0, lit / 9)


def _edge_weight(tap: int, share: Tensor) -> Tensor:
    if tap == -1:
        return 1 - share
    return share if tap == 2 else torch.ones_like(share)


def cast_shadows(drawing: Drawing, light: Tensor, opaque: Tensor) -> Shadows:
    """light: (B, 3) unit vectors towards the lights. opaque: rows of triangles that cast."""
    rows = _parallel_views(light, drawing.center)
    own = rows[drawing.vertex_image]
    seen = (own[:, :, :3] @ drawing.position[..., None])[..., 0] + own[:, :, 3]
    along = (own[:, :2, :3] @ drawing.direction[..., None])[..., 0]
    scale = rows[:, 0, :3].norm(dim=1)[drawing.vertex_image]
    pixels = drawing.widened(seen, along, drawing.shadow_width * scale)
    image = drawing.image[opaque]
    soup = TriangleSoup(
        pixels, drawing.triangles[opaque], image, torch.zeros_like(image, dtype=torch.bool)
    )
    return Shadows(rasterize(soup, len(light), _SIZE, _SIZE).inverse_depth, rows)


def _parallel_views(direction: Tensor, center: Tensor) -> Tensor:
    """Rows (B, 3, 4), as `synth.render.parallel.parallel_view`."""
    forward = -normalize(direction, dim=1)
    up = torch.tensor([0.0, 1.0, 0.0], device=direction.device).expand_as(forward)
    side = torch.tensor([1.0, 0.0, 0.0], device=direction.device).expand_as(forward)
    helper = torch.where(forward[:, 1:2].abs() < 0.9, up, side)
    right = normalize(torch.linalg.cross(forward, helper), dim=1)
    down = torch.linalg.cross(forward, right)
    scale = (_SIZE - 6) / (2 * _RADIUS_M)
    linear = torch.stack([right * scale, down * scale, forward], dim=1)
    middle = torch.tensor([_SIZE / 2, _SIZE / 2, _FAR_M], device=direction.device)
    shift = middle - (linear @ center[..., None])[..., 0]
    return torch.cat([linear, shift[..., None]], dim=2)
