from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from flowface_ros.align.network.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from flowface_ros.align.network.config import NetworkConfig, preset  # noqa: E402
from flowface_ros.align.network.constants import AtlasConstants, blank_constants  # noqa: E402
from flowface_ros.align.network.flow_network import FlowNetwork  # noqa: E402

SMALL = {"encoder": "mit_b0", "crop_px": 64, "grid": 16, "correlation_levels": 3, "drop_path": 0.0}
CONFIGS = {
    "uv_mean": preset("paper", **SMALL, iterations=2),
    "heatmap": preset("base", **SMALL, iterations=2),
    "gated": preset("base", **SMALL, iterations=2, first_flow="uv_mean"),
    "upsampled": preset("base", **SMALL, iterations=1, upsample=2, correlation="on_the_fly"),
}


def partial_constants(config: NetworkConfig) -> AtlasConstants:
    """Constants with a hole in the atlas."""
    rng = np.random.default_rng(0)
    blank = blank_constants(config)
    valid, output_valid = blank.valid.copy(), blank.output_valid.copy()
    valid[:5, 3:9] = False
    output_valid[-4:] = False
    inside = valid.ravel()
    return AtlasConstants(
        7,
        valid,
        output_valid if config.upsample > 1 else valid,
        blank.mean_position[inside],
        rng.normal(1.0, 0.3, int(inside.sum())).astype(np.float32),
    )


def make(name: str) -> FlowNetwork:
    torch.manual_seed(0)
    return FlowNetwork(CONFIGS[name], partial_constants(CONFIGS[name])).eval()


def crops(network: FlowNetwork, batch: int = 2):  # type: ignore[no-untyped-def]
    side = network.config.crop_px
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(1))


def randomise_head(network: FlowNetwork) -> None:
    torch.nn.init.normal_(network.head.output.weight, std=0.3)


@pytest.mark.parametrize("name", CONFIGS)
def test_outputs_before_training_are_the_first_flow(name: str) -> None:
    network = make(name)
    with torch.no_grad():
        output = network(crops(network))
    count = int(network.answered.numel())
    assert len(output.position_px) == len(output.log_sigma) == network.config.iterations + 1
    for position, log_sigma in zip(output.position_px, output.log_sigma, strict=True):
        assert position.shape == (2, count, 2)
        assert log_sigma.shape == (2, count)
        torch.testing.assert_close(position, output.position_px[0], atol=1e-2, rtol=0)
        torch.testing.assert_close(log_sigma, output.log_sigma[0], atol=1e-2, rtol=0)


def test_first_flow_from_uv_mean() -> None:
    network = make("uv_mean")
    with torch.no_grad():
        first = network(crops(network)).position_px[0]
    expected = partial_constants(network.config).mean_position * 64 - 0.5
    np.testing.assert_allclose(first[1].numpy(), expected, atol=1e-4)


def test_first_flow_from_heatmap() -> None:
    network = make("heatmap")
    with torch.no_grad():
        output = network(crops(network))
    assert torch.equal(output.position_px[0], output.heatmap.position_px[:, network.answered])


@pytest.mark.parametrize("name", CONFIGS)
def test_crops_of_a_batch_do_not_mix(name: str) -> None:
    network = make(name)
    randomise_head(network)
    batch = crops(network)
    with torch.no_grad():
        together = network(batch).position_px[-1]
        alone = network(batch[1:]).position_px[-1]
    torch.testing.assert_close(together[1:], alone, atol=1e-3, rtol=0)
    assert float((together[0] - together[1]).abs().max()) > 1e-3


@pytest.mark.parametrize("name", CONFIGS)
def test_baking_changes_nothing(name: str) -> None:
    network = make(name)
    randomise_head(network)
    batch = crops(network)
    with torch.no_grad():
        before = network(batch).position_px[-1]
        after = network.bake()(batch).position_px[-1]
    assert torch.equal(before, after)


@pytest.mark.parametrize("name", ["uv_mean", "gated", "heatmap", "upsampled"])
def test_loss_reaches_every_parameter(name: str) -> None:
    network = make(name).train()
    randomise_head(network)
    if network.gate is not None:
        for parameter in network.gate.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    output = network(crops(network))
    loss = sum(position.square().mean() for position in output.position_px)
    loss = loss + sum(log_sigma.square().mean() for log_sigma in output.log_sigma)
    if output.heatmap is not None:
        loss = loss + output.heatmap.position_px.square().mean()
    loss.backward()
    idle = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().max()]
    assert idle == []


def test_a_few_steps_move_points_to_their_targets() -> None:
    network = make("gated").train()
    batch = crops(network)
    with torch.no_grad():
        target = network(batch).position_px[0] + torch.tensor([6.0, -4.0])
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(25):
        loss = (network(batch).position_px[-1] - target).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_sigma_stays_in_its_range() -> None:
    network = make("gated")
    torch.nn.init.constant_(network.head.output.bias, 50.0)
    with torch.no_grad():
        output = network(crops(network))
    assert float(output.log_sigma[-1].max()) == pytest.approx(np.log(512.0))


def test_checkpoint_restores_the_network(tmp_path: Path) -> None:
    network = make("gated")
    randomise_head(network)
    save_checkpoint(tmp_path / "a.pt", network, {"step": 12})
    restored, training = load_checkpoint(tmp_path / "a.pt")
    batch = crops(network)
    with torch.no_grad():
        expected, found = network(batch), restored.eval()(batch)
    assert torch.equal(expected.position_px[-1], found.position_px[-1])
    assert (training, restored.atlas_hash) == ({"step": 12}, 7)
    assert restored.config == network.config


@pytest.mark.parametrize(
    "content",
    [b"", b"not a checkpoint", b"garbage", b"aaaagarbage", b".", b"PK\x03\x04", b"X\x01\0\0\0\xff"],
)
def test_files_that_are_no_checkpoints_are_named(tmp_path: Path, content: bytes) -> None:
    """The unpickler has an exception of another kind for nearly each of them."""
    (tmp_path / "bad.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.pt: not a checkpoint"):
        load_checkpoint(tmp_path / "bad.pt")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 99),
        ("config", None),
        ("config", '{"grid": "wide"}'),
        ("atlas_hash", "7"),
        ("landmark_offset_px", "half"),
        ("network", []),
        ("network", {"answered": 3}),
        ("network", {"lookup": torch.zeros(3)}),
        ("training", None),
    ],
)
def test_damaged_fields_are_named(tmp_path: Path, field: str, value: object) -> None:
    path = tmp_path / "bad.pt"
    save_checkpoint(path, make("gated"))
    content = torch.load(path, weights_only=True)
    torch.save({**content, field: value}, path)
    named = "network" if field == "config" and value else field
    with pytest.raises(ValueError, match=rf"bad\.pt: {named}: "):
        load_checkpoint(path)
    del content[field]
    torch.save(content, path)
    with pytest.raises(ValueError, match=rf"bad\.pt: {field}: "):
        load_checkpoint(path)
