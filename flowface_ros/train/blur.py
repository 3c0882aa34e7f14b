"""Blur and sharpening for batches, a kernel of its own for each picture."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

RADIUS_PX = 7
"""Kernels are 15 x 15 pixels."""
FULL_TURN = 2 * math.pi


def gaussian_kernels(along_px: Tensor, across_px: Tensor, angle: Tensor) -> Tensor:
    """(B, k, k), sums 1: Gaussians of these standard deviations (B,), turned by angle (B,)."""
    u, v = _turned_places(angle)
    tiny = 0.1
    along = along_px.clamp(min=tiny).reshape(-1, 1, 1)
    across = across_px.clamp(min=tiny).reshape(-1, 1, 1)
    return _summing_to_one(torch.exp(-0.5 * ((u / along) ** 2 + (v / across) ** 2)))


def disc_kernels(radius_px: Tensor) -> Tensor:
    """(B, k, k), sums 1: defocus of radius (B,), with an edge of one pixel."""
    u, v = _turned_places(torch.zeros_like(radius_px))
    return _summing_to_one((radius_px.reshape(-1, 1, 1) + 0.5 - torch.hypot(u, v)).clamp(0, 1))


def line_kernels(length_px: Tensor, angle: Tensor) -> Tensor:
    """(B, k, k), sums 1: steady motion over a length (B,) in a direction (B,)."""
    u, v = _turned_places(angle)
    inside = (0.5 * length_px.reshape(-1, 1, 1) + 0.5 - u.abs()).clamp(0, 1)
    return _summing_to_one(inside * (1 - v.abs()).clamp(min=0))


def sharpening_kernels(amount: Tensor) -> Tensor:
    """(B, k, k), sums 1: unsharp masking of strength amount (B,)."""
    one = torch.ones_like(amount)
    soft = gaussian_kernels(one, one, 0 * one)
    sharp = -amount.reshape(-1, 1, 1) * soft
    sharp[:, RADIUS_PX, RADIUS_PX] += 1 + amount
    return sharp


def filtered(images: Tensor, kernels: Tensor) -> Tensor:
    """images (B, C, H, W), each with its kernel (B, k, k); borders are repeated."""
    b, c, h, w = images.shape
    padded = functional.pad(images, (RADIUS_PX,) * 4, mode="replicate")
    weights = kernels.repeat_interleave(c, dim=0)[:, None]
    rows = padded.reshape(1, b * c, *padded.shape[2:])
    return functional.conv2d(rows, weights, groups=b * c).reshape(b, c, h, w)


def _turned_places(angle: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates (B, k, k) along and across a direction (B,), pixels from the middle."""
    axis = torch.arange(-RADIUS_PX, RADIUS_PX + 1, device=angle.device, dtype=torch.float32)
    x, y = axis[None, None, :], axis[None, :, None]
    cosine, sine = torch.cos(angle).reshape(-1, 1, 1), torch.sin(angle).reshape(-1, 1, 1)
    return x * cosine + y * sine, y * cosine - x * sine


def _summing_to_one(kernels: Tensor) -> Tensor:
    return kernels / kernels.sum(dim=(1, 2), keepdim=True)
