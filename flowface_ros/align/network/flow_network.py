"""The dense UV-to-image flow network: a crop in, a position and a log sigma per texel out.

After FlowFace (Taubner et al., CVPR 2024, arXiv 2404.09819, section 3.1). In the forward pass's
order: image features; UV features, context and first hidden state (constant); correlation; first
flow; N updates, each of which looks up correlations around the present positions, steps the GRU,
moves the positions and says anew how sure they are.

Shapes: B crops, G = grid, P = G * G texels of the whole square, Q valid texels of the output grid.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from flowface_ros.align.network.config import FEATURE_STRIDE, NetworkConfig
from flowface_ros.align.network.constants import AtlasConstants, nearest_valid
from flowface_ros.align.network.correlation import CorrelationLookup
from flowface_ros.align.network.flow_output import FlowOutput
from flowface_ros.align.network.fusion import AllScaleFusion
from flowface_ros.align.network.heatmap import (
    HEATMAP_STRIDE,
    Heatmap,
    HeatmapGate,
    HeatmapResult,
)
from flowface_ros.align.network.mit_encoder import MIT_VARIANTS, MitEncoder
from flowface_ros.align.network.update import FlowHead, context_count, make_update
from flowface_ros.align.network.upsample import ConvexUpsample
from flowface_ros.align.network.uv_encoding import (
    BakedUvEncoding,
    UvEncoding,
    UvFeatures,
    uv_template,
)


class FlowNetwork(nn.Module):
    """See the module's docstring. `config` and `atlas` say everything about its structure."""

    encoder: MitEncoder
    fusion: AllScaleFusion
    uv: UvEncoding | BakedUvEncoding
    heatmap: Heatmap | None
    gate: HeatmapGate | None
    upsample: ConvexUpsample | None
    fill: Tensor
    answered: Tensor
    first_log_sigma: Tensor
    first_position: Tensor

    def __init__(self, config: NetworkConfig, atlas: AtlasConstants) -> None:
        """Raises ValueError where the constants do not fit the configuration."""
        super().__init__()
        atlas.check(config)
        self.config = config
        self.atlas_hash = atlas.atlas_hash
        self.landmark_offset_px = atlas.landmark_offset_px
        fine, coarse = config.feature_channels, config.coarse_channels
        self.encoder = MitEncoder(MIT_VARIANTS[config.encoder], config.drop_path)
        self.fusion = AllScaleFusion(
            self.encoder.channels, fine, coarse if config.heatmap else None
        )
        self.uv = UvEncoding(
            config.grid, config.texture_channels, config.uv_channels, self._uv_template()
        )
        self.lookup = CorrelationLookup(
            config.correlation, config.correlation_levels, config.correlation_radius
        )
        self.heatmap = None
        self.gate = None
        if config.heatmap:
            self.heatmap = Heatmap(config.coarse_channels, config.heatmap_channels, config.crop_px)
            if config.first_flow != "heatmap":
                self.gate = HeatmapGate(context_count(config))
        self.update = make_update(config)
        self.head = FlowHead(config)
        self.upsample = None
        if config.upsample > 1:
            self.upsample = ConvexUpsample(config.hidden_channels, config.upsample)
        self._register_atlas(atlas)

    def _uv_template(self) -> UvFeatures:
        config = self.config
        return uv_template(
            config.grid,
            config.feature_channels,
            config.heatmap_channels if config.heatmap else 0,
            context_count(config),
            config.hidden_channels,
        )

    def _register_atlas(self, atlas: AtlasConstants) -> None:
        fill = nearest_valid(atlas.valid)
        self.register_buffer("fill", torch.from_numpy(fill))
        answered = np.flatnonzero(atlas.output_valid.ravel())
        self.register_buffer("answered", torch.from_numpy(answered))
        self.register_buffer("first_log_sigma", torch.from_numpy(atlas.log_sigma[fill].copy()))
        if self.config.first_flow == "uv_mean":
            mean = atlas.mean_position * self.config.crop_px - 0.5
            self.register_buffer("first_position", torch.from_numpy(mean.astype(np.float32)))

    def forward(self, image: Tensor, every_iteration: bool = True) -> FlowOutput:
        """image (B, 3, crop_px, crop_px) RGB in [0, 1] -> FlowOutput.

        every_iteration: False gives the answer alone, which spares the upsampling of the others.
        """
        encoded = self.encoder(image)
        features = self.fusion(encoded.levels)
        uv = self.uv()
        heatmap = None
        if self.heatmap is not None:
            assert features.coarse is not None
            heatmap = self.heatmap(features.coarse, uv.heatmap_features)
        first = self._first_flow(image.shape[0], heatmap, uv.context)
        volume = self.lookup.prepare(uv.features, features.fine)

        hidden = uv.hidden.expand(image.shape[0], -1, -1, -1)
        context = uv.context
        if self.config.update == "basic":
            context = context.expand(image.shape[0], -1, -1, -1)
        position, log_sigma = first, self.first_log_sigma.expand(image.shape[0], -1)
        answers = [self._answer(position, log_sigma, hidden)] if every_iteration else []
        for index in range(self.config.iterations):
            position = position.detach()
            correlations = self.lookup(volume, uv.features, position, self.config.feature_size)
            flows = self._flow_features(position, first.detach(), heatmap)
            correlations = self._square(correlations)
            hidden = self.update(hidden, context, correlations, self._to_grid(flows))
            delta, log_sigma_change = self.head(hidden)
            position = position + FEATURE_STRIDE * _to_rows(delta)
            log_sigma = self.first_log_sigma + log_sigma_change.flatten(1)
            if every_iteration or index == self.config.iterations - 1:
                answers.append(self._answer(position, log_sigma, hidden))
        return FlowOutput(
            [position for position, _ in answers],
            [log_sigma for _, log_sigma in answers],
            heatmap,
            None,
            None,
        )

    def add_log_sigma(self, change: Tensor) -> None:
        """Add a constant (Q,) to what is said; ValueError where another grid is answered on."""
        if self.config.upsample != 1:
            raise ValueError(f"upsample is {self.config.upsample}, must be 1 to calibrate sigma")
        self.first_log_sigma += change.to(self.first_log_sigma.device)[self.fill]

    def bake(self) -> FlowNetwork:
        """Replace the UV encoding by its present output; for inference only. Returns self."""
        if isinstance(self.uv, UvEncoding):
            with torch.no_grad():
                self.uv = BakedUvEncoding(self.uv())
        return self.eval()

    def blank_bake(self) -> FlowNetwork:
        """As `bake`, with zeros: a skeleton whose buffers a file's weights then fill."""
        self.uv = BakedUvEncoding(self._uv_template())
        return self.eval()

    def _first_flow(self, batch: int, heatmap: HeatmapResult | None, context: Tensor) -> Tensor:
        """-> (B, P, 2), crop pixels."""
        if self.config.first_flow == "heatmap":
            assert heatmap is not None
            return heatmap.position_px
        first = self.first_position.expand(batch, -1, -1)
        first = first[:, self.fill]
        if heatmap is None or self.gate is None:
            return first
        clues = self._to_grid(_heatmap_features(heatmap, first).detach())
        return self.gate(first, heatmap.position_px - first, clues, context)

    def _flow_features(
        self, position: Tensor, first: Tensor, heatmap: HeatmapResult | None
    ) -> Tensor:
        """(B, P, 2), (B, P, 2) -> (B, P, 4 or 7), of order one."""
        half = 0.5 * self.config.crop_px
        parts = [(position + 0.5) / half - 1.0, (position - first) / HEATMAP_STRIDE]
        if heatmap is not None:
            parts.append(_heatmap_features(heatmap, position).detach())
        return torch.cat(parts, dim=2)

    def _answer(self, position: Tensor, log_sigma: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """(B, P, 2), (B, P) -> (B, Q, 2), (B, Q): on the output grid, sigma within its range."""
        if self.upsample is not None:
            rows = torch.cat([position, log_sigma[..., None]], dim=2)
            fine = _to_rows(self.upsample(self._to_grid(rows), hidden))
            position, log_sigma = fine[..., :2], fine[..., 2]
        low, high = math.log(self.config.min_sigma_px), math.log(self.config.max_sigma_px)
        return position[:, self.answered], log_sigma[:, self.answered].clamp(low, high)

    def _to_grid(self, rows: Tensor) -> Tensor:
        """(B, P, C) -> (B, C, G, G)."""
        return self._square(rows.transpose(1, 2))

    def _square(self, flat: Tensor) -> Tensor:
        """(B, C, P) -> (B, C, G, G)."""
        return flat.reshape(-1, int(flat.shape[1]), self.config.grid, self.config.grid)


def _to_rows(grid: Tensor) -> Tensor:
    """(B, C, G, G) -> (B, G * G, C)."""
    return grid.flatten(2).transpose(1, 2)


def _heatmap_features(heatmap: HeatmapResult, position: Tensor) -> Tensor:
    """(B, P, 3): from the present position to the heat map's, in its cells, and its spread."""
    residual = (heatmap.position_px - position) / HEATMAP_STRIDE
    return torch.cat([residual, heatmap.log_spread], dim=2)
