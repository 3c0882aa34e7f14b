"""Shape priors, and MICA's checkpoint: the right one is converted, all others are refused."""

from __future__ import annotations

import os
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flowface_ros.fit.shape_prior import NETWORK_FILE, MicaShapePrior, align_for_arcface

FULL_CHANNELS = (64, 128, 256, 512)

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")


@pytest.fixture(scope="module", autouse=True)
def thin():
    """ArcFace with few channels: its 250 MB would take most of the tests' time."""
    from flowface_ros.fit import mica_network

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mica_network, "CHANNELS", (4, 8, 8, 16))
        yield


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A random checkpoint with MICA's names, and keys that a real one has besides."""
    return random_checkpoint(tmp_path_factory.mktemp("mica") / "mica.tar")


def random_checkpoint(path: Path) -> Path:
    from flowface_ros.fit.mica_network import ArcFace, Mapping

    torch.manual_seed(0)
    arcface, mapping = ArcFace().eval(), Mapping((512, 300, 300, 300, 300, 300))
    flame = {f"regressor.{k}": v for k, v in mapping.state_dict().items()}
    flame["generator.shapedirs"] = torch.zeros(3, 3)
    torch.save({"arcface": arcface.state_dict(), "flameModel": flame, "epoch": 3}, path)
    return path


@pytest.fixture(scope="module")
def converted(checkpoint) -> Path:
    from flowface_ros.fit.mica_export import export_mica

    out = checkpoint.with_name("mica.onnx")
    export_mica(checkpoint, out)
    return out


def flame(world):
    return replace(world.model, name="FLAME like")


def test_mica_network_has_the_published_shapes(monkeypatch) -> None:
    from flowface_ros.fit import mica_network
    from flowface_ros.fit.mica_network import ArcFace

    monkeypatch.setattr(mica_network, "CHANNELS", FULL_CHANNELS)

    weights = ArcFace().state_dict()
    assert weights["conv1.weight"].shape == (64, 3, 3, 3)
    assert weights["layer1.0.downsample.0.weight"].shape == (64, 64, 1, 1)
    assert weights["layer3.13.conv2.weight"].shape == (256, 256, 3, 3)
    assert weights["fc.weight"].shape == (512, 512 * 7 * 7)
    assert weights["features.running_var"].shape == (512,)
    counts = [
        sum(k.startswith(f"layer{n}.") and k.endswith("conv1.weight") for k in weights)
        for n in range(1, 5)
    ]
    assert counts == [3, 4, 14, 3]


@pytest.mark.slow
def test_network_of_full_size_is_converted(tmp_path, monkeypatch) -> None:
    import onnxruntime

    from flowface_ros.fit import mica_network
    from flowface_ros.fit.mica_export import export_mica

    monkeypatch.setattr(mica_network, "CHANNELS", FULL_CHANNELS)
    out = tmp_path / "mica.onnx"
    export_mica(random_checkpoint(tmp_path / "mica.tar"), out)
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"face": np.zeros((1, 3, 112, 112), np.float32)})
    assert found.shape == (1, 300)
    assert np.isfinite(found).all()


def test_onnx_equals_the_torch_network(checkpoint, converted, world) -> None:
    import onnxruntime

    from flowface_ros.fit.mica_export import read_checkpoint
    from flowface_ros.fit.mica_network import Mica

    faces = np.random.default_rng(0).uniform(-1, 1, (2, 3, 112, 112)).astype(np.float32)
    with torch.no_grad():
        wanted = Mica(*read_checkpoint(checkpoint))(torch.from_numpy(faces)).numpy()
    session = onnxruntime.InferenceSession(str(converted), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"face": faces})
    assert found.shape == (2, 300)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_mica_prior_is_for_flame_heads(converted, world, rng) -> None:
    with pytest.raises(ValueError, match="FLAME"):
        MicaShapePrior(world.model, converted)
    with pytest.raises(ValueError, match=r"from \['features'\]"):
        MicaShapePrior(flame(world), NETWORK_FILE)
    with pytest.raises(ValueError, match="sigma is 0"):
        MicaShapePrior(flame(world), converted, sigma=0.0)
    prior = MicaShapePrior(flame(world), converted, sigma=0.4)
    face = rng.integers(0, 255, (112, 112, 3)).astype(np.uint8)
    belief = prior.belief([face, face])
    assert belief.mean.shape == (90,)
    assert np.abs(belief.mean).max() > 0
    np.testing.assert_allclose(np.diagonal(belief.covariance), 0.16)
    np.testing.assert_array_equal(prior.belief([]).mean, 0)
    with pytest.raises(ValueError, match="face is"):
        prior.belief([face[:50]])


class Harmful:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_code_in_a_checkpoint_is_not_run(tmp_path, how) -> None:
    from flowface_ros.fit.mica_export import read_checkpoint

    victim, path = tmp_path / "executed", tmp_path / "mica.tar"
    if how == "torch":
        torch.save({"arcface": Harmful(victim)}, path)
    else:
        path.write_bytes(pickle.dumps({"arcface": Harmful(victim)}))
    with pytest.raises(ValueError, match="more than weights"):
        read_checkpoint(path)
    assert not victim.exists()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda c: c.pop("arcface"), "'arcface'"),
        (lambda c: c["arcface"].pop("layer2.1.bn2.weight"), "arcface.layer2.1.bn2.weight"),
        (lambda c: c["arcface"].update({"fc.bias": torch.zeros(7)}), r"fc.bias has shape \(7,\)"),
        (lambda c: c["arcface"].update({"fc.bias": 3}), "fc.bias is not a tensor"),
        (lambda c: c["arcface"]["fc.bias"].fill_(torch.nan), "fc.bias holds values"),
        (lambda c: c["flameModel"].pop("regressor.output.weight"), "regressor.output"),
        (lambda c: c["flameModel"].pop("regressor.network.1.weight"), "regressor.network"),
        (
            lambda c: c["flameModel"].update({"regressor.network.1.weight": torch.tensor(1.0)}),
            "regressor.network",
        ),
    ],
)
def test_wrong_checkpoints_are_refused_by_key(checkpoint, tmp_path, change, named) -> None:
    from flowface_ros.fit.mica_export import read_checkpoint

    content = torch.load(checkpoint, weights_only=True)
    change(content)
    path = tmp_path / "wrong.tar"
    torch.save(content, path)
    with pytest.raises(ValueError, match=named):
        read_checkpoint(path)
    path.write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match=r"wrong\.tar"):
        read_checkpoint(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_checkpoints_are_refused(tmp_path, zipped) -> None:
    from flowface_ros.fit.mica_export import read_checkpoint

    path = tmp_path / "damaged.tar"
    content = {"arcface": {"fc.bias": torch.zeros(2, 3)}, "flameModel": {"a": torch.zeros(3)}}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole[: rng.integers(1, len(whole) + 1)])
        for place in rng.integers(len(damaged), size=3):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"damaged\.tar"):
            read_checkpoint(path)
    with pytest.raises(OSError):
        read_checkpoint(tmp_path)


def test_conversion_without_torch_says_what_to_install(tmp_path, monkeypatch) -> None:
    from flowface_ros.fit.mica_export import export_mica

    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ValueError, match="pip install"):
        export_mica(tmp_path / "mica.tar", tmp_path / "mica.onnx")


def test_arcface_alignment_puts_eyes_where_they_belong() -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    eyes = np.array([[120, 80], [180, 85]])
    for x, y in eyes:
        image[y - 4 : y + 5, x - 4 : x + 5] = 255
    points = np.array([[120, 80], [180, 85], [150, 118], [125, 150], [172, 153]], float)
    crop = align_for_arcface(image, points)
    assert crop.shape == (112, 112, 3)
    ys, xs = np.nonzero(crop[..., 0] > 128)
    left = xs < 56
    np.testing.assert_allclose([xs[left].mean(), ys[left].mean()], [38.3, 51.7], atol=3)
    np.testing.assert_allclose([xs[~left].mean(), ys[~left].mean()], [73.5, 51.5], atol=3)
    with pytest.raises(ValueError, match="points"):
        align_for_arcface(image, points[:3])
