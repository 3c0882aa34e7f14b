"""One learner: schedule, mean weights, exact resumption."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from flowface_ros.align.network.checkpoint import save_checkpoint
from flowface_ros.align.network.config import NetworkConfig, preset
from flowface_ros.align.network.constants import blank_constants
from flowface_ros.align.network.networks import Network, make_network, new_network
from flowface_ros.train.ema import WeightMean
from flowface_ros.train.learner import Learner
from flowface_ros.train.processes import Processes, start_processes
from flowface_ros.train.run_config import RunConfig
from flowface_ros.train.schedule import LAST_FACTOR, rate_factor

torch.set_num_threads(1)
TINY = NetworkConfig(
    crop_px=64, grid=8, encoder="mit_b0", drop_path=0.3, feature_channels=8, coarse_channels=8,
    texture_channels=4, uv_channels=8, hidden_channels=8, motion_channels=8, heatmap_channels=8,
    first_flow="heatmap", iterations=2,
)  # fmt: skip
ALONE = Processes(0, 1, torch.device("cpu"))


def learner(steps: int = 8, **changes: object) -> Learner:
    torch.manual_seed(0)
    network = new_network(TINY, blank_constants(TINY))
    return Learner(network, RunConfig(steps=steps, learning_rate=2e-3, **changes), ALONE)  # type: ignore[arg-type]


def data(step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    image = torch.rand((2, 3, 64, 64), generator=generator)
    truth = torch.rand((2, 64, 2), generator=generator) * 64
    return image, truth, truth[..., 0] > 10


def weights(which: Network) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in which.parameters()])


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = learner()
    for step in range(6):
        whole.learn(*data(step))
    first = learner()
    for step in range(3):
        first.learn(*data(step))
    first.save(tmp_path / "state.pt")
    second = learner()
    torch.rand(7)  # whatever happened to the global generator
    second.restore(tmp_path / "state.pt")
    assert second.step == 3
    for step in range(3, 6):
        second.learn(*data(step))
    assert torch.equal(weights(second.network), weights(whole.network))
    assert all(torch.equal(second.mean.values[n], v) for n, v in whole.mean.values.items())


def test_loss_falls_on_one_batch() -> None:
    one = learner(steps=40)
    losses = [float(one.learn(*data(0))["distance"]) for _ in range(40)]
    assert min(losses[-10:]) < 0.8 * losses[0]


@pytest.mark.parametrize(
    "changes",
    [{}, {"first_flow": "uv_mean", "heatmap": False, "update": "basic", "context_channels": 8}],
)
def test_every_trained_weight_gets_a_gradient(changes: dict[str, object]) -> None:
    """Parallel processes wait for all of them."""
    config = dataclasses.replace(TINY, drop_path=0.0, **changes)  # type: ignore[arg-type]
    one = Learner(new_network(config, blank_constants(config)), RunConfig(steps=8), ALONE)
    one.learn(*data(0))
    without = [n for n, p in one.network.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


def test_restoring_another_network_is_refused(tmp_path: Path) -> None:
    one = learner()
    one.network.atlas_hash = 5
    one.save(tmp_path / "state.pt")
    with pytest.raises(ValueError, match="another network or atlas"):
        learner().restore(tmp_path / "state.pt")


def test_a_network_without_its_optimizer_is_no_state(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "state.pt", learner().network, {"step": 3})
    with pytest.raises(ValueError, match=r"state\.pt: is not the state of a run: .*'optimizer'"):
        learner().restore(tmp_path / "state.pt")


def test_a_run_that_diverged_keeps_its_last_checkpoint(tmp_path: Path) -> None:
    one = learner()
    one.learn(*data(0))
    one.save(tmp_path / "state.pt")
    before = (tmp_path / "state.pt").read_bytes()
    image, truth, visible = data(1)
    one.learn(image * torch.nan, truth, visible)
    with pytest.raises(ValueError, match="after step 2 the weights are not finite"):
        one.save(tmp_path / "state.pt")
    assert (tmp_path / "state.pt").read_bytes() == before


def test_applied_mean_is_the_mean() -> None:
    one = learner()
    for step in range(3):
        one.learn(*data(step))
    applied = dict(one.mean.applied(one.network).named_parameters())
    assert all(torch.equal(applied[n], v) for n, v in one.mean.values.items())
    changed = [not torch.equal(applied[n], p) for n, p in one.network.named_parameters()]
    assert any(changed)


def test_mean_moves_by_its_share() -> None:
    layer = torch.nn.Linear(2, 2)
    mean = WeightMean(layer)
    before = mean.values["weight"].clone()
    with torch.no_grad():
        layer.weight += 1
    mean.update(layer, 10**6)
    torch.testing.assert_close(mean.values["weight"], before + 0.001)


def test_rate_rises_stays_and_falls() -> None:
    steps = 10_000
    factors = [rate_factor(s, steps) for s in range(steps)]
    assert factors[0] < 0.01 and factors[600] == factors[7900] == 1
    assert factors[-1] == pytest.approx(LAST_FACTOR, abs=1e-3)


def test_the_landmark_net_is_frozen_and_its_copies_are_not() -> None:
    config = preset("light")
    network = make_network(config, blank_constants(config))
    Learner(network, RunConfig(), ALONE)
    trained = {n.partition(".")[0] for n, p in network.named_parameters() if p.requires_grad}
    assert trained == {"own_stages", "project", "head"}


def test_run_refuses_to_become_another(tmp_path: Path) -> None:
    RunConfig(seed=1).write(tmp_path / "run.json")
    RunConfig(seed=1, steps=10, workers=9).check_resumes(tmp_path / "run.json")
    with pytest.raises(ValueError, match=r"seed is 2, but the run in .* has 1"):
        RunConfig(seed=2).check_resumes(tmp_path / "run.json")
    with pytest.raises(ValueError, match=r"photographs is 'faces', but the run in .* has ''"):
        RunConfig(seed=1, photographs="faces").check_resumes(tmp_path / "run.json")
    RunConfig(photographs="faces").write(tmp_path / "run.json")
    RunConfig(photographs="moved").check_resumes(tmp_path / "run.json")
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ValueError, match="not a run's configuration"):
        RunConfig().check_resumes(tmp_path / "run.json")


@pytest.mark.parametrize("bad", [{"preset": "huge"}, {"steps": 0}, {"learning_rate": 0.0}])
def test_bad_settings_are_named(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        RunConfig(**bad)  # type: ignore[arg-type]


def test_a_gpu_that_is_not_there_is_named() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ValueError, match="'cuda:0', but torch sees 0 CUDA devices"):
        start_processes("cuda")


@pytest.mark.parametrize("device", ["foo", "cuda:x", "cpu:1", "mps", "", "cuda:"])
def test_devices_that_are_none_are_named(device: str) -> None:
    with pytest.raises(ValueError, match=rf"device is {device!r}, must be cpu, cuda, cuda:N or"):
        start_processes(device)
