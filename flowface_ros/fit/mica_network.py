"""MICA's networks, rebuilt from their published structure: ArcFace's ResNet-50 and a mapping.

ArcFace: Deng et al., CVPR 2019, the "IR-50" residual network of 3, 4, 14, 3 blocks on 112 x 112
pixels, 512 features. The mapping is fully connected layers with leaky ReLU to FLAME's coefficients
(Zielonka et al., ECCV 2022). Imported only by the converter: it needs torch.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

IMAGE_SIZE = 112
FEATURES = 512
BLOCKS = (3, 4, 14, 3)
CHANNELS = (64, 128, 256, 512)
_LEAK = 0.2


class _Block(nn.Module):
    """A residual block; attribute names are those of the checkpoint's keys."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inner, eps=1e-5)
        self.conv1 = nn.Conv2d(inner, outer, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer, eps=1e-5)
        self.prelu = nn.PReLU(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outer, eps=1e-5)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inner != outer:
            self.downsample = nn.Sequential(
                nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer, eps=1e-5)
            )

    def forward(self, x: Tensor) -> Tensor:
        inner = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(inner)) + self.downsample(x)


class ArcFace(nn.Module):
    """Image (N, 3, 112, 112) in [-1, 1] to features (N, 512)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, CHANNELS[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(CHANNELS[0], eps=1e-5)
        self.prelu = nn.PReLU(CHANNELS[0])
        inner = CHANNELS[0]
        for number, (blocks, outer) in enumerate(zip(BLOCKS, CHANNELS, strict=True), start=1):
            layers = [_Block(inner, outer, 2)]
            layers += [_Block(outer, outer, 1) for _ in range(blocks - 1)]
            self.add_module(f"layer{number}", nn.Sequential(*layers))
            inner = outer
        self.bn2 = nn.BatchNorm2d(inner, eps=1e-5)
        self.fc = nn.Linear(inner * (IMAGE_SIZE // 16) ** 2, FEATURES)
        self.features = nn.BatchNorm1d(FEATURES, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.prelu(self.bn1(self.conv1(x)))
        for number in range(1, len(BLOCKS) + 1):
            x = self.get_submodule(f"layer{number}")(x)
        return self.features(self.fc(torch.flatten(self.bn2(x), 1)))


class Mapping(nn.Module):
    """Identity code (N, 512) to shape coefficients (N, S); widths (in, hidden, ..., S)."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        pairs = list(pairwise(widths))
        self.network = nn.ModuleList(nn.Linear(a, b) for a, b in pairs[:-1])
        self.output = nn.Linear(*pairs[-1])

    def forward(self, z: Tensor) -> Tensor:
        for layer in self.network:
            z = nn.functional.leaky_relu(layer(z), _LEAK)
        return self.output(z)


class Mica(nn.Module):
    """Aligned face (N, 3, 112, 112) in [-1, 1] to FLAME shape coefficients (N, S)."""

    def __init__(self, arcface: ArcFace, mapping: Mapping) -> None:
        super().__init__()
        self.arcface, self.mapping = arcface, mapping

    def forward(self, face: Tensor) -> Tensor:
        return self.mapping(nn.functional.normalize(self.arcface(face)))
