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


class PyramidFusion(nn.Module):
    """Top-down sum of projected levels, wide where maps are small and narrow where large."""

    def __init__(self, channels: Sequence[int], fine: int, coarse: int) -> None:
        super().__init__()
        widths = [coarse if index >= COARSE_LEVEL else fine for index in range(len(channels))]
        self.project = nn.ModuleList(
            nn.Conv2d(count, width, 1) for count, width in zip(channels, widths, strict=True)
        )
        self.narrow = nn.Conv2d(coarse, fine, 1)
        self.smooth_coarse = _separable(coarse)
        self.smooth_fine = _separable(fine)

    def forward(self, levels: Sequence[Tensor]) -> ImageFeatures:
        """Levels (B, C_i, H / s, W / s), s = 4, 8, 16, ... -> ImageFeatures."""
        above = self.project[-1](levels[-1])
        for index in range(len(levels) - 2, COARSE_LEVEL - 1, -1):
            above = self.project[index](levels[index]) + _double(above)
        coarse = self.smooth_coarse(above)
        above = self.narrow(coarse)
        for index in range(COARSE_LEVEL - 1, -1, -1):
            above = self.project[index](levels[index]) + _double(above)
        return ImageFeatures(self.smooth_fine(above), coarse)


def _separable(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
        nn.Conv2d(channels, channels, 1),
    )


def _resize(level: Tensor, like: Tensor) -> Tensor:
    if level.shape[-2:] == like.shape[-2:]:
        return level
    return functional.interpolate(level, size=like.shape[-2:], mode="bilinear", align_corners=False)


def _double(level: Tensor) -> Tensor:
    return functional.interpolate(level, scale_factor=2.0, mode="bilinear", align_corners=False)
