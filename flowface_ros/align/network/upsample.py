"""Convex upsampling of positions and log sigma to a finer UV grid (RAFT, section 3.3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

NEIGHBOURS = 9
LEAST_WEIGHT = 1e-3
"""Weight of a neighbour that bilinear interpolation does not use, so that it can be learned."""


class ConvexUpsample(nn.Module):
    """Each fine texel is a convex combination of its 3x3 coarse neighbours.

    Starts as bilinear interpolation. Edges are replicated: positions are absolute, and a zero
    beyond the edge would pull border texels to the crop's corner.
    """

    def __init__(self, hidden_channels: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.weights = nn.Conv2d(hidden_channels, NEIGHBOURS * factor * factor, 1)
        nn.init.zeros_(self.weights.weight)
        self.weights.bias = nn.Parameter(torch.log(bilinear_weights(factor)).flatten())

    def forward(self, values: Tensor, hidden: Tensor) -> Tensor:
        """values (B, C, G, G), hidden (B, Ch, G, G) -> (B, C, G * factor, G * factor)."""
        factor = self.factor
        channels, rows, columns = (int(size) for size in values.shape[1:])
        logits = self.weights(hidden).view(-1, 1, NEIGHBOURS, factor, factor, rows, columns)
        weights = torch.softmax(logits.float(), dim=2)
        padded = functional.pad(values, (1, 1, 1, 1), mode="replicate")
        neighbours = torch.stack(
            [padded[:, :, r : r + rows, c : c + columns] for r in range(3) for c in range(3)], dim=2
        )
        fine = (weights * neighbours[:, :, :, None, None]).sum(dim=2)
        fine = fine.permute(0, 1, 4, 2, 5, 3)
        return fine.reshape(-1, channels, rows * factor, columns * factor)


def bilinear_weights(factor: int) -> Tensor:
    """(9, factor, factor): weights of the 3x3 neighbours at each fine texel, none below 0.001."""
    axis = torch.zeros(3, factor)
    for index in range(factor):
        offset = (index + 0.5) / factor - 0.5
        near = math.floor(offset)
        axis[near + 1, index] += 1.0 - (offset - near)
        axis[near + 2, index] += offset - near
    weights = axis[:, None, :, None] * axis[None, :, None, :]
    return weights.reshape(NEIGHBOURS, factor, factor).clamp(min=LEAST_WEIGHT)
