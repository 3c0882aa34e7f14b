"""Fusing an encoder's feature maps into one at 1/4 and one at 1/16 of the crop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

COARSE_LEVEL = 2
"""Index of the stride-16 map among levels that start at stride 4."""


class ImageFeatures(NamedTuple):
    """fine: (B, C, H/4, W/4), to be correlated; coarse: (B, Cc, H/16, W/16), for the heat map, or
    None without one."""

    fine: Tensor
    coarse: Tensor | None


class AllScaleFusion(nn.Module):
    """SegFormer's all-MLP head: each level projected, brought to 1/4, concatenated, mixed."""

    coarse: nn.Conv2d | None

    def __init__(self, channels: Sequence[int], fine: int, coarse: int | None) -> None:
        """coarse: channels of the coarse map, None for no such map."""
        super().__init__()
        self.project = nn.ModuleList(nn.Conv2d(count, fine, 1) for count in channels)
        self.mix = nn.Sequential(
            nn.Conv2d(fine * len(channels), fine, 1),
            nn.ReLU(),
            nn.Conv2d(fine, fine, 3, padding=1),
        )
        self.coarse = nn.Conv2d(2 * fine, coarse, 1) if coarse else None

    def forward(self, levels: Sequence[Tensor]) -> ImageFeatures:
        """Levels (B, C_i, H / s, W / s), s = 4, 8, 16, 32 -> ImageFeatures."""
        projected = [project(level) for project, level in zip(self.project, levels, strict=True)]
        fine = self.mix(torch.cat([_resize(level, projected[0]) for level in projected], dim=1))
        if self.coarse is None:
            return ImageFeatures(fine, None)
        deep = projected[COARSE_LEVEL:]
        coarse = self.coarse(torch.cat([_resize(level, deep[0]) for level in deep], dim=1))
        return ImageFeatures(fine, coarse)


def _resize(level: Tensor, like: Tensor) -> Tensor:
    if level.shape[-2:] == like.shape[-2:]:
        return level
    return functional.interpolate(level, size=like.shape[-2:], mode="bilinear", align_corners=False)
