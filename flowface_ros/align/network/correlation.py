"""Correlation of UV features with image features, and look-ups in it around given positions.

A texel's row of the volume is an image: how much each cell of the crop looks like that texel. The
look-up reads a square of it, bilinearly, on every level of a pyramid (RAFT, Teed and Deng, ECCV
2020, arXiv 2003.12039, section 3.2). All samples of a square have the same fraction of a cell, so
one integer gather and two linear interpolations do what a bilinear sampler does, and export to
plain Gather and arithmetic.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flowface_ros.align.network.config import FEATURE_STRIDE, Correlation


class Patch(NamedTuple):
    """Cells that a look-up reads on a level: a square of D = 2 * radius + 2 cells a side.

    index: (B, P, D * D) int64, cells of the flattened level, inside it.
    inside: (B, P, D, D), 1 where the wanted cell is in the level, 0 where it is not.
    fraction: (B, P, 2), x and y in [0, 1), position of the samples between cells.
    """

    index: Tensor
    inside: Tensor
    fraction: Tensor


class CorrelationLookup(nn.Module):
    """Local correlations of every texel around its present position."""

    def __init__(self, kind: Correlation, levels: int, radius: int) -> None:
        super().__init__()
        self.kind = kind
        self.levels = levels
        self.radius = radius

    def prepare(self, uv_features: Tensor, image_features: Tensor) -> list[Tensor]:
        """(P, C) and (B, C, H, W) -> one tensor per level for `forward`.

        `volume`: (B, P, H_l * W_l); `on_the_fly`: (B, H_l * W_l, C). Correlation is linear, so
        pooling the features gives the same pyramid as pooling the volume, for less.
        """
        scaled = image_features * uv_features.shape[1] ** -0.5
        prepared = []
        for level in range(self.levels):
            if level:
                scaled = F.avg_pool2d(scaled, 2)
            cells = scaled.flatten(2)
            if self.kind == "volume":
                prepared.append(torch.matmul(uv_features, cells))
            else:
                prepared.append(cells.transpose(1, 2).contiguous())
        return prepared

    def forward(
        self, prepared: list[Tensor], uv_features: Tensor, position_px: Tensor, size: int
    ) -> Tensor:
        """position_px (B, P, 2), crop pixels -> (B, P, levels * (2 * radius + 1)**2).

        size: side of level 0, cells. Row-major within a level; cells beyond the crop count as 0.
        """
        samples = []
        for level, values in enumerate(prepared):
            side = size >> level
            cell = cell_from_pixel(position_px, FEATURE_STRIDE << level)
            patch = locate(cell, self.radius, side)
            if self.kind == "volume":
                square = torch.gather(values, 2, patch.index)
            else:
                square = _correlate(values, uv_features, patch.index)
            samples.append(_interpolate(square.view(patch.inside.shape) * patch.inside, patch))
        return torch.cat(samples, dim=2)


def cell_from_pixel(position_px: Tensor, stride: int) -> Tensor:
    """Crop pixels (pixel centres at integers) -> cells of a map of that stride, likewise."""
    return (position_px + 0.5) / stride - 0.5


def locate(cell: Tensor, radius: int, side: int) -> Patch:
    """cell (B, P, 2), x and y -> which cells of a (side, side) level a look-up reads."""
    # Squares this far out hold no cell of the level; clamping keeps the integers small.
    nearest = cell.clamp(-radius - 2.0, side + radius + 1.0).floor()
    offsets = torch.arange(-radius, radius + 2, device=cell.device)
    columns = nearest[..., 0:1].long() + offsets
    rows = nearest[..., 1:2].long() + offsets
    inside_columns = ((columns >= 0) & (columns < side)).to(cell.dtype)
    inside_rows = ((rows >= 0) & (rows < side)).to(cell.dtype)
    index = rows.clamp(0, side - 1)[..., :, None] * side + columns.clamp(0, side - 1)[..., None, :]
    inside = inside_rows[..., :, None] * inside_columns[..., None, :]
    fraction = (cell - nearest).clamp(0.0, 1.0)
    return Patch(index.flatten(2), inside, fraction)


def _correlate(cells: Tensor, uv_features: Tensor, index: Tensor) -> Tensor:
    """cells (B, HW, C), uv_features (P, C), index (B, P, K) -> correlations (B, P, K)."""
    batch, count, channels = cells.shape
    first = torch.arange(batch, device=cells.device).view(-1, 1, 1) * count
    picked = cells.reshape(-1, channels)[index + first]
    return torch.matmul(picked, uv_features[:, :, None]).squeeze(-1)


def _interpolate(square: Tensor, patch: Patch) -> Tensor:
    """(B, P, D, D) -> bilinear samples (B, P, (D - 1)**2)."""
    x = patch.fraction[..., 0, None, None]
    y = patch.fraction[..., 1, None, None]
    rows = square[..., :-1, :] + (square[..., 1:, :] - square[..., :-1, :]) * y
    samples = rows[..., :, :-1] + (rows[..., :, 1:] - rows[..., :, :-1]) * x
    return samples.flatten(2)
