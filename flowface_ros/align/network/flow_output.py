"""What a flow network says."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from flowface_ros.align.network.heatmap import HeatmapResult


@dataclass(frozen=True)
class FlowOutput:
    """The network's answer and what a loss needs besides.

    position_px: N + 1 tensors (B, Q, 2), crop pixels, pixel centres at integers; [0] is the first
        flow, [-1] the answer.
    log_sigma: N + 1 tensors (B, Q), log of the standard deviation per axis, crop pixels.
    heatmap: the global branch's answer for all P texels of the iterated grid, or None.
    landmarks: (B, 478, 3) of the light trunk, in its own pixels (corner at 0), or None.
    presence: (B,) logit that there is a face, or None.
    irises: positions (B, 10, 2) and log sigma (B, 10) of the iris points, of the light network.
    """

    position_px: list[Tensor]
    log_sigma: list[Tensor]
    heatmap: HeatmapResult | None
    landmarks: Tensor | None
    presence: Tensor | None
    irises: tuple[Tensor, Tensor] | None = None
