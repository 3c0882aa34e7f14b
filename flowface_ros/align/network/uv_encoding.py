"""Learned positional encoding of the UV grid: what each point of the head looks like."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

TEXTURE_LEVELS = 4
"""Textures at 1, 1/2, 1/4 and 1/8 of the UV grid."""


class UvFeatures(NamedTuple):
    """Constants of the UV grid, the same for every image.

    features: (P, C), P = grid * grid texels in row-major order, to be correlated with the image.
    heatmap_features: (P, Ch), the same for the heat map at 1/16; Ch = 0 without that branch.
    context: (1, Cx, grid, grid), input of the update block.
    hidden: (1, Ch, grid, grid), the GRU's first state, in (-1, 1).
    """

    features: Tensor
    heatmap_features: Tensor
    context: Tensor
    hidden: Tensor


class UvEncoding(nn.Module):
    """Texture pyramid, upsampled and concatenated, through three convolutions."""

    def __init__(self, grid: int, texture_channels: int, width: int, outputs: UvFeatures) -> None:
        """`outputs` is a template: only its channel counts matter (see `uv_template`)."""
        super().__init__()
        self.grid = grid
        self.splits = [int(output.shape[1]) for output in outputs]
        self.textures = nn.ParameterList(
            nn.Parameter(torch.randn(1, texture_channels, grid >> level, grid >> level))
            for level in range(TEXTURE_LEVELS)
        )
        self.network = nn.Sequential(
            nn.Conv2d(TEXTURE_LEVELS * texture_channels, width, 1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, sum(self.splits), 1),
        )

    def forward(self) -> UvFeatures:
        """-> UvFeatures, which depend on the parameters only."""
        size = (self.grid, self.grid)
        pyramid = torch.cat(
            [
                functional.interpolate(texture, size=size, mode="bilinear", align_corners=False)
                for texture in self.textures
            ],
            dim=1,
        )
        features, heatmap, context, hidden = self.network(pyramid).split(self.splits, dim=1)
        return UvFeatures(_rows(features), _rows(heatmap), context, torch.tanh(hidden))


class BakedUvEncoding(nn.Module):
    """The result of a UvEncoding, kept as buffers: what an exported network holds."""

    features: Tensor
    heatmap_features: Tensor
    context: Tensor
    hidden: Tensor

    def __init__(self, values: UvFeatures) -> None:
        super().__init__()
        for name, value in values._asdict().items():
            self.register_buffer(name, value.detach().clone().contiguous())

    def forward(self) -> UvFeatures:
        """-> UvFeatures."""
        return UvFeatures(self.features, self.heatmap_features, self.context, self.hidden)


def uv_template(
    grid: int, features: int, heatmap_features: int, context: int, hidden: int
) -> UvFeatures:
    """Empty UvFeatures with these channel counts."""
    texels = grid * grid
    return UvFeatures(
        torch.zeros(texels, features),
        torch.zeros(texels, heatmap_features),
        torch.zeros(1, context, grid, grid),
        torch.zeros(1, hidden, grid, grid),
    )


def _rows(value: Tensor) -> Tensor:
    """(1, C, grid, grid) -> (grid * grid, C)."""
    return value.flatten(2)[0].transpose(0, 1)
