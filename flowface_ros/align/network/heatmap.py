"""Global branch: where in the whole crop each texel is, from a heat map.

Local look-ups cannot find a point that starts further off than their radius, as happens on faces
near profile. A soft-argmax over the correlation of every texel with every stride-16 cell can.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

HEATMAP_STRIDE = 16
"""Crop pixels per cell of the heat map."""

HEATMAP_FEATURES = 3
"""Values per texel that the update block gets: residual x, y and the log of the spread."""


class HeatmapResult(NamedTuple):
    """What the heat map says about each of P texels.

    logits: (B, P, h * w), row-major cells, to be supervised directly.
    position_px: (B, P, 2), expected position, crop pixels.
    log_spread: (B, P, 1), log of the heat map's rms radius in cells, plus one.
    """

    logits: Tensor
    position_px: Tensor
    log_spread: Tensor


class Heatmap(nn.Module):
    """Soft-argmax of UV features against coarse image features."""

    moments: Tensor

    def __init__(self, coarse_channels: int, channels: int, crop_px: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(coarse_channels, channels, 1)
        self.log_temperature = nn.Parameter(torch.zeros(()))
        side = crop_px // HEATMAP_STRIDE
        axis = (torch.arange(side) + 0.5) * HEATMAP_STRIDE - 0.5
        x, y = axis.repeat(side), axis.repeat_interleave(side)
        self.crop_px = crop_px
        moments = torch.stack([x, y, (x**2 + y**2) / crop_px], dim=1)
        self.register_buffer("moments", moments)

    def forward(self, coarse: Tensor, uv_features: Tensor) -> HeatmapResult:
        """coarse (B, Cc, h, w), uv_features (P, C) -> HeatmapResult."""
        cells = self.project(coarse).flatten(2)
        scale = uv_features.shape[1] ** -0.5 * torch.exp(self.log_temperature)
        logits = torch.matmul(uv_features * scale, cells)
        with torch.autocast(logits.device.type, enabled=False):
            expected = torch.matmul(torch.softmax(logits.float(), dim=2), self.moments)
            position = expected[..., :2]
            square = expected[..., 2:] * self.crop_px - position.square().sum(-1, keepdim=True)
            log_spread = 0.5 * torch.log1p(square.clamp(min=0.0) / HEATMAP_STRIDE**2)
        return HeatmapResult(logits, position, log_spread)


class HeatmapGate(nn.Module):
    """Moves a first flow towards the heat map's answer by a learned share in (-1, 1).

    The share starts at exactly 0, so that an untrained gate leaves the first flow as it is, while
    its gradient does not vanish.
    """

    def __init__(self, context_channels: int) -> None:
        super().__init__()
        self.from_context = nn.Conv2d(context_channels, 1, 1, bias=False)
        self.from_clues = nn.Conv2d(HEATMAP_FEATURES, 1, 1)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, first_px: Tensor, residual: Tensor, clues: Tensor, context: Tensor) -> Tensor:
        """first_px, residual (B, P, 2); clues (B, 3, G, G); context (1, C, G, G) -> (B, P, 2).

        residual is the heat map's position minus the first one, clues the same for the network.
        """
        share = torch.tanh((self.from_context(context) + self.from_clues(clues)).float())
        return first_px + share.flatten(2).transpose(1, 2) * residual
