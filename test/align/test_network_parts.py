"""UV encoding, heat map, gate and upsampling of the flow network."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from flowface_ros.align.network.heatmap import HEATMAP_STRIDE, Heatmap, HeatmapGate  # noqa: E402
from flowface_ros.align.network.upsample import ConvexUpsample, bilinear_weights  # noqa: E402
from flowface_ros.align.network.uv_encoding import (  # noqa: E402
    BakedUvEncoding,
    UvEncoding,
    uv_template,
)


def test_uv_encoding_shapes_and_rows() -> None:
    torch.manual_seed(0)
    encoding = UvEncoding(16, 3, 8, uv_template(16, 5, 7, 6, 4))
    uv = encoding()
    assert [tuple(value.shape) for value in uv] == [
        (256, 5),
        (256, 7),
        (1, 6, 16, 16),
        (1, 4, 16, 16),
    ]
    assert float(uv.hidden.abs().max()) <= 1.0
    for ours, baked in zip(uv, BakedUvEncoding(uv)(), strict=True):
        assert torch.equal(ours, baked)
    assert not list(BakedUvEncoding(uv).parameters())


def test_every_texture_level_is_used() -> None:
    encoding = UvEncoding(16, 3, 8, uv_template(16, 5, 0, 6, 4))
    uv = encoding()
    (uv.features.square().sum() + uv.hidden.sum()).backward()
    assert [tuple(t.shape[-2:]) for t in encoding.textures] == [(16, 16), (8, 8), (4, 4), (2, 2)]
    assert all(float(texture.grad.abs().max()) > 0 for texture in encoding.textures)


def one_cell_heatmap(row: int, column: int, strength: float):  # type: ignore[no-untyped-def]
    heatmap = Heatmap(coarse_channels=1, channels=1, crop_px=256)
    torch.nn.init.ones_(heatmap.project.weight)
    torch.nn.init.zeros_(heatmap.project.bias)
    coarse = torch.zeros(1, 1, 16, 16)
    coarse[0, 0, row, column] = strength
    with torch.no_grad():
        return heatmap(coarse, torch.ones(1, 1))


def test_heatmap_peak_is_the_cells_centre() -> None:
    result = one_cell_heatmap(3, 10, strength=200.0)
    expected = torch.tensor([10 * HEATMAP_STRIDE + 7.5, 3 * HEATMAP_STRIDE + 7.5])
    torch.testing.assert_close(result.position_px[0, 0], expected)
    assert float(result.log_spread) == pytest.approx(0.0, abs=1e-3)


def test_flat_heatmap_is_the_crops_centre_and_wide() -> None:
    result = one_cell_heatmap(0, 0, strength=0.0)
    torch.testing.assert_close(result.position_px[0, 0], torch.tensor([127.5, 127.5]))
    # Uniform over n cells a side: variance (n * n - 1) / 12 per axis, in cells.
    variance_cells = 2 * (16**2 - 1) / 12
    expected = 0.5 * torch.log1p(torch.tensor(variance_cells))
    torch.testing.assert_close(result.log_spread[0, 0, 0], expected, rtol=1e-4, atol=0)


def test_gate_starts_closed_but_can_learn() -> None:
    torch.manual_seed(0)
    gate = HeatmapGate(context_channels=6)
    first, residual = torch.rand(2, 16, 2) * 256, torch.randn(2, 16, 2) * 30
    clues, context = torch.randn(2, 3, 4, 4), torch.randn(1, 6, 4, 4)
    moved = gate(first, residual, clues, context)
    assert torch.equal(moved, first)
    moved.square().sum().backward()
    assert all(float(parameter.grad.abs().max()) > 0 for parameter in gate.parameters())


def test_upsampling_starts_as_bilinear_interpolation() -> None:
    torch.manual_seed(0)
    upsample = ConvexUpsample(hidden_channels=5, factor=4)
    values = torch.randn(2, 3, 8, 8)
    fine = upsample(values, torch.randn(2, 5, 8, 8))
    expected = functional.interpolate(values, scale_factor=4, mode="bilinear", align_corners=False)
    assert float((fine - expected).detach().abs().max()) < 0.02 * float(values.abs().max())


def test_upsampling_is_convex_up_to_the_border() -> None:
    torch.manual_seed(0)
    upsample = ConvexUpsample(hidden_channels=5, factor=2)
    torch.nn.init.normal_(upsample.weights.weight)
    constant = torch.full((1, 2, 6, 6), 200.0)
    torch.testing.assert_close(
        upsample(constant, torch.randn(1, 5, 6, 6)), constant.new_full((1, 2, 12, 12), 200.0)
    )


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_bilinear_weights_sum_to_one(factor: int) -> None:
    total = bilinear_weights(factor).sum(dim=0)
    torch.testing.assert_close(total, torch.ones(factor, factor), atol=0.01, rtol=0)
