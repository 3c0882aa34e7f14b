"""What the flow network is made of, as one typed record, and the presets that ship."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Literal, get_args

Encoder = Literal["mit_b0", "mit_b1", "mit_b2", "mit_b3", "mit_b4", "mit_b5", "landmark_trunk"]
Correlation = Literal["volume", "on_the_fly"]
Update = Literal["basic", "small"]
FirstFlow = Literal["uv_mean", "heatmap"]

FEATURE_STRIDE = 4
"""Crop pixels per cell of the fused image features, for every encoder."""

LANDMARK_TRUNK_CROP_PX = 256
"""The landmark net's head covers its whole last feature map, so its input size is fixed."""


@dataclass(frozen=True)
class NetworkConfig:
    """Every choice in the network; a doc line follows each field.

    With the landmark trunk the network is the light one, which of these has crop_px, grid,
    iterations and the range of sigma; the others are of the network with correlations.

    Raises ValueError, on construction, that names the field and what is allowed.
    """

    name: str = "custom"
    """Name of the preset this came from, for reports."""
    crop_px: int = 256
    """Side of the square input crop, pixels; a multiple of 32."""
    grid: int = 48
    """Side of the UV grid that is iterated on, texels; a multiple of 8 (the texture pyramid)."""
    encoder: Encoder = "landmark_trunk"
    """Image encoder: a SegFormer MiT, or, of the light network, the 478-point landmark net."""
    drop_path: float = 0.0
    """Stochastic depth of the MiT's last block while training (linear from 0), probability."""
    feature_channels: int = 48
    """Channels of the image and UV features that are correlated."""
    coarse_channels: int = 64
    """Channels of the stride-16 features that feed the heat map."""
    texture_channels: int = 16
    """Channels of each level of the learned UV texture pyramid."""
    uv_channels: int = 64
    """Width of the network that turns the texture pyramid into UV features."""
    context_channels: int = 64
    """`basic` update only: channels of the UV context that joins the GRU's input."""
    hidden_channels: int = 64
    """Channels of the GRU's hidden state."""
    correlation: Correlation = "volume"
    """All pairs at once, or only the cells that are looked up (memory linear in the crop)."""
    correlation_levels: int = 3
    """Levels of the correlation pyramid; level l has a stride of 4 * 2**l pixels."""
    correlation_radius: int = 3
    """Cells looked up to each side of the present position, on each level."""
    update: Update = "small"
    """`basic`: RAFT's motion encoder and separable-kernel ConvGRU; `small`: depthwise-separable."""
    motion_channels: int = 48
    """`small` update only: channels of the motion features."""
    iterations: int = 2
    """Update iterations; of the light network, how often its perceptron looks, each time at the
    places that it has corrected before."""
    first_flow: FirstFlow = "heatmap"
    """Start from the mean position of each texel, or the heat map."""
    heatmap: bool = True
    """Global branch: a heat map over the whole crop per texel, gated into the first flow."""
    heatmap_channels: int = 64
    """Channels of the features that the heat map correlates."""
    upsample: int = 1
    """Output grid = grid * upsample, by convex combination; 1 means none."""
    min_sigma_px: float = 0.05
    """Floor of sigma, crop pixels: below it the log likelihood rewards luck."""
    max_sigma_px: float = 512.0
    """Ceiling of sigma, crop pixels: a point that may be anywhere in or about the crop."""

    def __post_init__(self) -> None:
        for field in fields(self):
            kind, value = type(field.default), getattr(self, field.name)
            fits = type(value) in ((float, int) if kind is float else (kind,))
            _require(fits, field.name, value, f"of type {kind.__name__}")
        for name, choices in (
            ("encoder", get_args(Encoder)),
            ("correlation", get_args(Correlation)),
            ("update", get_args(Update)),
            ("first_flow", get_args(FirstFlow)),
        ):
            _require(getattr(self, name) in choices, name, getattr(self, name), f"one of {choices}")
        for field in fields(self):
            if field.name.endswith("_channels") or field.name in _COUNTS:
                value = getattr(self, field.name)
                _require(value >= 1, field.name, value, "at least 1")
        _require(self.crop_px % 32 == 0, "crop_px", self.crop_px, "a multiple of 32")
        _require(self.grid % 8 == 0, "grid", self.grid, "a multiple of 8")
        _require(0.0 <= self.drop_path < 1.0, "drop_path", self.drop_path, "in [0, 1)")
        _require(
            0.0 < self.min_sigma_px < self.max_sigma_px,
            "min_sigma_px",
            self.min_sigma_px,
            "positive and below max_sigma_px",
        )
        if self.encoder == "landmark_trunk":
            _require(
                self.crop_px == LANDMARK_TRUNK_CROP_PX,
                "crop_px",
                self.crop_px,
                f"{LANDMARK_TRUNK_CROP_PX} with the landmark trunk",
            )
            _require(self.upsample == 1, "upsample", self.upsample, "1 with the landmark trunk")
        if self.first_flow == "heatmap" and not self.heatmap:
            raise ValueError("heatmap: must be true when first_flow is 'heatmap'")
        smallest = self.crop_px // FEATURE_STRIDE >> (self.correlation_levels - 1)
        _require(smallest >= 2, "correlation_levels", self.correlation_levels, "fewer levels")

    @property
    def output_grid(self) -> int:
        """Side of the grid that the network answers on, texels."""
        return self.grid * self.upsample

    @property
    def feature_size(self) -> int:
        """Side of the fused feature map, cells."""
        return self.crop_px // FEATURE_STRIDE

    @property
    def correlation_channels(self) -> int:
        """Correlation values that one look-up returns per texel."""
        return self.correlation_levels * (2 * self.correlation_radius + 1) ** 2

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> NetworkConfig:
        """Raises ValueError when the text is not JSON, or for a field that does not exist or has a
        value that is not allowed."""
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError(f"network config: expected a JSON object, got {type(values).__name__}")
        unknown = set(values) - {field.name for field in fields(NetworkConfig)}
        if unknown:
            raise ValueError(f"network config: unknown fields {sorted(unknown)}")
        return NetworkConfig(**values)


_COUNTS = {"crop_px", "grid", "correlation_levels", "correlation_radius", "iterations", "upsample"}


def _require(condition: bool, name: str, value: object, allowed: str) -> None:
    if not condition:
        raise ValueError(f"{name}: {value!r} is not allowed, must be {allowed}")


LIGHT = NetworkConfig(name="light")

BASE = NetworkConfig(
    name="base",
    grid=64,
    encoder="mit_b1",
    drop_path=0.1,
    feature_channels=128,
    coarse_channels=128,
    texture_channels=32,
    uv_channels=128,
    hidden_channels=96,
    motion_channels=96,
    correlation_levels=4,
    iterations=4,
    first_flow="heatmap",
    heatmap_channels=128,
)

PAPER = NetworkConfig(
    name="paper",
    grid=64,
    encoder="mit_b5",
    drop_path=0.1,
    feature_channels=128,
    coarse_channels=128,
    texture_channels=32,
    uv_channels=128,
    context_channels=128,
    hidden_channels=128,
    correlation_levels=4,
    correlation_radius=4,
    update="basic",
    iterations=12,
    first_flow="uv_mean",
    heatmap=False,
)

PRESETS = {config.name: config for config in (LIGHT, BASE, PAPER)}


def preset(name: str, **changes: object) -> NetworkConfig:
    """The preset of that name with some fields changed. Raises ValueError for an unknown name."""
    if name not in PRESETS:
        raise ValueError(f"preset: {name!r} is unknown, must be one of {sorted(PRESETS)}")
    return replace(PRESETS[name], **changes)  # type: ignore[arg-type]
