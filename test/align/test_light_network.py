from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from flowface_ros.align.aligner import LIGHT_NETWORK, Picture, make_aligner  # noqa: E402
from flowface_ros.align.crop import cut, make_crop  # noqa: E402
from flowface_ros.align.network import light_network  # noqa: E402
from flowface_ros.align.network.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from flowface_ros.align.network.config import preset  # noqa: E402
from flowface_ros.align.network.head_constants import head_constants  # noqa: E402
from flowface_ros.align.network.light_network import FaceFrame, LightNetwork, to_crop  # noqa: E402
from flowface_ros.align.network.networks import new_network  # noqa: E402
from flowface_ros.head.model_file import load_builtin_head  # noqa: E402

LARGEST_FILE = 16e6


@pytest.fixture
def network() -> LightNetwork:
    torch.manual_seed(0)
    config = preset("light")
    made = new_network(config, head_constants(config, load_builtin_head())).eval()
    assert isinstance(made, LightNetwork)
    return made


@pytest.fixture(scope="module")
def face() -> NDArray[np.uint8]:
    image = pytest.importorskip("skimage.data").astronaut()
    return cut(image, [make_crop((225, 120), 175.0, 0.0, 256)])[0]


def tensor(face: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(face).permute(2, 0, 1)[None].float() / 255


def test_starts_as_the_landmarks_aligner(network: LightNetwork, face: NDArray[np.uint8]) -> None:
    with torch.no_grad():
        output = network(tensor(face))
    assert len(output.position_px) == 1 + network.config.iterations
    assert all(torch.equal(output.position_px[0], later) for later in output.position_px[1:])
    whole = make_crop(np.full(2, 127.5), 256, 0.0, 256)
    aligner = make_aligner("landmarks", load_builtin_head(), device="cpu")
    expected = aligner.align([Picture(face)], [[whole]])[0][0].observation
    assert output.irises is not None
    found = torch.cat([output.position_px[-1], output.irises[0]], dim=1)[0].numpy()
    distance = np.linalg.norm(found - expected.pixels, axis=1)
    assert np.median(distance) < 0.6 and distance.max() < 6  # its view of the head is simpler
    # Its first sigma is that of a large face that looks at the camera.
    sigma = np.exp(output.log_sigma[-1][0].numpy()) / expected.sigma[:-10]
    assert 0.5 < np.median(sigma) < 2


def test_frame_of_a_turned_view() -> None:
    angle, size = 0.3, 800.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    axes = size * np.array([[1.0, 0], [0, -1.0], [0, 0]]) @ turn.T
    points = np.zeros((1, 478, 2), np.float32)
    points[0, :3] = axes
    frame = FaceFrame(torch.from_numpy(points), torch.eye(3, 478))
    assert float(frame.scale[0]) == pytest.approx(size, rel=1e-4)
    np.testing.assert_allclose(frame.crop_px_per_m[0].numpy(), size * turn, rtol=1e-4)
    np.testing.assert_allclose(frame.toward_camera[0].numpy(), [0, 0, 1], atol=1e-5)
    moved = to_crop(torch.tensor([[[0.01, 0.0]]]), frame.crop_px_per_m)[0, 0].numpy()
    np.testing.assert_allclose(moved, size * 0.01 * turn[:, 0], rtol=1e-4)


def test_belief_grows_with_the_error(network: LightNetwork) -> None:
    count = len(network.first_log_sigma) + light_network.IRIS_COUNT
    middle_m = light_network.BELIEF_MIDDLE_M
    errors = torch.log(torch.tensor([[middle_m / 5], [middle_m], [5 * middle_m]])).expand(3, count)
    low, middle, high = network.belief(errors).tolist()
    assert low == pytest.approx(light_network.BELIEF_FLOOR, abs=0.02)
    assert high == pytest.approx(light_network.BELIEF_CEILING, abs=0.02)
    assert middle == pytest.approx((low + high) / 2, abs=0.02)


def test_calibration_leaves_positions_alone(network: LightNetwork, face: NDArray[np.uint8]) -> None:
    torch.nn.init.normal_(network.head.displacement.basis, std=0.1)
    change = torch.linspace(-1, 1, len(network.first_log_sigma))
    with torch.no_grad():
        before = network(tensor(face), every_iteration=False)
        network.add_log_sigma(change)
        after = network(tensor(face), every_iteration=False)
    assert torch.equal(before.position_px[-1], after.position_px[-1])
    torch.testing.assert_close(after.log_sigma[-1] - before.log_sigma[-1], change[None])


def test_features_are_of_the_places_that_are_sampled(network: LightNetwork) -> None:
    config = network.config
    levels = []
    for stride, channels in zip((4, 8, 16), network.encoder.channels, strict=False):
        axis = torch.arange(config.crop_px // stride) * stride + (stride - 1) / 2
        levels.append(axis[None, None, None].expand(1, channels, len(axis), -1).contiguous())
    for project in network.project:
        torch.nn.init.constant_(project.weight, 1.0 / project.weight.shape[1])
    count = len(network.first_log_sigma) + light_network.IRIS_COUNT
    position = torch.rand(1, count, 2) * 200 + 25
    found = network.features(network.projected(levels), position)[0]
    width = len(network.sampled_4) * light_network.LEVEL_CHANNELS[0]
    expected = position[0, network.sampled_4, 0]
    got = found[:width].reshape(-1, light_network.LEVEL_CHANNELS[0])
    torch.testing.assert_close(got, expected[:, None].expand_as(got), atol=1e-2, rtol=0)


def test_training_reaches_what_is_learned(network: LightNetwork, face: NDArray[np.uint8]) -> None:
    for layer in (network.head.displacement, network.head.log_sigma):
        torch.nn.init.normal_(layer.basis, std=0.1)
    output = network.train()(tensor(face))
    (output.position_px[-1].mean() + output.log_sigma[-1].mean()).backward()
    learned = [network.head, *network.project, *network.own_stages]
    for module in learned:
        assert all(float(p.grad.abs().max()) > 0 for p in module.parameters())


def test_looks_again_at_the_places_that_it_has_corrected(network: LightNetwork) -> None:
    """By one perceptron, that is told what is seen and answers a share of the way to a place."""
    generator = torch.Generator().manual_seed(1)
    channels = zip(light_network.LEVEL_STRIDES, network.encoder.channels, strict=False)
    levels = tuple(torch.rand(2, c, 256 // s, 256 // s, generator=generator) for s, c in channels)
    for module in (network.head.displacement, network.head.log_sigma):
        torch.nn.init.normal_(module.basis, std=3.0)
    count = len(network.first_log_sigma) + light_network.IRIS_COUNT
    first = torch.rand(2, count, 2, generator=generator) * 200 + 25
    turn = torch.tensor([[[600.0, -300.0], [300.0, 600.0]], [[900.0, 0.0], [0.0, 900.0]]])
    clues = torch.rand(2, light_network.CLUES, generator=generator)

    def said(at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = network.standardised(network.features(network.projected(levels), at))
        return network.head(torch.cat([features, clues], dim=1))

    with torch.no_grad():
        once, twice = network.corrections(levels, first, turn, clues)
        torch.testing.assert_close(once, said(first))
        moved_px = torch.einsum("bij,bnj->bni", turn, 1e-3 * once[0])
        more, change = said(first + moved_px)
    assert float(moved_px.norm(dim=2).max()) > 1
    torch.testing.assert_close(twice[0], once[0] + more, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(twice[1], change, rtol=1e-4, atol=1e-4)


def test_own_stages_start_as_those_of_the_trunk(
    network: LightNetwork, face: NDArray[np.uint8]
) -> None:
    with torch.no_grad():
        levels = network.encoder(tensor(face)).levels
        own = network.own_levels(levels[0])
    assert len(own) == len(light_network.LEVEL_STRIDES)
    for mine, theirs in zip(own, levels, strict=False):
        assert torch.equal(mine, theirs)


def test_checkpoint_restores_sizes_of_the_atlas(network: LightNetwork, tmp_path: Path) -> None:
    torch.nn.init.normal_(network.head.displacement.basis, std=0.1)
    save_checkpoint(tmp_path / "a.pt", network)
    restored, _ = load_checkpoint(tmp_path / "a.pt")
    for name, value in network.state_dict().items():
        assert torch.equal(value, restored.state_dict()[name]), name


def test_shipped_network_agrees_with_the_landmarks_on_an_easy_face(
    face: NDArray[np.uint8],
) -> None:
    assert LIGHT_NETWORK.stat().st_size < LARGEST_FILE
    model = load_builtin_head()
    whole = make_crop(np.full(2, 127.5), 256, 0.0, 256)
    ours, theirs = (
        make_aligner(name, model, device="cpu").align([Picture(face)], [[whole]])[0][0]
        for name in ("network", "landmarks")
    )
    eyes_px = 85
    distance = np.linalg.norm(ours.observation.pixels - theirs.observation.pixels, axis=1)
    assert np.median(distance) < 0.025 * eyes_px
    assert ours.presence == pytest.approx(theirs.presence, abs=0.01)
    other = replace(model, atlas_hash=11)
    with pytest.raises(ValueError, match="atlas"):
        make_aligner("network", other, device="cpu")
