"""The 478-point face landmark network as a torch module: the light image encoder.

Google's network (Apache-2.0) is a plain residual CNN: a strided stem, then stages of bottlenecks
that halve the resolution until 2x2, from which one 2x2 convolution reads the points. Its weights
are read from the initialisers of the converted ONNX file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from flowface_ros.align.network.mit_encoder import EncodedImage

LANDMARK_COUNT = 478
STAGE_CHANNELS = (16, 32, 64, 128, 128, 128, 128)
"""Channels of the stages, at strides 2, 4, 8, 16, 32, 64 and 128."""
BLOCKS_PER_STAGE = 4
FIRST_LEVEL = 1
"""The encoder's levels start at stride 4; the stride-2 stage is too large to correlate with."""


class Bottleneck(nn.Module):
    """x + pointwise(depthwise(prelu(pointwise(x)))), then PReLU; the inner width is half."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.contract = nn.Conv2d(channels, inner, 1)
        self.contract_slope = nn.PReLU(inner)
        self.depthwise = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.expand = nn.Conv2d(inner, channels, 1)
        self.slope = nn.PReLU(channels)

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
        self.contract_slope = nn.PReLU(inner)
        self.depthwise = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.expand = nn.Conv2d(inner, channels, 1)
        self.slope = nn.PReLU(channels)

    def forward(self, features: Tensor) -> Tensor:
        """(B, Cin, H, W) -> (B, C, H / 2, W / 2)."""
        inner = self.depthwise(self.contract_slope(self.contract(features)))
        skipped = F.max_pool2d(features, 2)
        if self.new_channels:
            skipped = F.pad(skipped, (0, 0, 0, 0, 0, self.new_channels))
        return self.slope(skipped + self.expand(inner))


class LandmarkTrunk(nn.Module):
    """Feature maps of the landmark net at strides 4 to 128, its 478 points and its presence."""

    channels = STAGE_CHANNELS[FIRST_LEVEL:]

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, STAGE_CHANNELS[0], 3, stride=2)
        self.stem_slope = nn.PReLU(STAGE_CHANNELS[0])
        stages, in_channels = [], STAGE_CHANNELS[0]
        for index, channels in enumerate(STAGE_CHANNELS):
            blocks: list[nn.Module] = [Downsample(in_channels, channels)] if index else []
            blocks += [Bottleneck(channels) for _ in range(BLOCKS_PER_STAGE)]
            stages.append(nn.Sequential(*blocks))
            in_channels = channels
        self.stages = nn.ModuleList(stages)
        self.presence = nn.Conv2d(in_channels, 1, 2)
        self.landmarks = nn.Conv2d(in_channels, 3 * LANDMARK_COUNT, 2)

    def forward(self, image: Tensor) -> EncodedImage:
        """(B, 3, 256, 256) RGB in [0, 1] -> levels (B, C_i, 256 / s, 256 / s), s = 4 ... 128.

        landmarks (B, 478, 3) are the net's own: x and y count from the crop's corner, so the
        centre of the top-left pixel is at (0.5, 0.5).
        """
        # TFLite's SAME padding of an even size under stride 2 is all at the end.
        features = self.stem_slope(self.stem(F.pad(image, (0, 1, 0, 1))))
        levels = []
        for stage in self.stages:
            features = stage(features)
            levels.append(features)
        points = self.landmarks(features).reshape(-1, LANDMARK_COUNT, 3)
        return EncodedImage(tuple(levels[FIRST_LEVEL:]), points, self.presence(features).flatten())


def load_landmark_trunk(path: Path) -> LandmarkTrunk:
    """The trunk with the weights of the converted landmark net.

    Raises ValueError that names the file when its layers are not those of the landmark net.
    """
    trunk = LandmarkTrunk()
    layers = list(_layers(path))
    heads = {"landmarks": trunk.landmarks, "presence": trunk.presence}
    body = [
        module
        for name, module in trunk.named_modules()
        if isinstance(module, nn.Conv2d | nn.PReLU) and name not in heads
    ]
    if len(layers) < len(body) + len(heads):
        raise ValueError(f"{path}: {len(layers)} layers, the landmark net has more")
    for module, (_, arrays) in zip(body, layers, strict=False):
        _assign(path, module, arrays)
    by_role = {role: arrays for role, arrays in layers[len(body) :] if role}
    for role, module in heads.items():
        if role not in by_role:
            raise ValueError(f"{path}: no {role} head")
        _assign(path, module, by_role[role])
    return trunk.eval()


def _layers(path: Path) -> Iterator[tuple[str, list[NDArray[np.float32]]]]:
    """(role, weights) of each convolution and PReLU in the graph's order; role of heads only."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    constants = {array.name: array for array in graph.initializer}
    through_sigmoid = {node.input[0] for node in graph.node if node.op_type == "Sigmoid"}
    for node in graph.node:
        if node.op_type not in ("Conv", "PRelu"):
            continue
        try:
            arrays = [numpy_helper.to_array(constants[name]) for name in node.input[1:]]
        except KeyError as missing:
            raise ValueError(f"{path}: {node.name} has no constant {missing}") from None
        role = ""
        if len(arrays[0]) == 3 * LANDMARK_COUNT:
            role = "landmarks"
        elif len(arrays[0]) == 1 and node.output[0] not in through_sigmoid:
            role = "presence"
        yield role, [array.astype(np.float32) for array in arrays]


def _assign(path: Path, module: nn.Module, arrays: list[NDArray[np.float32]]) -> None:
    for parameter, array in zip(module.parameters(), arrays, strict=True):
        if parameter.numel() != array.size:
            expected, found = tuple(parameter.shape), array.shape
            raise ValueError(f"{path}: weights of shape {found} where {expected} was expected")
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(array.copy()).reshape(parameter.shape))
