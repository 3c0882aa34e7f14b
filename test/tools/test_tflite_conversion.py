from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("tflite")
onnx = pytest.importorskip("onnx")

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import tflite_sources  # noqa: E402
from tflite_graph import Graph, Operation, densify, read_graph  # noqa: E402
from tflite_to_onnx import OPSET, Output, convert  # noqa: E402

from flowface_ros.package_files import Package, fetch, member  # noqa: E402

WEIGHTS = ROOT / "flowface_ros" / "align" / "weights"


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 9), st.integers(0, 999))
def test_densify_undoes_compressed_rows(first: int, second: int, last: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    dense = rng.normal(size=(first, second, last)) * (rng.random((first, second, last)) < 0.4)
    values, segments, indices = [], [0], []
    for row in dense.reshape(-1, last):
        columns = np.flatnonzero(row)
        values += row[columns].tolist()
        indices += columns.tolist()
        segments.append(len(indices))
    again = densify(np.array(values), np.array(segments), np.array(indices, int), dense.shape)
    np.testing.assert_array_equal(again, dense)


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\0" * 64])
def test_what_is_no_tflite_file_raises(content: bytes) -> None:
    with pytest.raises(ValueError, match="TFL3"):
        read_graph(content)


def graph_of(name: str) -> Graph:
    shapes = {0: (1, 4, 4, 3), 1: (1, 4, 4, 3)}
    return Graph([Operation(name, (0,), (1,), None)], (0,), (1,), shapes, {0: "in", 1: "out"}, {})


def test_a_small_network_runs_as_written() -> None:
    import onnxruntime

    made = convert(graph_of("RELU"), [Output("out", 1, (4, 4, 3))], 0.5, -20.0, "a test")
    assert made == convert(graph_of("RELU"), [Output("out", 1, (4, 4, 3))], 0.5, -20.0, "a test")
    session = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    (out,) = session.run(None, {"image": image})
    np.testing.assert_allclose(out, np.maximum(image * 0.5 - 20, 0))


def converted(
    name: str,
    image: NDArray[np.uint8],
    after: tuple[int, ...],
    constants: dict[int, NDArray],
    options: dict[str, int] | None = None,
    **arguments: bool,
) -> NDArray:
    """What ONNX Runtime makes of one operator on pictures (N, H, W, C), made into -1 to 1."""
    import onnxruntime

    told = SimpleNamespace(**{k: lambda v=v: v for k, v in (options or {}).items()})
    graph = Graph(
        [Operation(name, (0, *constants), (1,), told)],
        (0,),
        (1,),
        {0: (1, *image.shape[1:]), 1: (1, *after)},
        {0: "in", 1: "out", **{k: f"constant {k}" for k in constants}},
        constants,
    )
    made = convert(graph, [Output("out", 1, after)], 1 / 127.5, -1.0, "a test", **arguments)
    session = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": image})[0]


def scaled(image: NDArray[np.uint8]) -> NDArray:
    return image / 127.5 - 1


def pictures(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(4).integers(0, 256, (2, *shape), np.uint8)


SAME_OF_SIX = {"Padding": 0, "StrideH": 2, "StrideW": 2}
"""TFLite pads six cells under a stride of 2 and a kernel of 3 by one cell, at the end."""


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("activation", [0, 1, 3])
def test_convolutions_by_loops(depthwise: bool, activation: int) -> None:
    rng, image = np.random.default_rng(5), pictures(6, 6, 3)
    kernel = rng.normal(size=(1, 3, 3, 3) if depthwise else (4, 3, 3, 3)).astype(np.float16)
    bias = rng.normal(size=3 if depthwise else 4).astype(np.float32)
    padded = np.pad(scaled(image), ((0, 0), (0, 1), (0, 1), (0, 0)))
    expected = np.empty((2, 3, 3, len(bias)))
    for row in range(3):
        for column in range(3):
            window = padded[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            terms = "nhwc,hwc->nc" if depthwise else "nhwc,ohwc->no"
            weights = kernel[0] if depthwise else kernel
            expected[:, row, column] = np.einsum(terms, window, weights) + bias
    limits = {0: (-np.inf, np.inf), 1: (0, np.inf), 3: (0, 6)}[activation]
    options = {
        **SAME_OF_SIX,
        "DilationHFactor": 1,
        "DilationWFactor": 1,
        "FusedActivationFunction": activation,
    }
    name = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    found = converted(name, image, expected.shape[1:], {2: kernel, 3: bias}, options)
    np.testing.assert_allclose(found, np.clip(expected, *limits), atol=1e-5)


def test_max_pooling_by_loops() -> None:
    image = pictures(6, 6, 3)
    options = {**SAME_OF_SIX, "FilterHeight": 2, "FilterWidth": 2, "FusedActivationFunction": 0}
    found = converted("MAX_POOL_2D", image, (3, 3, 3), {}, options)
    cells = scaled(image).reshape(2, 3, 2, 3, 2, 3)
    np.testing.assert_allclose(found, cells.max(axis=(2, 4)), atol=1e-6)


def test_prelu_by_its_definition() -> None:
    image, slope = pictures(4, 4, 3), np.array([0.1, -0.5, 2.0], np.float16).reshape(1, 1, 3)
    found, before = converted("PRELU", image, (4, 4, 3), {2: slope}), scaled(image)
    expected = np.where(before > 0, before, before * slope.astype(np.float64))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("amounts", [(0, 0, 0, 0, 1, 2), (1, 0, 0, 2, 0, 0), (1, 1, 2, 0, 0, 3)])
def test_padding_adds_zeros(amounts: tuple[int, ...]) -> None:
    image, sides = pictures(4, 5, 3), ((0, 0), *zip(amounts[::2], amounts[1::2], strict=True))
    expected = np.pad(scaled(image), sides)
    found = converted("PAD", image, expected.shape[1:], {2: np.array(sides, np.int32)})
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_what_depends_on_the_pictures_size_is_refused_where_that_is_free() -> None:
    options = {**SAME_OF_SIX, "FilterHeight": 2, "FilterWidth": 2, "FusedActivationFunction": 0}
    with pytest.raises(ValueError, match="depends on the picture's size"):
        converted("MAX_POOL_2D", pictures(6, 6, 3), (3, 3, 3), {}, options, free_size=True)


def test_unknown_operators_raise() -> None:
    with pytest.raises(ValueError, match="SOFTMAX is not supported"):
        convert(graph_of("SOFTMAX"), [Output("out", 1, (4, 4, 3))], 1.0, 0.0, "")


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("detector_short_range.onnx", tflite_sources.SHORT_RANGE),
        ("detector_full_range.onnx", tflite_sources.FULL_RANGE),
        ("landmarks_478.onnx", tflite_sources.LANDMARKS),
    ],
)
def test_shipped_networks_say_where_they_come_from(
    file: str, source: tflite_sources.TfliteSource
) -> None:
    model = onnx.load(WEIGHTS / file)
    assert model.opset_import[0].version == OPSET
    assert model.doc_string == source.provenance()
    assert "Apache-2.0" in model.doc_string
    assert source.sha256 in (WEIGHTS / "README.md").read_text()


def test_a_download_with_another_hash_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWFACE_CACHE", str(tmp_path))
    package = Package("anything==1.0", "0" * 64)
    (tmp_path / package.sha256).mkdir()
    (tmp_path / package.sha256 / "anything.whl").write_bytes(b"changed on the way")
    with pytest.raises(ValueError, match="SHA-256"):
        fetch(package)


def test_members_are_found_by_the_end_of_their_path(tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("x/y/net.tflite", b"1")
        zipped.writestr("x/z/net.tflite", b"2")
    assert member(path.read_bytes(), "y/net.tflite") == b"1"
    with pytest.raises(ValueError, match="2 members"):
        member(path.read_bytes(), "net.tflite")
