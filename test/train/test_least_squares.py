from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from flowface_ros.align.network.config import preset  # noqa: E402
from flowface_ros.align.network.constants import blank_constants  # noqa: E402
from flowface_ros.align.network.light_network import LightNetwork  # noqa: E402
from flowface_ros.align.network.mit_encoder import EncodedImage  # noqa: E402
from flowface_ros.train.least_squares import (  # noqa: E402
    Rows,
    choose_projections,
    joined,
    rows_of,
    solve,
)

CONFIG = preset("light", grid=8)


def blank_network() -> LightNetwork:
    torch.manual_seed(0)
    return LightNetwork(CONFIG, blank_constants(CONFIG)).eval()


def planted(network: LightNetwork, count: int, rng: np.random.Generator) -> Rows:
    """Pictures whose first two features say what is missing, and how much; photographs miss
    nothing, drawn pictures have an error in common."""
    features = rng.normal(size=(count, len(network.feature_mean))).astype(np.float16)
    points = len(network.first_log_sigma) + 10
    real = np.arange(count) % 4 == 0
    missing = np.zeros((count, points, 2), np.float32)
    missing[..., 0] = 0.004 * features[:, :1]
    missing[..., 1] = np.where(real, 0, 0.01)[:, None]
    clues = np.concatenate([rng.normal(size=(count, 5)), np.ones((count, 1))], axis=1)
    sigma_clues = np.concatenate([rng.normal(size=(count, 8)), np.ones((count, 1))], axis=1)
    error = np.full(count, 0.03, np.float32)
    return Rows(features, clues.astype(np.float32), sigma_clues.astype(np.float32), missing, error,
                real)  # fmt: skip


def test_a_planted_relation_is_found_and_what_drawn_pictures_share_is_left_out() -> None:
    network = blank_network()
    rng = np.random.default_rng(0)
    solve(network, joined([planted(network, 300, rng), planted(network, 300, rng)]))
    unseen = planted(network, 100, rng)
    features = network.standardised(torch.from_numpy(unseen.features.astype(np.float32)))
    with torch.no_grad():
        clues = torch.cat([features, torch.from_numpy(unseen.clues)], dim=1)
        said = network.displacement(clues).reshape(unseen.missing.shape).numpy()
    across = np.corrcoef(said[:, 0, 0], unseen.missing[:, 0, 0])[0, 1]
    assert across > 0.8
    assert np.abs(said[..., 1]).mean() < 0.001


def test_sigma_is_the_usual_error() -> None:
    network = blank_network()
    rng = np.random.default_rng(1)
    rows = planted(network, 400, rng)
    rows.missing[:] = rng.normal(0, 0.005, rows.missing.shape)
    solve(network, rows)
    clues = torch.cat(
        [torch.zeros(1, rows.features.shape[1]), torch.tensor([[0.0] * 8 + [1.0]])], dim=1
    )
    with torch.no_grad():
        log_sigma = network.log_sigma_constant() + network.log_sigma(clues)[0]
    # The mean of the log of a Gaussian's length in two dimensions is 0.35 below log sigma.
    assert np.median(log_sigma.numpy()) == pytest.approx(np.log(0.005) - 0.29, abs=0.1)


def test_rows_say_what_is_missing_in_the_heads_frame() -> None:
    network = blank_network()
    points = torch.rand(2, 478, 3, generator=torch.Generator().manual_seed(3)) * 256
    points[:, :3, :2] = torch.tensor([[500.5, 0.5], [0.5, -499.5], [0.5, 0.5]])
    levels = tuple(torch.rand(2, c, 256 // s, 256 // s) for c, s in ((32, 4), (64, 8), (128, 16)))
    encoded = EncodedImage(levels, points, torch.zeros(2))
    choose_projections(network, encoded)
    count = len(network.first_log_sigma)
    middle = points[..., :2].mean(dim=1, keepdim=True) - 0.5
    truth = middle.expand(-1, count, -1) + torch.tensor([5.0, -2.5])
    known = torch.ones(2, count, dtype=torch.bool)
    known[:, 3] = False
    rows = rows_of(network, encoded, truth, known, torch.full((2,), 100.0), False)
    np.testing.assert_allclose(rows.missing[:, 0], [[0.01, -0.005]] * 2, atol=1e-5)
    assert not rows.missing[:, 3].any() and not rows.missing[:, count:].any()
    np.testing.assert_allclose(rows.error, np.hypot(5, 2.5) / 100, rtol=1e-4)
    assert len(joined([rows, rows])) == 4
