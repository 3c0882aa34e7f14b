from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from flowface_ros.align.aligner import Picture, detect_and_align, make_aligner  # noqa: E402
from flowface_ros.align.crop import make_crop  # noqa: E402
from flowface_ros.align.landmark_net import FaceFinder  # noqa: E402
from flowface_ros.align.landmarks_aligner import LandmarksAligner  # noqa: E402
from flowface_ros.align.network.config import preset  # noqa: E402
from flowface_ros.align.network.export import export_onnx  # noqa: E402
from flowface_ros.align.network.head_constants import head_constants  # noqa: E402
from flowface_ros.align.network.networks import new_network  # noqa: E402
from flowface_ros.align.onnx_session import WEIGHTS_FOLDER  # noqa: E402
from flowface_ros.head.atlas import texel_grid  # noqa: E402
from flowface_ros.head.model_file import load_builtin_head  # noqa: E402

GRID = 24


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A light network that has learned nothing: it answers with its first flow."""
    torch.manual_seed(0)
    config = preset("light", grid=GRID)
    path = tmp_path_factory.mktemp("weights") / "light.onnx"
    network = new_network(config, head_constants(config, load_builtin_head()))
    export_onnx(network.eval(), path)
    return path


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
def test_untrained_network_carries_the_landmarks(
    weights: Path, finder: FaceFinder, astronaut: NDArray[np.uint8], runtime: str
) -> None:
    model = load_builtin_head()
    network = make_aligner("network", model, device="cpu", weights=weights, runtime=runtime)
    assert len(network.points) == len(texel_grid(model, GRID).points) + 10
    picture = Picture(astronaut, "camera", 5)
    (answer,) = detect_and_align(network, finder, picture)
    assert (answer.observation.camera, answer.observation.stamp_ns) == ("camera", 5)
    assert len(answer.observation) == len(network.points)
    assert answer.presence is not None and answer.presence > 0.9
    (expected,) = detect_and_align(LandmarksAligner(model, GRID, "cpu"), finder, picture)
    distance = np.linalg.norm(answer.observation.pixels - expected.observation.pixels, axis=1)
    assert np.median(distance) < 0.005 * 256 * answer.crop.scale


def test_crops_of_several_pictures(weights: Path, astronaut: NDArray[np.uint8]) -> None:
    network = make_aligner("network", load_builtin_head(), device="cpu", weights=weights)
    network.warm_up((1, 3))
    crop = make_crop((225, 125), 165.0, 0.0, network.crop_size)
    pictures = [Picture(astronaut, name) for name in "abc"]
    answers = network.align(pictures, [[crop], [], [crop, crop]])
    assert [len(a) for a in answers] == [1, 0, 2]
    np.testing.assert_allclose(
        answers[0][0].observation.pixels, answers[2][1].observation.pixels, atol=0.01
    )
    assert network.align(pictures, [[], [], []]) == [[], [], []]


def test_network_of_another_atlas_is_refused(weights: Path) -> None:
    model = replace(load_builtin_head(), atlas_hash=11)
    with pytest.raises(ValueError, match=r"light\.onnx is of atlas .* wears 000000000000000b"):
        make_aligner("network", model, device="cpu", weights=weights)


def test_bad_arguments(weights: Path, tmp_path: Path) -> None:
    model = load_builtin_head()
    with pytest.raises(ValueError, match="runtime is 'magic'"):
        make_aligner("network", model, weights=weights, runtime="magic")
    with pytest.raises(ValueError, match=f"no file {tmp_path}"):
        make_aligner("network", model, weights=tmp_path)


def cut_short(model: onnx.ModelProto) -> bytes:
    content = model.SerializeToString()
    return content[: len(content) // 2]


def with_bytes_that_are_no_text(model: onnx.ModelProto) -> bytes:
    # The checker quotes the name.
    name = model.graph.node[0].op_type.encode()
    return model.SerializeToString().replace(
        b"\x22" + bytes([len(name)]) + name, b"\x22\x01\xff", 1
    )


def with_a_weight_that_is_not_finite(model: onnx.ModelProto) -> bytes:
    array = next(a for a in model.graph.initializer if a.data_type == onnx.TensorProto.FLOAT)
    values = onnx.numpy_helper.to_array(array).copy()
    values.flat[-1] = np.nan
    array.CopyFrom(onnx.numpy_helper.from_array(values, array.name))
    return model.SerializeToString()


def with_a_kernel_that_does_not_fit(model: onnx.ModelProto) -> bytes:
    node = next(n for n in model.graph.node if n.op_type == "Conv")
    array = next(a for a in model.graph.initializer if a.name == node.input[1])
    values = onnx.numpy_helper.to_array(array)[:, :1]
    array.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(values), array.name))
    return model.SerializeToString()


def with_another_output(model: onnx.ModelProto) -> bytes:
    for node in model.graph.node:
        node.output[:] = ["sigma" if name == "log_sigma" else name for name in node.output]
    next(o for o in model.graph.output if o.name == "log_sigma").name = "sigma"
    return model.SerializeToString()


@pytest.mark.parametrize(
    "damage",
    [
        cut_short,
        with_bytes_that_are_no_text,
        with_a_weight_that_is_not_finite,
        with_a_kernel_that_does_not_fit,
        with_another_output,
    ],
)
def test_damaged_files_are_named(
    weights: Path, tmp_path: Path, damage: Callable[[onnx.ModelProto], bytes]
) -> None:
    path = tmp_path / "damaged.onnx"
    path.write_bytes(damage(onnx.load(str(weights))))
    with pytest.raises(ValueError, match=r"damaged\.onnx"):
        make_aligner("network", load_builtin_head(), device="cpu", weights=path)


@pytest.mark.parametrize("content", [b"", b"no network"])
def test_other_files_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"other\.onnx"):
        make_aligner("network", load_builtin_head(), device="cpu", weights=path)
    detector = WEIGHTS_FOLDER / "detector_short_range.onnx"
    with pytest.raises(ValueError, match=r"detector_short_range\.onnx: not a flow network"):
        make_aligner("network", load_builtin_head(), device="cpu", weights=detector)
