from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch.nn import functional  # noqa: E402

from flowface_ros.align.network.correlation import (  # noqa: E402
    CorrelationLookup,
    cell_from_pixel,
)

SIDE = 16


def slow_lookup(uv_features, image_features, position_px, levels, radius):  # type: ignore[no-untyped-def]
    """The volume of each level by hand, sampled bilinearly with zeros beyond the crop."""
    texels, channels = uv_features.shape
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    samples = []
    for level in range(levels):
        side = SIDE >> level
        volume = torch.einsum("pc,bchw->bphw", uv_features, image_features) / channels**0.5
        volume = functional.avg_pool2d(volume, 2**level)
        cell = cell_from_pixel(position_px, 4 * 2**level)
        x = cell[..., 0, None, None] + offsets[None, :]
        y = cell[..., 1, None, None] + offsets[:, None]
        x, y = torch.broadcast_tensors(x, y)
        grid = (torch.stack([x, y], -1) + 0.5) * 2 / side - 1
        for_sampler = grid.reshape(-1, 2 * radius + 1, 2 * radius + 1, 2)
        sampled = functional.grid_sample(
            volume.reshape(-1, 1, side, side), for_sampler, align_corners=False
        )
        samples.append(sampled.reshape(len(image_features), texels, -1))
    return torch.cat(samples, dim=2).transpose(1, 2)


@pytest.mark.parametrize("kind", ["volume", "on_the_fly"])
@given(seed=st.integers(0, 1000), spread=st.floats(1.0, 400.0))
@settings(max_examples=15, deadline=None)
def test_lookup_against_bilinear_sampler(kind: str, seed: int, spread: float) -> None:
    random = torch.Generator().manual_seed(seed)
    uv = torch.randn(5, 6, generator=random, dtype=torch.float64)
    image = torch.randn(2, 6, SIDE, SIDE, generator=random, dtype=torch.float64)
    position = 32 + spread * torch.randn(2, 5, 2, generator=random, dtype=torch.float64)
    lookup = CorrelationLookup(kind, levels=3, radius=2)  # type: ignore[arg-type]
    found = lookup(lookup.prepare(uv, image), uv, position, SIDE)
    torch.testing.assert_close(found, slow_lookup(uv, image, position, 3, 2))


@pytest.mark.parametrize("kind", ["volume", "on_the_fly"])
def test_peak_is_read_where_it_is(kind: str) -> None:
    """One bright cell at row 5, column 9: its centre is the pixel (4 * 9 + 1.5, 4 * 5 + 1.5)."""
    image = torch.zeros(1, 1, SIDE, SIDE)
    image[0, 0, 5, 9] = 1.0
    uv = torch.ones(1, 1)
    lookup = CorrelationLookup(kind, levels=1, radius=1)  # type: ignore[arg-type]
    volume = lookup.prepare(uv, image)
    centred = lookup(volume, uv, torch.tensor([[[37.5, 21.5]]]), SIDE).reshape(3, 3)
    assert centred.tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    right_of_it = lookup(volume, uv, torch.tensor([[[40.5, 21.5]]]), SIDE).reshape(3, 3)
    torch.testing.assert_close(right_of_it[1], torch.tensor([0.75, 0.25, 0.0]))


def test_positions_far_outside_read_zero() -> None:
    uv, image = torch.ones(3, 2), torch.ones(1, 2, SIDE, SIDE)
    lookup = CorrelationLookup("volume", levels=2, radius=3)
    far = torch.tensor([[[1e9, 5.0], [-1e9, 1e9], [5.0, -300.0]]])
    assert float(lookup(lookup.prepare(uv, image), uv, far, SIDE).abs().max()) == 0.0


@pytest.mark.parametrize("kind", ["volume", "on_the_fly"])
def test_gradients_against_finite_differences(kind: str) -> None:
    torch.manual_seed(2)
    uv = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    image = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    position = (torch.rand(1, 3, 2, dtype=torch.float64) * 16).requires_grad_()
    lookup = CorrelationLookup(kind, levels=2, radius=1)  # type: ignore[arg-type]

    def run(uv, image, position):  # type: ignore[no-untyped-def]
        return lookup(lookup.prepare(uv, image), uv, position, 4)

    assert torch.autograd.gradcheck(run, (uv, image, position))
