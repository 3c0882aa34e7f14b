from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from flowface_ros.align.network.config import preset  # noqa: E402
from flowface_ros.align.network.constants import IRIS_COUNT, blank_constants  # noqa: E402
from flowface_ros.align.network.light_network import CLUES, LightNetwork  # noqa: E402
from flowface_ros.align.network.mit_encoder import EncodedImage  # noqa: E402
from flowface_ros.train.light_fit import fit  # noqa: E402
from flowface_ros.train.looks import Looks, choose_projections, joined, looks_at  # noqa: E402

CONFIG = preset("light", grid=8)


def blank_network() -> LightNetwork:
    torch.manual_seed(0)
    return LightNetwork(CONFIG, blank_constants(CONFIG)).eval()


def planted(network: LightNetwork, count: int, rng: np.random.Generator) -> Looks:
    """Faces in which one hidden number is in every feature; what is missing bends with it, and
    the spread of the rest grows with it."""
    number = rng.uniform(-1.5, 1.5, count)
    features = number[:, None] + 0.3 * rng.normal(size=(count, len(network.feature_mean)))
    texels = len(network.first_log_sigma)
    real = np.arange(count) % 4 == 0
    missing = np.zeros((count, texels + IRIS_COUNT, 2))
    missing[..., 0] = bend(number)[:, None]
    spread = np.exp(2 * number)[:, None, None]
    missing[..., 1:] += spread * rng.normal(size=missing[..., 1:].shape)
    known = np.ones((count, texels), bool)
    return Looks(
        features.astype(np.float16),
        rng.normal(size=(count, CLUES)).astype(np.float32),
        missing.astype(np.float16),
        known,
        known,
        np.full(count, 90, np.float32),
        real,
    )


def bend(number: np.ndarray) -> np.ndarray:
    return 4 * np.abs(number)


@pytest.fixture(scope="module")
def fitted() -> tuple[LightNetwork, Looks, np.ndarray, np.ndarray]:
    network = blank_network()
    rng = np.random.default_rng(0)
    fit(network, planted(network, 1024, rng), epochs=24)
    unseen = planted(network, 200, rng)
    features = network.standardised(torch.from_numpy(unseen.features).float())
    with torch.no_grad():
        displacement, log_sigma = network.head(
            torch.cat([features, torch.from_numpy(unseen.clues)], dim=1)
        )
        log_sigma_mm = network.log_sigma_constant() + log_sigma + np.log(1e3)
    return network, unseen, displacement.numpy(), log_sigma_mm.numpy()


def test_a_bent_relation_is_found_on_unseen_faces(
    fitted: tuple[LightNetwork, Looks, np.ndarray, np.ndarray],
) -> None:
    _, unseen, said, _ = fitted
    number = unseen.features.astype(np.float64).mean(axis=1)
    assert np.corrcoef(said[:, 0, 0], bend(number))[0, 1] > 0.95
    assert np.polyfit(bend(number), said[:, 0, 0], 1)[0] > 0.3  # few steps: it is on its way


def test_sigma_grows_with_the_error(
    fitted: tuple[LightNetwork, Looks, np.ndarray, np.ndarray],
) -> None:
    _, unseen, _, log_sigma_mm = fitted
    number = unseen.features.astype(np.float64).mean(axis=1)
    assert np.corrcoef(log_sigma_mm.mean(axis=1), number)[0, 1] > 0.4


def test_the_same_seed_gives_the_same_head() -> None:
    heads = []
    for _ in range(2):
        network = blank_network()
        fit(network, planted(network, 64, np.random.default_rng(1)), epochs=1)
        heads.append(network.head.state_dict())
    for name, value in heads[0].items():
        assert torch.equal(value, heads[1][name]), name


def test_looks_say_what_is_missing_in_the_heads_frame(tmp_path: Path) -> None:
    network = blank_network()
    points = torch.rand(2, 478, 3, generator=torch.Generator().manual_seed(3)) * 256
    points[:, :3, :2] = torch.tensor([[500.5, 0.5], [0.5, -499.5], [0.5, 0.5]])
    levels = tuple(torch.rand(2, c, 256 // s, 256 // s) for c, s in ((32, 4), (64, 8), (128, 16)))
    encoded = EncodedImage(levels, points, torch.zeros(2))
    choose_projections(network, encoded)
    count = len(network.first_log_sigma)
    middle = points[..., :2].mean(dim=1, keepdim=True) - 0.5
    truth = middle + torch.tensor([5.0, -2.5]).expand(1, count, -1)
    truth[:, 3] = torch.nan
    visible = torch.ones(2, count, dtype=torch.bool)
    visible[:, 1] = False
    looks = looks_at(network, encoded, truth, visible, torch.full((2,), 50.0), True)
    np.testing.assert_allclose(looks.missing[:, 0], [[10, -5]] * 2, rtol=1e-3)
    assert not looks.missing[:, 3].any() and not looks.missing[:, count:].any()
    assert looks.known.sum(axis=0)[:4].tolist() == [2, 2, 2, 0]
    np.testing.assert_allclose(looks.iod_mm, 100, rtol=1e-4)
    both = joined([looks, looks[1:]])
    both.write(tmp_path / "looks.npz")
    read = Looks.read(tmp_path / "looks.npz")
    assert len(read) == 3
    for field in fields(Looks):
        np.testing.assert_array_equal(getattr(read, field.name), getattr(both, field.name))
