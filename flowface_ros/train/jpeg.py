"""JPEG's loss for batches: 8x8 cosine transform, quantisation, chroma at half resolution."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56), (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99), (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99), (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)  # fmt: skip
"""Quantisation tables of the standard's annex K, at quality 50."""

_YCC_FROM_RGB = (
    (0.299, 0.587, 0.114),
    (-0.168736, -0.331264, 0.5),
    (0.5, -0.418688, -0.081312),
)
_RGB_FROM_YCC = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))
MULTIPLE = 16
"""Sides of images must be a multiple of this: 8x8 blocks of the halved chroma."""


def jpeg_loss(image: Tensor, quality: Tensor) -> Tensor:
    """What is left of images after JPEG, without its entropy coding, which loses nothing.

    image: (B, 3, H, W) in [0, 1], sides multiples of 16. quality: (B,) in [1, 100], as libjpeg
    counts. Chroma is at half resolution. ValueError for other sizes.
    """
    if image.shape[2] % MULTIPLE or image.shape[3] % MULTIPLE:
        raise ValueError(f"image is {tuple(image.shape)}, sides must be multiples of {MULTIPLE}")
    planes = _mixed(image * 255.0, _YCC_FROM_RGB)
    scale = torch.where(quality < 50, 50.0 / quality, 2.0 - quality / 50.0)
    luma = _quantised(planes[:, :1] - 128.0, _LUMA, scale) + 128.0
    chroma = _quantised(functional.avg_pool2d(planes[:, 1:], 2), _CHROMA, scale)
    chroma = functional.interpolate(chroma, scale_factor=2, mode="bilinear")
    return (_mixed(torch.cat([luma, chroma], dim=1), _RGB_FROM_YCC) / 255.0).clamp(0.0, 1.0)


def _mixed(image: Tensor, rows: tuple[tuple[float, ...], ...]) -> Tensor:
    matrix = torch.tensor(rows, dtype=image.dtype, device=image.device)
    return torch.einsum("ij,bjhw->bihw", matrix, image)


def _quantised(planes: Tensor, table: tuple[tuple[int, ...], ...], scale: Tensor) -> Tensor:
    """planes (B, C, H, W), each table entry times scale (B,), through the cosine transform."""
    b, c, h, w = planes.shape
    dct = _dct_matrix().to(planes)
    blocks = planes.reshape(b, c, h // 8, 8, w // 8, 8).permute(0, 1, 2, 4, 3, 5)
    steps = torch.tensor(table, dtype=planes.dtype, device=planes.device)
    steps = (steps * scale.reshape(b, 1, 1, 1, 1, 1)).round().clamp(1.0, 255.0)
    coefficients = torch.round(dct @ blocks @ dct.T / steps) * steps
    restored = dct.T @ coefficients @ dct
    return restored.permute(0, 1, 2, 4, 3, 5).reshape(b, c, h, w)


def _dct_matrix() -> Tensor:
    """Orthonormal DCT-II (8, 8)."""
    k = torch.arange(8, dtype=torch.float32)
    matrix = torch.cos((2 * k[None] + 1) * k[:, None] * math.pi / 16) / 2
    matrix[0] /= math.sqrt(2.0)
    return matrix
