from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
