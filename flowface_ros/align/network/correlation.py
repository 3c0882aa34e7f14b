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
from torch import Tensor, nn
from torch.nn import functional

from flowface_ros.align.network.config import FEATURE_STRIDE, Correlation


class Patch(NamedTuple):
    """What a look-up reads on a level: a square of D = 2 * radius + 2 cells a side per texel.

    cells: (B, P, D * D) int64, cells of the flattened level, inside it.
    column_weights: (B, 2, D - 1, P), weights of the left and the right cell of each sample; 0 for
        a cell beyond the level.
    row_weights: (B, 2, D - 1, P), the same for the upper and the lower cell.
    """

    cells: Tensor
    column_weights: Tensor
    row_weights: Tensor


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
                scaled = functional.avg_pool2d(scaled, 2)
            cells = scaled.flatten(2)
            if self.kind == "volume":
                prepared.append(torch.matmul(uv_features, cells))
            else:
                prepared.append(cells.transpose(1, 2).contiguous())
        return prepared

    def forward(
        self, prepared: list[Tensor], uv_features: Tensor, position_px: Tensor, size: int
    ) -> Tensor:
        """position_px (B, P, 2), crop pixels -> (B, levels * (2 * radius + 1)**2, P).

        size: side of level 0, cells. Row-major within a level; cells beyond the crop count as 0.
        """
        samples = []
        for level, values in enumerate(prepared):
            side = size >> level
            cell = cell_from_pixel(position_px, FEATURE_STRIDE << level)
            patch = locate(cell, self.radius, side)
            if self.kind == "volume":
                square = torch.gather(values, 2, patch.cells)
            else:
                square = _correlate(values, uv_features, patch.cells)
            samples.append(_interpolate(square, patch))
        return torch.cat(samples, dim=1)


def cell_from_pixel(position_px: Tensor, stride: int) -> Tensor:
    """Crop pixels (pixel centres at integers) -> cells of a map of that stride, likewise."""
    return (position_px + 0.5) / stride - 0.5


def locate(cell: Tensor, radius: int, side: int) -> Patch:
    """cell (B, P, 2), x and y -> which cells of a (side, side) level a look-up reads."""
    # Squares this far out hold no cell of the level; clamping keeps the integers small.
    nearest = cell.clamp(-radius - 2.0, side + radius + 1.0).floor()
    fraction = (cell - nearest).clamp(0.0, 1.0)
    offsets = torch.arange(-radius, radius + 2, device=cell.device)
    columns, rows = (nearest[..., axis : axis + 1].long() + offsets for axis in (0, 1))
    first_of_row = rows.clamp(0, side - 1) * side
    index = first_of_row[..., :, None] + columns.clamp(0, side - 1)[..., None, :]
    return Patch(
        index.flatten(2),
        _weights(columns, fraction[..., 0:1], side),
        _weights(rows, fraction[..., 1:2], side),
    )


def _weights(cells: Tensor, fraction: Tensor, side: int) -> Tensor:
    """cells (B, P, D) along one axis, fraction (B, P, 1) -> (B, 2, D - 1, P)."""
    inside = ((cells >= 0) & (cells < side)).to(fraction.dtype)
    near, far = inside[..., :-1] * (1.0 - fraction), inside[..., 1:] * fraction
    return torch.stack([near.transpose(1, 2), far.transpose(1, 2)], dim=1)


def _correlate(cells: Tensor, uv_features: Tensor, index: Tensor) -> Tensor:
    """cells (B, HW, C), uv_features (P, C), index (B, P, K) -> correlations (B, P, K)."""
    count, channels = int(cells.shape[1]), int(cells.shape[2])
    first = torch.arange(cells.shape[0], device=cells.device).view(-1, 1, 1) * count
    picked = cells.reshape(-1, channels)[index + first]
    return torch.matmul(picked, uv_features[:, :, None]).squeeze(-1)


def _interpolate(square: Tensor, patch: Patch) -> Tensor:
    """(B, P, D * D) -> bilinear samples (B, (D - 1)**2, P).

    Texels come last: the arithmetic then runs along them instead of along a few cells.
    """
    side = int(patch.row_weights.shape[2]) + 1
    square = square.transpose(1, 2).reshape(-1, side, side, int(square.shape[1]))
    upper, lower = patch.row_weights[:, 0, :, None], patch.row_weights[:, 1, :, None]
    rows = square[:, :-1] * upper + square[:, 1:] * lower
    left, right = patch.column_weights[:, 0, None], patch.column_weights[:, 1, None]
    return (rows[:, :, :-1] * left + rows[:, :, 1:] * right).flatten(1, 2)
