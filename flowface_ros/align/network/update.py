"""Recurrent update of positions and log sigma on the UV grid.

`basic` is RAFT's update block (arXiv 2003.12039, section 3.3; its reference sizes), which the
FlowFace paper builds on. `small` is ours, for CPUs: depthwise-separable convolutions, and the UV
context enters as a bias of the gates, which costs nothing since it is constant at inference.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flowface_ros.align.network.config import NetworkConfig
from flowface_ros.align.network.heatmap import HEATMAP_FEATURES

FLOW_FEATURES = 4
"""Position in the crop and displacement since the first flow, x and y each."""
GATES = 3
OUTPUTS = 3
"""Change of x, of y and of log sigma."""
GRU_KERNEL = 5
"""Kernel of the GRU's convolutions, texels, in RAFT and here."""


def flow_feature_count(config: NetworkConfig) -> int:
    """Channels that describe the present positions to the update block."""
    return FLOW_FEATURES + (HEATMAP_FEATURES if config.heatmap else 0)


def context_count(config: NetworkConfig) -> int:
    """Channels of UV context that the update block takes."""
    return config.context_channels if config.update == "basic" else GATES * config.hidden_channels


class BasicMotionEncoder(nn.Module):
    """Correlations and flow features -> 128 motion features, which keep the flow features."""

    channels = 128

    def __init__(self, correlations: int, flows: int) -> None:
        super().__init__()
        self.correlation = nn.Sequential(
            nn.Conv2d(correlations, 256, 1), nn.ReLU(), nn.Conv2d(256, 192, 3, padding=1), nn.ReLU()
        )
        self.flow = nn.Sequential(
            nn.Conv2d(flows, 128, 7, padding=3),
            nn.ReLU(),
            nn.Conv2d(128, 64, 3, padding=1),
            nn.ReLU(),
        )
        self.mix = nn.Sequential(
            nn.Conv2d(192 + 64, self.channels - flows, 3, padding=1), nn.ReLU()
        )

    def forward(self, correlations: Tensor, flows: Tensor) -> Tensor:
        """(B, Ccorr, G, G), (B, Cflow, G, G) -> (B, 128, G, G)."""
        mixed = self.mix(torch.cat([self.correlation(correlations), self.flow(flows)], dim=1))
        return torch.cat([mixed, flows], dim=1)


class GruPass(nn.Module):
    """One convolutional GRU step."""

    def __init__(self, hidden: int, inputs: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.gates = nn.Conv2d(hidden + inputs, 2 * hidden, kernel, padding=padding)
        self.candidate = nn.Conv2d(hidden + inputs, hidden, kernel, padding=padding)

    def forward(self, hidden: Tensor, inputs: Tensor) -> Tensor:
        """(B, Ch, G, G), (B, Cin, G, G) -> (B, Ch, G, G)."""
        update, reset = torch.sigmoid(self.gates(torch.cat([hidden, inputs], dim=1))).chunk(2, 1)
        candidate = torch.tanh(self.candidate(torch.cat([reset * hidden, inputs], dim=1)))
        return hidden + update * (candidate - hidden)


class BasicUpdate(nn.Module):
    """RAFT's motion encoder and its GRU of a 1x5 and a 5x1 pass."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        flows = flow_feature_count(config)
        self.motion = BasicMotionEncoder(config.correlation_channels, flows)
        inputs = config.context_channels + self.motion.channels
        self.horizontal = GruPass(config.hidden_channels, inputs, (1, GRU_KERNEL))
        self.vertical = GruPass(config.hidden_channels, inputs, (GRU_KERNEL, 1))

    def forward(self, hidden: Tensor, context: Tensor, corr: Tensor, flows: Tensor) -> Tensor:
        """hidden (B, Ch, G, G), context (B, Cx, G, G), corr and flows (B, C, G, G) -> hidden."""
        inputs = torch.cat([torch.relu(context), self.motion(corr, flows)], dim=1)
        return self.vertical(self.horizontal(hidden, inputs), inputs)


class SmallUpdate(nn.Module):
    """Depthwise-separable motion encoder and GRU."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        hidden, motion = config.hidden_channels, config.motion_channels
        inputs = config.correlation_channels + flow_feature_count(config)
        self.motion = nn.Sequential(
            nn.Conv2d(inputs, motion, 1), nn.ReLU(), *separable(motion, motion, 3), nn.ReLU()
        )
        self.gates = nn.Sequential(*separable(hidden + motion, 2 * hidden, GRU_KERNEL))
        self.candidate = nn.Sequential(*separable(hidden + motion, hidden, GRU_KERNEL))

    def forward(self, hidden: Tensor, context: Tensor, corr: Tensor, flows: Tensor) -> Tensor:
        """hidden (B, Ch, G, G), context (1, 3 Ch, G, G), corr and flows (B, C, G, G) -> hidden."""
        channels = hidden.shape[1]
        bias, candidate_bias = context.split([2 * channels, channels], dim=1)
        motion = self.motion(torch.cat([corr, flows], dim=1))
        gates = torch.sigmoid(self.gates(torch.cat([hidden, motion], dim=1)) + bias)
        update, reset = gates.chunk(2, dim=1)
        candidate = self.candidate(torch.cat([reset * hidden, motion], dim=1))
        return hidden + update * (torch.tanh(candidate + candidate_bias) - hidden)


class FlowHead(nn.Module):
    """Hidden state -> change of position in feature cells and of log sigma; both start at 0."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        hidden = config.hidden_channels
        if config.update == "basic":
            width, kernel = 2 * hidden, 3
            layers: list[nn.Module] = [nn.Conv2d(hidden, width, 3, padding=1)]
        else:
            width, kernel = hidden, 1
            layers = separable(hidden, width, 3)
        self.shared = nn.Sequential(*layers, nn.ReLU())
        self.output = nn.Conv2d(width, OUTPUTS, kernel, padding=kernel // 2)
        for parameter in self.output.parameters():
            nn.init.zeros_(parameter)

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """(B, Ch, G, G) -> delta (B, 2, G, G) cells, change of log sigma (B, 1, G, G); float32."""
        output = self.output(self.shared(hidden)).float()
        return output[:, :2], output[:, 2:]


def separable(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    """Depthwise convolution of that kernel, then pointwise."""
    return [
        nn.Conv2d(inputs, inputs, kernel, padding=kernel // 2, groups=inputs),
        nn.Conv2d(inputs, outputs, 1),
    ]


def make_update(config: NetworkConfig) -> nn.Module:
    """The update block that the configuration asks for."""
    return BasicUpdate(config) if config.update == "basic" else SmallUpdate(config)
