from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from flowface_ros.align.aligner import LIGHT_NETWORK
from flowface_ros.align.half_precision import half_precision
from flowface_ros.align.onnx_session import (
    WEIGHTS_FOLDER,
    DeviceBinding,
    DeviceError,
    OnnxSession,
    parse_device,
)

NETWORK = WEIGHTS_FOLDER / "detector_short_range.onnx"


@pytest.fixture(scope="module")
def session() -> OnnxSession:
    return OnnxSession(NETWORK, device="cpu")


def pictures(batch: int) -> np.ndarray:
    return np.random.default_rng(batch).integers(0, 256, (batch, 128, 128, 3), np.uint8)


def test_batch_gives_what_single_pictures_give(session: OnnxSession) -> None:
    images = pictures(3)
    together = session.run(image=images)
    for i, image in enumerate(images):
        alone = session.run(image=image[None])
        for name in session.outputs:
            np.testing.assert_allclose(alone[name][0], together[name][i], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("batch", [0, 1, 2, 5])
def test_threads_share_the_batch_of_a_small_network(session: OnnxSession, batch: int) -> None:
    shared = OnnxSession(NETWORK, device="cpu", threads=2, small=True)
    expected, found = (s.run(image=pictures(batch)) for s in (session, shared))
    for name in session.outputs:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("batch", [2, 4, 8])
def test_an_answer_does_not_depend_on_the_others_in_its_batch(batch: int) -> None:
    """To the last bit, of the network that ships: matrix products of a batch round otherwise."""
    network = OnnxSession(LIGHT_NETWORK, "cpu")
    pictures = np.random.default_rng(2).integers(0, 255, (batch, 256, 256, 3), np.uint8)
    together = network.run(image=pictures)
    for row, picture in enumerate(pictures):
        alone = network.run(image=picture[None])
        for name in together:
            np.testing.assert_array_equal(together[name][row], alone[name][0])


def test_empty_batch_gives_empty_outputs(session: OnnxSession) -> None:
    outputs = session.run(image=pictures(0))
    assert {name: array.shape for name, array in outputs.items()} == {
        "boxes": (0, 896, 16),
        "scores": (0, 896),
    }


def test_a_view_that_is_not_contiguous_is_taken(session: OnnxSession) -> None:
    images = pictures(2)
    flipped = session.run(image=images[:, :, ::-1])["scores"]
    np.testing.assert_array_equal(flipped, session.run(image=images[:, :, ::-1].copy())["scores"])


def test_warm_up_accepts_batch_sizes(session: OnnxSession) -> None:
    session.warm_up((1, 2))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "takes"),
        ({"picture": pictures(1)}, "takes"),
        ({"image": pictures(1).astype(np.float32)}, "must be uint8"),
        ({"image": pictures(1)[0]}, "shape"),
        ({"image": np.zeros((1, 128, 127, 3), np.uint8)}, "shape"),
    ],
)
def test_wrong_inputs_raise(session: OnnxSession, inputs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        session.run(**inputs)


def test_device_names() -> None:
    assert str(parse_device("cuda")) == "cuda:0"
    assert str(parse_device("tensorrt:2")) == "tensorrt:2"
    assert str(parse_device("cpu")) == "cpu"


@pytest.mark.parametrize("device", ["gpu", "cpu:0", "cuda:", "cuda:-1", "CUDA", ""])
def test_unknown_device_raises(device: str) -> None:
    with pytest.raises(ValueError, match="device"):
        OnnxSession(NETWORK, device=device)


@pytest.mark.parametrize("arguments", [{"precision": "int8"}, {"threads": 0}])
def test_bad_arguments_raise(arguments: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        OnnxSession(NETWORK, device="cpu", **arguments)


def test_half_precision_on_the_cpu_raises() -> None:
    with pytest.raises(ValueError, match="fp16"):
        OnnxSession(NETWORK, device="cpu", precision="fp16")


def test_bytes_that_are_no_network_raise() -> None:
    with pytest.raises(ValueError, match="not a network"):
        OnnxSession(b"not a network", device="cpu")


@pytest.mark.parametrize("device", ["cuda:0", "tensorrt"])
def test_absent_provider_raises(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceError, match="device"):
        OnnxSession(NETWORK, device=device)


class _SessionThatFellBack:
    """What ONNX Runtime returns when CUDA is listed but does not work."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]


def test_silent_fall_back_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    monkeypatch.setattr(onnxruntime, "InferenceSession", _SessionThatFellBack)
    with pytest.raises(DeviceError, match="instead"):
        OnnxSession(NETWORK, device="cuda:0")


def test_auto_takes_the_cpu_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert str(OnnxSession(NETWORK, device="auto").device) == "cpu"


def test_half_precision_network_gives_nearly_the_same(session: OnnxSession) -> None:
    pytest.importorskip("onnx")
    half = OnnxSession(half_precision(NETWORK.read_bytes()), device="cpu")
    images = pictures(2)
    boxes, half_boxes = (s.run(image=images)["boxes"] for s in (session, half))
    assert half_boxes.dtype == np.float32
    # Input pixels: 1 of 128 is far below the tenth of a box that matters to a detector.
    assert np.abs(boxes - half_boxes).max() < 1.0


def test_bound_buffers_take_new_pictures(session: OnnxSession) -> None:
    plain = onnxruntime.InferenceSession(NETWORK, providers=["CPUExecutionProvider"])
    first, second = pictures(2), pictures(2)[::-1].copy()
    binding = DeviceBinding(plain, {"image": first}, list(session.outputs), "cpu", 0)
    for images in (first, second):
        boxes, scores = binding.run({"image": images})
        expected = session.run(image=images)
        np.testing.assert_allclose(boxes, expected["boxes"], atol=1e-4)
        np.testing.assert_allclose(scores, expected["scores"], atol=1e-6)
