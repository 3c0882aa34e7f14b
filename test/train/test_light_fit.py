from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from flowface_ros.align.network.config import preset  # noqa: E402
from flowface_ros.align.network.constants import IRIS_COUNT, blank_constants  # noqa: E402
from flowface_ros.align.network.light_network import CLUES, LightNetwork  # noqa: E402
from flowface_ros.align.network.mit_encoder import EncodedImage  # noqa: E402
from flowface_ros.train.light_fit import Pairs, fit, moved  # noqa: E402
from flowface_ros.train.looks import KeptLooks, Looks, finest_level, joined, looks_at  # noqa: E402

CONFIG = preset("light", grid=8)


def blank_network() -> LightNetwork:
    torch.manual_seed(0)
    return LightNetwork(CONFIG, blank_constants(CONFIG)).eval()


def planted(network: LightNetwork, count: int, rng: np.random.Generator) -> Looks:
    """Faces in which one hidden number is all that there is to be seen; what is missing bends with
    it, and the spread of the rest grows with it."""
    number = np.tile(rng.uniform(-1.5, 1.5, count // 2), 2)
    seen = np.stack([np.round(80 * number), np.full(count, 50.0), *np.zeros((30, count))], axis=1)
    texels = len(network.first_log_sigma)
    missing = np.zeros((count, texels + IRIS_COUNT, 2))
    missing[..., 0] = bend(number)[:, None]
    spread = np.exp(2 * number)[:, None, None]
    missing[..., 1:] += spread * rng.normal(size=missing[..., 1:].shape)
    known = np.ones((count, texels), bool)
    return Looks(
        np.broadcast_to(seen[..., None, None], (*seen.shape, 8, 8)).astype(np.int8),
        np.full(seen.shape, 0.02, np.float32),
        rng.uniform(50, 200, missing.shape).astype(np.float32),
        np.tile(800 * np.eye(2, dtype=np.float32), (count, 1, 1)),
        rng.normal(size=(count, CLUES)).astype(np.float32),
        missing.astype(np.float16),
        known,
        known,
        np.full(count, 90, np.float32),
        np.arange(count) % 4 == 0,
    )


def bend(number: np.ndarray) -> np.ndarray:
    return 4 * np.abs(number)


def number_of(looks: Looks) -> np.ndarray:
    return looks.finest[:, 0, 0, 0] / 80


def same_rows(network: LightNetwork) -> torch.Tensor:
    return torch.arange(len(network.first_log_sigma) + IRIS_COUNT)


@pytest.fixture(scope="module")
def fitted() -> tuple[LightNetwork, Looks, np.ndarray, np.ndarray]:
    start = blank_network()
    rng = np.random.default_rng(0)
    batches = [planted(start, 64, rng) for _ in range(16)]
    network = fit(start, batches, [], planted(start, 16, rng), same_rows(start), epochs=20)
    unseen = planted(network, 200, rng)
    with torch.no_grad():
        rest = (unseen.first_px, unseen.crop_px_per_m, unseen.clues)
        said_mm, change = network.corrections(
            network.own_levels(finest_level(unseen)), *(torch.from_numpy(array) for array in rest)
        )[-1]
        log_sigma_mm = network.log_sigma_constant() + change + np.log(1e3)
    return network, unseen, said_mm.numpy(), log_sigma_mm.numpy()


def test_a_bent_relation_is_found_on_unseen_faces(
    fitted: tuple[LightNetwork, Looks, np.ndarray, np.ndarray],
) -> None:
    _, unseen, said, _ = fitted
    truth = bend(number_of(unseen))
    assert np.corrcoef(said[:, 0, 0], truth)[0, 1] > 0.95
    assert np.polyfit(truth, said[:, 0, 0], 1)[0] > 0.3  # few steps: it is on its way


def test_sigma_grows_with_the_error(
    fitted: tuple[LightNetwork, Looks, np.ndarray, np.ndarray],
) -> None:
    _, unseen, _, log_sigma_mm = fitted
    assert np.corrcoef(log_sigma_mm.mean(axis=1), number_of(unseen))[0, 1] > 0.4


def test_the_landmark_net_is_left_alone(
    fitted: tuple[LightNetwork, Looks, np.ndarray, np.ndarray],
) -> None:
    network, start = fitted[0], blank_network()
    for name, value in start.state_dict().items():
        fitted_value = network.state_dict()[name]
        if name.startswith("encoder."):
            assert torch.equal(value, fitted_value), name
        elif name.startswith("own_stages.") and value.ndim == 4:
            assert not torch.equal(value, fitted_value), name


def test_a_stopped_fit_goes_on_as_if_it_had_not(tmp_path: Path) -> None:
    whole, state = blank_network(), tmp_path / "state.pt"
    first, later = ([planted(whole, 16, np.random.default_rng(k))] for k in range(2))
    rows = same_rows(whole)
    expected = fit(whole, first, later, None, rows, epochs=2, state=tmp_path / "whole.pt")
    stops = Stops(first, after=1)
    with pytest.raises(KeyboardInterrupt):
        fit(blank_network(), stops, later, None, rows, epochs=2, state=state)
    found = fit(blank_network(), first, later, None, rows, epochs=2, state=state)
    for name, value in expected.state_dict().items():
        assert torch.equal(value, found.state_dict()[name]), name


def test_a_fitted_network_goes_on_from_its_weights(
    fitted: tuple[LightNetwork, Looks, np.ndarray, np.ndarray],
) -> None:
    network, looks = fitted[:2]
    found = fit(network, [looks[:32]], [], None, same_rows(network), epochs=1, rate=0.0)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value, rtol=1e-6, atol=1e-7, msg=name)


class Stops(list):
    """Batches that can be asked for so often."""

    def __init__(self, batches: list[Looks], after: int) -> None:
        super().__init__(batches)
        self.left = len(batches) + after

    def __getitem__(self, number):  # type: ignore[no-untyped-def]
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().__getitem__(number)


def test_a_moved_look_misses_what_it_was_moved_by() -> None:
    looks = planted(blank_network(), 40, np.random.default_rng(0))
    turn = np.array([[0.0, -500.0], [500.0, 0.0]], np.float32)
    looks = replace(looks, crop_px_per_m=np.tile(turn, (40, 1, 1)))
    found = moved(looks, 30, np.random.default_rng(1))
    there, was = (
        part.first_px + 1e-3 * part.missing.astype(np.float32) @ turn.T for part in (found, looks)
    )
    np.testing.assert_allclose(there, was, atol=2e-2)
    shift = np.linalg.norm(found.first_px - looks.first_px, axis=2).mean(axis=1)
    assert (shift[looks.real] > 0).all(), "photographs always move"
    assert 0.4 < (shift[~looks.real] > 0).mean() < 0.9
    lengths = np.square(looks.missing.astype(np.float32) - found.missing).sum(axis=2).mean(axis=1)
    assert 0 < np.sqrt(lengths).max() < 61


def test_jitter_is_what_differs_between_a_look_and_its_mirror_image() -> None:
    network = blank_network()
    count = len(network.first_log_sigma) + IRIS_COUNT
    rows = torch.arange(count)
    rows[:2] = torch.tensor([1, 0])
    looks = planted(network, 4, np.random.default_rng(0))
    error = np.zeros((4, count, 2), np.float32)
    error[:2, 0], error[2:, 1] = [3.0, 4.0], [-3.0, 4.0]
    said = torch.from_numpy(looks.missing.astype(np.float32) + error)
    pairs = Pairs(rows)
    least = float(pairs.jitter(torch.from_numpy(looks.missing).float(), looks))
    assert float(pairs.jitter(said, looks)) == pytest.approx(least, rel=1e-3)
    said[2:, 1, 0] += 6.0  # as if the second look had not been mirrored
    grown = float(pairs.jitter(said, looks)) - least
    assert grown == pytest.approx((np.hypot(6, 0.2) - 0.2) / 90 / count, rel=0.01)


def test_drift_is_what_differs_between_moments_of_a_scene() -> None:
    network = blank_network()
    count = len(network.first_log_sigma) + IRIS_COUNT
    looks = planted(network, 8, np.random.default_rng(0))
    error = np.zeros((8, count, 2), np.float32)
    error[[0, 2], 0] = [3.0, 4.0]
    error[[5, 7], 1] = [-3.0, 4.0]
    missing = torch.from_numpy(looks.missing).float()
    pairs = Pairs(torch.arange(count))
    least = float(pairs.drift(missing, looks))
    assert float(pairs.drift(missing + torch.from_numpy(error), looks)) == pytest.approx(least)
    error[6, 5] = [0.0, 7.0]
    moved = missing + torch.from_numpy(error)
    grown = float(pairs.drift(moved, looks)) - least
    assert grown == pytest.approx((np.hypot(7, 0.2) - 0.2) / 90 / (4 * count), rel=0.01)
    looks.visible[6, 5] = False  # known and visible are one array here
    assert float(pairs.drift(moved, looks)) == pytest.approx(least)


def test_looks_say_what_is_missing_in_the_heads_frame(tmp_path: Path) -> None:
    network = blank_network()
    points = torch.rand(2, 478, 3, generator=torch.Generator().manual_seed(3)) * 256
    points[:, :3, :2] = torch.tensor([[500.5, 0.5], [0.5, -499.5], [0.5, 0.5]])
    levels = tuple(torch.rand(2, c, 256 // s, 256 // s) for c, s in ((32, 4), (64, 8), (128, 16)))
    encoded = EncodedImage(levels, points, torch.zeros(2))
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
    (read,) = KeptLooks([tmp_path / "looks.npz"])
    np.testing.assert_allclose(finest_level(read)[:2], levels[0], atol=1 / 254)
    assert len(read) == 3
    for field in fields(Looks):
        np.testing.assert_array_equal(getattr(read, field.name), getattr(both, field.name))
