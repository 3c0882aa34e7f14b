"""What training minimises: Gaussian negative log likelihood over iterations, in three stages.

The stages follow what was found to work: first the heat map by itself, then positions by their
distance while the likelihood teaches only sigma, then everything by the likelihood. Iterations
are weighted by powers of gamma, as in RAFT (Teed and Deng 2020); only points inside of the crop
teach positions (FlowFace, section 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from flowface_ros.align.network.config import FEATURE_STRIDE
from flowface_ros.align.network.flow_output import FlowOutput
from flowface_ros.align.network.heatmap import HEATMAP_STRIDE
from flowface_ros.train.batch import inside_crop

GAMMA = 0.8
"""Weight of an iteration over that of the next."""
HIDDEN_WEIGHT = 0.5
"""Of hidden points in the distance: where they are can only be guessed."""
OUTSIDE_WEIGHT = 0.25
"""Of points outside of the crop in the likelihood, which teaches nothing but sigma there."""
_BETA = 0.5
"""The joint likelihood is weighted by sigma ** (2 * beta), without gradient, so that points that
are already sure do not drown the others (Seitzer et al., On the pitfalls of heteroscedastic
uncertainty estimation, ICLR 2022)."""


@dataclass(frozen=True)
class LossWeights:
    """heatmap: cross entropy. distance: L1 of positions. sigma: likelihood with a gradient to
    sigma only. joint: likelihood with a gradient to both."""

    heatmap: float
    distance: float
    sigma: float
    joint: float


HEATMAP_STAGE = LossWeights(heatmap=1.0, distance=0.1, sigma=0.1, joint=0.0)
DISTANCE_STAGE = LossWeights(heatmap=0.3, distance=1.0, sigma=0.5, joint=0.0)
JOINT_STAGE = LossWeights(heatmap=0.1, distance=0.3, sigma=0.0, joint=1.0)
_HEATMAP_UNTIL, _DISTANCE_UNTIL, _BLEND = 0.06, 0.60, 0.04
"""Shares of all steps; stages blend over the last one."""


def stage_weights(progress: float) -> LossWeights:
    """Weights at a share [0, 1] of all steps."""
    first = _ramp(progress, _HEATMAP_UNTIL)
    second = _ramp(progress, _DISTANCE_UNTIL)
    stages = (
        (1 - first, HEATMAP_STAGE),
        (first * (1 - second), DISTANCE_STAGE),
        (first * second, JOINT_STAGE),
    )
    names = ("heatmap", "distance", "sigma", "joint")
    return LossWeights(*(sum(share * getattr(s, n) for share, s in stages) for n in names))


def _ramp(progress: float, start: float) -> float:
    return min(max((progress - start) / _BLEND, 0.0), 1.0)


def flow_loss(
    output: FlowOutput, truth_px: Tensor, visible: Tensor, weights: LossWeights, crop_px: int,
    answered: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
    """The loss, and its parts for curves (without gradient).

    truth_px: (B, Q, 2), visible: (B, Q), as in `Batch`. answered: (Q,) rows of the heat map's
    texels that the Q ones are; None for a network without heat map. Points whose truth is not
    known (NaN) teach nothing.
    """
    known = torch.isfinite(truth_px).all(dim=2)
    truth_px = torch.where(known[..., None], truth_px, 0.0)
    inside = inside_crop(truth_px, crop_px) & known
    outside = ~inside & known
    count = len(output.position_px)
    parts = {name: truth_px.new_zeros(()) for name in ("heatmap", "distance", "sigma", "joint")}
    total = 0.0
    for index in range(count):
        share = GAMMA ** (count - 1 - index)
        total += share
        position, log_sigma = output.position_px[index].float(), output.log_sigma[index].float()
        parts["distance"] = parts["distance"] + share * _distance(
            position, truth_px, visible, inside
        )
        if index == 0:
            continue  # the first flow's sigma is a constant
        parts["sigma"] = parts["sigma"] + share * _likelihood(
            position.detach(), log_sigma, truth_px, inside + OUTSIDE_WEIGHT * outside, 0.0
        )
        parts["joint"] = parts["joint"] + share * _likelihood(
            position, log_sigma, truth_px, inside.float(), _BETA
        )
    parts = {name: value / total for name, value in parts.items()}
    if output.heatmap is not None and answered is not None:
        logits = output.heatmap.logits[:, answered].float()
        parts["heatmap"] = heatmap_loss(logits, truth_px, inside, crop_px)
    loss = torch.stack([getattr(weights, name) * value for name, value in parts.items()]).sum()
    return loss, {name: value.detach() for name, value in parts.items()}


def heatmap_loss(logits: Tensor, truth_px: Tensor, inside: Tensor, crop_px: int) -> Tensor:
    """Cross entropy of logits (B, Q, h * w) to bilinear weights of the four cells around the
    truth (B, Q, 2), mean over the points inside."""
    side = crop_px // HEATMAP_STRIDE
    place = ((truth_px + 0.5) / HEATMAP_STRIDE - 0.5).clamp(0, side - 1)
    low = place.floor().clamp(max=side - 2)
    share = place - low
    log_probability = functional.log_softmax(logits, dim=2)
    total = logits.new_zeros(logits.shape[:2])
    for down in (0, 1):
        for right in (0, 1):
            x, y = share[..., 0], share[..., 1]
            weight = (x if right else 1 - x) * (y if down else 1 - y)
            cell = (low[..., 1] + down) * side + low[..., 0] + right
            total = total - weight * log_probability.gather(2, cell.long()[..., None])[..., 0]
    return _mean(total, inside.float())


def _distance(position: Tensor, truth: Tensor, visible: Tensor, inside: Tensor) -> Tensor:
    """Mean L1 distance in cells of the features."""
    weight = inside.float() * torch.where(visible, 1.0, HIDDEN_WEIGHT)
    return _mean((position - truth).abs().sum(dim=2) / FEATURE_STRIDE, weight)


def _likelihood(
    position: Tensor, log_sigma: Tensor, truth: Tensor, weight: Tensor, beta: float
) -> Tensor:
    """Mean of 2 log sigma + |r|^2 / (2 sigma^2) (negative log likelihood but for a constant).

    weight: (B, Q). With beta each point is weighted by sigma ** (2 beta) over its mean, too.
    """
    if beta:
        trust = torch.exp(2 * beta * log_sigma.detach())
        weight = weight * trust / _mean(trust, weight).clamp(min=1e-6)
    residual = (position - truth).square().sum(dim=2)
    return _mean(2 * log_sigma + 0.5 * residual * torch.exp(-2 * log_sigma), weight)


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum() / weight.sum().clamp(min=1.0)
