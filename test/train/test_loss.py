from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from flowface_ros.align.network.flow_output import FlowOutput
from flowface_ros.align.network.heatmap import HeatmapResult
from flowface_ros.train.batch import inside_crop
from flowface_ros.train.loss import (
    GAMMA,
    HIDDEN_WEIGHT,
    LossWeights,
    flow_loss,
    heatmap_loss,
    stage_weights,
)

torch.set_num_threads(1)
CROP = 64
ONLY = {
    name: LossWeights(**{n: float(n == name) for n in ("heatmap", "distance", "sigma", "joint")})
    for name in ("heatmap", "distance", "sigma", "joint")
}


def output(position: torch.Tensor, log_sigma: torch.Tensor, count: int = 2) -> FlowOutput:
    return FlowOutput([position] * count, [log_sigma] * count, None, None, None)


def scene(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Answer, log sigma, truth (some outside of the crop) and visibility."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand((2, 9, 2), generator=generator) * 90 - 10
    position = truth + torch.randn(truth.shape, generator=generator) * 3
    log_sigma = torch.randn((2, 9), generator=generator) * 0.3 + 1
    return position.double(), log_sigma.double(), truth.double(), truth[..., 0] > 20


def test_distance_counts_hidden_points_less_and_outside_ones_not() -> None:
    position, log_sigma, truth, visible = scene()
    loss, _ = flow_loss(output(position, log_sigma), truth, visible, ONLY["distance"], CROP)
    weight = inside_crop(truth, CROP) * torch.where(visible, 1.0, HIDDEN_WEIGHT)
    expected = ((position - truth).abs().sum(2) / 4 * weight).sum() / weight.sum()
    assert 0 < weight.sum() < 18
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_points_without_truth_teach_nothing() -> None:
    position, log_sigma, truth, visible = scene()
    weights = LossWeights(1.0, 1.0, 1.0, 1.0)
    kept, _ = flow_loss(
        output(position[:, :6], log_sigma[:, :6]), truth[:, :6], visible[:, :6], weights, CROP
    )
    unknown = truth.clone()
    unknown[:, 6:] = torch.nan
    position.requires_grad_()
    loss, _ = flow_loss(output(position, log_sigma), unknown, visible, weights, CROP)
    loss.backward()
    np.testing.assert_allclose(loss.detach(), kept, rtol=1e-6)
    assert position.grad is not None and (position.grad[:, 6:] == 0).all()


def test_later_iterations_weigh_more() -> None:
    position, log_sigma, truth, visible = scene()
    good = FlowOutput([truth, position], [log_sigma] * 2, None, None, None)
    bad = FlowOutput([position, truth], [log_sigma] * 2, None, None, None)
    last, _ = flow_loss(good, truth, visible, ONLY["distance"], CROP)
    first, _ = flow_loss(bad, truth, visible, ONLY["distance"], CROP)
    np.testing.assert_allclose(first / last, GAMMA, rtol=1e-6)


def test_sigma_stage_teaches_sigma_alone() -> None:
    position, log_sigma, truth, visible = scene()
    position.requires_grad_(), log_sigma.requires_grad_()
    loss, _ = flow_loss(output(position, log_sigma), truth, visible, ONLY["sigma"], CROP)
    loss.backward()
    assert position.grad is not None and position.grad.abs().sum() == 0
    assert log_sigma.grad is not None and log_sigma.grad.abs().sum() > 0


def test_likelihood_is_lowest_where_sigma_is_the_residuals_rms() -> None:
    truth = torch.full((1, 4000, 2), 30.0)
    residual = torch.randn(truth.shape, generator=torch.Generator().manual_seed(1)) * 2.5
    visible = torch.ones(1, 4000, dtype=torch.bool)
    sigmas = np.exp(np.linspace(math.log(1), math.log(6), 60))
    losses = [
        flow_loss(
            output(truth + residual, torch.full((1, 4000), math.log(s))), truth, visible,
            ONLY["sigma"], CROP,
        )[0].item()
        for s in sigmas
    ]  # fmt: skip
    assert sigmas[int(np.argmin(losses))] == pytest.approx(2.5, rel=0.05)


@pytest.mark.parametrize("name", ["distance", "joint"])
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    position, log_sigma, truth, visible = scene(3)
    # The joint stage's trust in a point is held constant, so sigma's gradient is not checked there.
    position.requires_grad_()

    def loss(p: torch.Tensor) -> torch.Tensor:
        return flow_loss(output(p, log_sigma), truth, visible, ONLY[name], CROP)[0]

    # float32 inside
    loss(position).backward()
    direction = torch.randn(position.shape, generator=torch.Generator().manual_seed(5)).double()
    step = 1e-2 * direction
    difference = (loss(position.detach() + step) - loss(position.detach() - step)) / 2e-2
    np.testing.assert_allclose((position.grad * direction).sum(), difference, rtol=2e-2)


def test_heatmap_loss_is_lowest_for_the_bilinear_target() -> None:
    truth = torch.tensor([[[23.5, 39.5]]])  # centre between cells (0.97, 1.97)
    inside = torch.ones(1, 1, dtype=torch.bool)
    place = (truth[0, 0] + 0.5) / 16 - 0.5
    target = torch.zeros(4, 4)
    for y in range(4):
        for x in range(4):
            target[y, x] = (1 - (place[0] - x).abs()).clamp(0) * (1 - (place[1] - y).abs()).clamp(0)
    logits = torch.log(target + 1e-12).reshape(1, 1, 16)
    best = heatmap_loss(logits, truth, inside, CROP)
    entropy = -(target[target > 0] * target[target > 0].log()).sum()
    np.testing.assert_allclose(best, entropy, atol=1e-5)
    assert heatmap_loss(logits.roll(1, 2), truth, inside, CROP) > best + 1


def test_heatmap_is_supervised_on_the_answered_texels() -> None:
    position, log_sigma, truth, visible = scene()
    logits = torch.zeros(2, 12, 16, requires_grad=True)
    heatmap = HeatmapResult(logits, position, log_sigma[..., None])
    answer = FlowOutput([position] * 2, [log_sigma] * 2, heatmap, None, None)
    flow_loss(answer, truth, visible, ONLY["heatmap"], CROP, torch.arange(3, 12))[0].backward()
    assert logits.grad is not None
    assert logits.grad[:, :3].abs().sum() == 0 and logits.grad[:, 3:].abs().sum() > 0


def test_stages_follow_one_another() -> None:
    start, middle, end = (stage_weights(p) for p in (0.0, 0.3, 1.0))
    assert start.heatmap == 1 and start.joint == 0
    assert middle.distance == 1 and middle.joint == 0 and middle.sigma > 0
    assert end.joint == 1 and end.sigma == 0
