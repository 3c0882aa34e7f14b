"""SegFormer's Mix Transformer encoders, b0 to b5.

Xie et al., "SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers",
NeurIPS 2021 (arXiv 2105.15203), section 3.1 and table 6. Written from the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

LAYER_NORM_EPS = 1e-6

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class EncodedImage(NamedTuple):
    """What an encoder says about a crop.

    levels: feature maps (B, C_i, H_i, W_i), finest first.
    landmarks: (B, 478, 3) crop pixels, or None where the encoder finds none.
    presence: (B,) logit that there is a face, or None.
    """

    levels: tuple[Tensor, ...]
    landmarks: Tensor | None = None
    presence: Tensor | None = None


@dataclass(frozen=True)
class MitVariant:
    """One row of the paper's table 6; the other columns are the same for all variants."""

    channels: tuple[int, int, int, int]
    """Embedding channels of the four stages."""
    depths: tuple[int, int, int, int]
    """Transformer blocks of the four stages."""
    heads: tuple[int, int, int, int] = (1, 2, 5, 8)
    """Attention heads of the four stages."""
    reductions: tuple[int, int, int, int] = (8, 4, 2, 1)
    """Spatial reduction ratios of keys and values."""
    expansion: int = 4
    """Hidden width of the Mix-FFN over its input width."""


WIDE = (64, 128, 320, 512)
MIT_VARIANTS = {
    "mit_b0": MitVariant((32, 64, 160, 256), (2, 2, 2, 2)),
    "mit_b1": MitVariant(WIDE, (2, 2, 2, 2)),
    "mit_b2": MitVariant(WIDE, (3, 4, 6, 3)),
    "mit_b3": MitVariant(WIDE, (3, 4, 18, 3)),
    "mit_b4": MitVariant(WIDE, (3, 8, 27, 3)),
    "mit_b5": MitVariant(WIDE, (3, 6, 40, 3)),
}


class OverlapPatchEmbedding(nn.Module):
    """Strided convolution whose windows overlap, then layer norm over channels."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(in_channels, channels, kernel, stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(channels, eps=LAYER_NORM_EPS)

    def forward(self, image: Tensor) -> tuple[Tensor, int, int]:
        """(B, Cin, H, W) -> tokens (B, H/stride * W/stride, C), rows, columns."""
        embedded = self.projection(image)
        # Plain integers, so that an exported graph holds these sizes as constants.
        rows, columns = int(embedded.shape[-2]), int(embedded.shape[-1])
        return self.norm(embedded.flatten(2).transpose(1, 2)), rows, columns


class EfficientSelfAttention(nn.Module):
    """Multi-head attention whose keys and values are on a grid `reduction` times coarser."""

    def __init__(self, channels: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.output = nn.Linear(channels, channels)
        self.reduce: nn.Conv2d | None = None
        if reduction > 1:
            self.reduce = nn.Conv2d(channels, channels, reduction, stride=reduction)
            self.norm = nn.LayerNorm(channels, eps=LAYER_NORM_EPS)

    def forward(self, tokens: Tensor, rows: int, columns: int) -> Tensor:
        """(B, rows * columns, C) -> (B, rows * columns, C)."""
        channels = int(tokens.shape[2])
        query = self._split(self.query(tokens))
        source = tokens
        if self.reduce is not None:
            grid = _to_grid(tokens, rows, columns)
            source = self.norm(self.reduce(grid).flatten(2).transpose(1, 2))
        key, value = self.key_value(source).chunk(2, dim=-1)
        mixed = functional.scaled_dot_product_attention(query, self._split(key), self._split(value))
        return self.output(mixed.transpose(1, 2).reshape(-1, rows * columns, channels))

    def _split(self, tokens: Tensor) -> Tensor:
        """(B, N, C) -> (B, heads, N, C / heads)."""
        count, channels = int(tokens.shape[1]), int(tokens.shape[2])
        return tokens.reshape(-1, count, self.heads, channels // self.heads).transpose(1, 2)


class MixFeedForward(nn.Module):
    """Two linear layers with a 3x3 depthwise convolution between, which carries position."""

    def __init__(self, channels: int, expansion: int) -> None:
        super().__init__()
        hidden = channels * expansion
        self.expand = nn.Linear(channels, hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.contract = nn.Linear(hidden, channels)

    def forward(self, tokens: Tensor, rows: int, columns: int) -> Tensor:
        """(B, rows * columns, C) -> (B, rows * columns, C)."""
        hidden = _to_grid(self.expand(tokens), rows, columns)
        hidden = functional.gelu(self.depthwise(hidden).flatten(2).transpose(1, 2))
        return self.contract(hidden)


class DropPath(nn.Module):
    """Stochastic depth: while training, a sample skips the residual branch with `probability`."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, branch: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        if not self.training or self.probability == 0.0:
            return branch
        keep = 1.0 - self.probability
        kept = torch.rand(branch.shape[0], 1, 1, device=branch.device) < keep
        return branch * (kept.to(branch.dtype) / keep)


class MitBlock(nn.Module):
    """x + attention(norm(x)), then x + ffn(norm(x))."""

    def __init__(
        self, channels: int, heads: int, reduction: int, expansion: int, drop_path: float
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(channels, eps=LAYER_NORM_EPS)
        self.attention = EfficientSelfAttention(channels, heads, reduction)
        self.feed_forward_norm = nn.LayerNorm(channels, eps=LAYER_NORM_EPS)
        self.feed_forward = MixFeedForward(channels, expansion)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor, rows: int, columns: int) -> Tensor:
        """(B, rows * columns, C) -> (B, rows * columns, C)."""
        attended = self.attention(self.attention_norm(tokens), rows, columns)
        tokens = tokens + self.drop_path(attended)
        mixed = self.feed_forward(self.feed_forward_norm(tokens), rows, columns)
        return tokens + self.drop_path(mixed)


class MitStage(nn.Module):
    """Patch embedding, blocks and a final layer norm: one resolution of the encoder."""

    def __init__(
        self, embedding: OverlapPatchEmbedding, blocks: list[MitBlock], channels: int
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(channels, eps=LAYER_NORM_EPS)

    def forward(self, image: Tensor) -> Tensor:
        """(B, Cin, H, W) -> (B, C, H / stride, W / stride)."""
        tokens, rows, columns = self.embedding(image)
        for block in self.blocks:
            tokens = block(tokens, rows, columns)
        return _to_grid(self.norm(tokens), rows, columns)


class MitEncoder(nn.Module):
    """Mix Transformer; feature maps at strides 4, 8, 16 and 32."""

    mean: Tensor
    std: Tensor

    def __init__(self, variant: MitVariant, drop_path: float = 0.0) -> None:
        super().__init__()
        self.channels = variant.channels
        last = sum(variant.depths) - 1
        rates = [drop_path * index / last for index in range(last + 1)]
        stages, in_channels = [], 3
        for stage, channels in enumerate(variant.channels):
            kernel, stride = (7, 4) if stage == 0 else (3, 2)
            blocks = [
                MitBlock(
                    channels,
                    variant.heads[stage],
                    variant.reductions[stage],
                    variant.expansion,
                    rates.pop(0),
                )
                for _ in range(variant.depths[stage])
            ]
            embedding = OverlapPatchEmbedding(in_channels, channels, kernel, stride)
            stages.append(MitStage(embedding, blocks, channels))
            in_channels = channels
        self.stages = nn.ModuleList(stages)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))
        self.apply(_initialise)

    def forward(self, image: Tensor) -> EncodedImage:
        """(B, 3, H, W) RGB in [0, 1] -> levels (B, C_i, H / s, W / s), s = 4, 8, 16, 32."""
        features = (image - self.mean) / self.std
        levels = []
        for stage in self.stages:
            features = stage(features)
            levels.append(features)
        return EncodedImage(tuple(levels))


def _to_grid(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """(B, rows * columns, C) -> (B, C, rows, columns)."""
    return tokens.transpose(1, 2).reshape(-1, int(tokens.shape[2]), rows, columns)


def _initialise(module: nn.Module) -> None:
    """The paper's implementation: truncated normal for linear layers, fan-out for convolutions."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
        nn.init.normal_(module.weight, std=(2.0 * module.groups / fan_out) ** 0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
