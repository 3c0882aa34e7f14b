from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from flowface_ros.align.network.fusion import AllScaleFusion  # noqa: E402
from flowface_ros.align.network.light_trunk import (  # noqa: E402
    LANDMARK_NET,
    LandmarkTrunk,
    load_landmark_trunk,
)
from flowface_ros.align.network.mit_encoder import (  # noqa: E402
    MIT_VARIANTS,
    DropPath,
    EfficientSelfAttention,
    MitEncoder,
    MitVariant,
)

PUBLISHED_MILLIONS = {
    "mit_b0": 3.3,
    "mit_b1": 13.2,
    "mit_b2": 24.2,
    "mit_b3": 44.1,
    "mit_b4": 60.8,
    "mit_b5": 81.4,
}
"""Encoder parameters without the classifier, to the published implementation's last digit."""

STAGE_OUTPUTS = ("t313", "t345", "t377", "t408", "t439", "t470")
"""Tensors of the converted landmark net that end the stages at strides 4 to 128."""


def parameters_by_hand(variant: MitVariant) -> int:
    """Weights and biases of every layer in the paper's table 6, written out."""
    count, before = 0, 3
    for stage, width in enumerate(variant.channels):
        kernel = 7 if stage == 0 else 3
        ratio, hidden = variant.reductions[stage], width * variant.expansion
        norm = 2 * width
        attention = 4 * (width * width + width)
        if ratio > 1:
            attention += ratio * ratio * width * width + width + norm
        feed_forward = (width * hidden + hidden) + (9 * hidden + hidden) + (hidden * width + width)
        block = norm + attention + norm + feed_forward
        embedding = kernel * kernel * before * width + width + norm
        count += embedding + variant.depths[stage] * block + norm
        before = width
    return count


@pytest.mark.parametrize("name", MIT_VARIANTS)
def test_mit_parameter_counts(name: str) -> None:
    with torch.device("meta"):
        encoder = MitEncoder(MIT_VARIANTS[name])
    count = sum(parameter.numel() for parameter in encoder.parameters())
    assert count == parameters_by_hand(MIT_VARIANTS[name])
    assert round(count / 1e6, 1) == PUBLISHED_MILLIONS[name]


def test_mit_levels() -> None:
    encoder = MitEncoder(MIT_VARIANTS["mit_b0"]).eval()
    with torch.no_grad():
        levels = encoder(torch.rand(2, 3, 64, 96)).levels
    shapes = [tuple(level.shape) for level in levels]
    assert shapes == [(2, 32, 16, 24), (2, 64, 8, 12), (2, 160, 4, 6), (2, 256, 2, 3)]


def test_attention_against_loops() -> None:
    torch.manual_seed(1)
    attention = EfficientSelfAttention(channels=6, heads=2, reduction=2).double()
    tokens = torch.randn(1, 16, 6, dtype=torch.float64)
    found = attention(tokens, 4, 4)

    grid = tokens[0].T.reshape(1, 6, 4, 4)
    source = attention.norm(attention.reduce(grid).reshape(6, 4).T)
    keys, values = attention.key_value(source).split(6, dim=1)
    queries = attention.query(tokens[0])
    mixed = torch.zeros(16, 6, dtype=torch.float64)
    for head in range(2):
        own = slice(3 * head, 3 * head + 3)
        for token in range(16):
            scores = keys[:, own] @ queries[token, own] / 3**0.5
            mixed[token, own] = torch.softmax(scores, 0) @ values[:, own]
    torch.testing.assert_close(found[0], attention.output(mixed))


def test_drop_path_keeps_the_mean_and_does_nothing_in_evaluation() -> None:
    torch.manual_seed(0)
    drop = DropPath(0.25)
    branch = torch.ones(4000, 1, 1)
    assert abs(float(drop(branch).mean()) - 1.0) < 0.05
    assert drop(branch).unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert torch.equal(drop.eval()(branch), branch)


def test_landmark_trunk_equals_onnx_runtime() -> None:
    import onnxruntime

    model = onnx.load(str(LANDMARK_NET))
    for name in STAGE_OUTPUTS:
        model.graph.output.append(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        )
    session = onnxruntime.InferenceSession(model.SerializeToString())
    noise = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3))
    image = np.kron(noise, np.ones((1, 32, 32, 1), int)).astype(np.uint8)
    points, presence, *levels = session.run(None, {"image": image})

    trunk = load_landmark_trunk(LANDMARK_NET)
    with torch.no_grad():
        encoded = trunk(torch.from_numpy(image).permute(0, 3, 1, 2) / 255.0)
    np.testing.assert_allclose(encoded.landmarks.numpy(), points, atol=1e-3)
    np.testing.assert_allclose(torch.sigmoid(encoded.presence).numpy(), presence, atol=1e-5)
    for ours, theirs in zip(encoded.levels, levels, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, atol=2e-4 * np.abs(theirs).max())


def test_landmark_trunk_refuses_other_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"detector_short_range.onnx"):
        load_landmark_trunk(LANDMARK_NET.with_name("detector_short_range.onnx"))


def test_landmarks_stay_float32_under_autocast() -> None:
    trunk = LandmarkTrunk().eval()
    image = torch.rand(1, 3, 256, 256)
    with torch.no_grad():
        plain = trunk(image).landmarks
        with torch.autocast("cpu", torch.bfloat16):
            half = trunk(image).landmarks
    assert torch.equal(plain, half)


def test_fusion_uses_every_level() -> None:
    torch.manual_seed(0)
    channels = (8, 12, 16, 20)
    fusion = AllScaleFusion(channels, 10, 14)
    levels = [
        torch.randn(2, count, 16 >> index, 16 >> index, requires_grad=True)
        for index, count in enumerate(channels)
    ]
    features = fusion(levels)
    assert features.fine.shape == (2, 10, 16, 16)
    assert features.coarse.shape == (2, 14, 4, 4)
    features.fine.square().sum().backward()
    assert all(float(level.grad.abs().max()) > 0 for level in levels)
