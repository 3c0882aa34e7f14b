"""The 478-point face landmark network as a torch module: the light image encoder.

Google's network (Apache-2.0) is a plain residual CNN: a strided stem, then stages of bottlenecks
that halve the resolution until 2x2, from which one 2x2 convolution reads the points. Its weights
are read from the initialisers of the converted ONNX file.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from flowface_ros.align.network.mit_encoder import EncodedImage

LANDMARK_NET = Path(__file__).parents[1] / "weights" / "landmarks_478.onnx"
LANDMARK_COUNT = 478
STAGE_CHANNELS = (16, 32, 64, 128, 128, 128, 128)
"""Channels of the stages, at strides 2, 4, 8, 16, 32, 64 and 128."""
BLOCKS_PER_STAGE = 4
WEIGHT_NAME = re.compile(r"_(kernel|bias|slope)(_half)?$")
"""Names of weights in the converted file."""
FIRST_LEVEL = 1
"""The encoder's levels start at stride 4; the stride-2 stage is too large to correlate with."""


class PReLU(nn.Module):
    """slope * x + (1 - slope) * relu(x).

    Written out because ONNX Runtime's CPU kernels then keep their blocked layout; its own PRelu
    operator takes longer than the rest of the network.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.full((channels, 1, 1), 0.25))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return self.slope * features + (1.0 - self.slope) * torch.relu(features)


class Bottleneck(nn.Module):
    """x + pointwise(depthwise(prelu(pointwise(x)))), then PReLU; the inner width is half."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.contract = nn.Conv2d(channels, inner, 1)
        self.contract_slope = PReLU(inner)
        self.depthwise = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.expand = nn.Conv2d(inner, channels, 1)
        self.slope = PReLU(channels)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        inner = self.depthwise(self.contract_slope(self.contract(features)))
        return self.slope(features + self.expand(inner))


class Downsample(nn.Module):
    """As Bottleneck with a 2x2 strided contraction; max pooling, zero-padded in channels, skips."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.new_channels = channels - in_channels
        self.contract = nn.Conv2d(in_channels, inner, 2, stride=2)
        self.contract_slope = PReLU(inner)
        self.depthwise = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.expand = nn.Conv2d(inner, channels, 1)
        self.slope = PReLU(channels)

    def forward(self, features: Tensor) -> Tensor:
        """(B, Cin, H, W) -> (B, C, H / 2, W / 2)."""
        inner = self.depthwise(self.contract_slope(self.contract(features)))
        skipped = functional.max_pool2d(features, 2)
        if self.new_channels:
            skipped = functional.pad(skipped, (0, 0, 0, 0, 0, self.new_channels))
        return self.slope(skipped + self.expand(inner))


def make_stage(index: int) -> nn.Sequential:
    """Stage `index` of the trunk, which has stride 2 ** (index + 1), with random weights."""
    channels = STAGE_CHANNELS[index]
    blocks: list[nn.Module] = [Downsample(STAGE_CHANNELS[index - 1], channels)] if index else []
    return nn.Sequential(*blocks, *(Bottleneck(channels) for _ in range(BLOCKS_PER_STAGE)))


class LandmarkTrunk(nn.Module):
    """Feature maps of the landmark net at strides 4 to 128, its 478 points and its presence."""

    channels = STAGE_CHANNELS[FIRST_LEVEL:]

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, STAGE_CHANNELS[0], 3, stride=2)
        self.stem_slope = PReLU(STAGE_CHANNELS[0])
        self.stages = nn.ModuleList(make_stage(index) for index in range(len(STAGE_CHANNELS)))
        self.presence = nn.Conv2d(STAGE_CHANNELS[-1], 1, 2)
        self.landmarks = nn.Conv2d(STAGE_CHANNELS[-1], 3 * LANDMARK_COUNT, 2)

    def forward(self, image: Tensor) -> EncodedImage:
        """(B, 3, 256, 256) RGB in [0, 1] -> levels (B, C_i, 256 / s, 256 / s), s = 4 ... 128.

        landmarks (B, 478, 3) are the net's own: x and y count from the crop's corner, so the
        centre of the top-left pixel is at (0.5, 0.5). Always float32: half precision, under
        autocast, would put the points on a grid of up to a pixel.
        """
        with torch.autocast(image.device.type, enabled=False):
            return self._encode(image.float())

    def _encode(self, image: Tensor) -> EncodedImage:
        # TFLite's SAME padding of an even size under stride 2 is all at the end.
        features = self.stem_slope(self.stem(functional.pad(image, (0, 1, 0, 1))))
        levels = []
        for stage in self.stages:
            features = stage(features)
            levels.append(features)
        points = self.landmarks(features).reshape(-1, LANDMARK_COUNT, 3)
        return EncodedImage(tuple(levels[FIRST_LEVEL:]), points, self.presence(features).flatten())


def load_landmark_trunk(path: Path) -> LandmarkTrunk:
    """The trunk with the weights of the converted landmark net, whose order of layers is its own.

    Raises ValueError that names the file when its weights are not those of the landmark net.
    """
    trunk = LandmarkTrunk()
    arrays = _weights(path)
    parameters = list(trunk.named_parameters())
    if len(arrays) != len(parameters):
        raise ValueError(f"{path}: {len(arrays)} weights, the landmark net has {len(parameters)}")
    for (name, parameter), array in zip(parameters, arrays, strict=True):
        if parameter.shape != array.shape:
            expected = tuple(parameter.shape)
            raise ValueError(f"{path}: {name} has shape {array.shape}, expected {expected}")
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(array))
    return trunk.eval()


def _weights(path: Path) -> list[NDArray[np.float32]]:
    """Kernels, biases and slopes in the graph's order."""
    import onnx
    from onnx import numpy_helper

    return [
        numpy_helper.to_array(array).astype(np.float32)
        for array in onnx.load(str(path)).graph.initializer
        if WEIGHT_NAME.search(array.name)
    ]
