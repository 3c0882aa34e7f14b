from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from flowface_ros.align.crop import make_crop  # noqa: E402
from flowface_ros.train.batch import Batch  # noqa: E402
from flowface_ros.train.picture_warp import relit, remade, sample_warp  # noqa: E402


@given(st.integers(0, 2**32 - 1))
def test_there_and_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    middle, side = rng.uniform(0, 500, 2), rng.uniform(50, 400)
    warp = sample_warp(rng, middle, side)
    old = middle + side * rng.uniform(-0.6, 0.6, (200, 2))
    np.testing.assert_allclose(warp.to_old(warp.to_new(old)), old, atol=0.02 * side / 100)
    moved = np.linalg.norm(warp.to_new(old) - old, axis=1) / side
    assert moved.max() < 0.5
    assert np.isnan(warp.to_new(np.full((1, 2), np.nan))).all()


def test_a_bent_picture_shows_its_spots_at_their_new_places() -> None:
    rng = np.random.default_rng(4)
    image = np.zeros((300, 300, 3), np.uint8)
    spots = np.array([[120.0, 110.0], [180.0, 150.0], [140.0, 200.0]])
    y, x = np.mgrid[:300, :300]
    for spot in spots:
        near = np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / 18)
        image[...] = np.maximum(image, (255 * near[..., None]).astype(np.uint8))
    warp = sample_warp(rng, np.full(2, 150.0), 200.0)
    crop = make_crop((155.0, 148.0), 240.0, 0.3, 256)
    cut = warp.cut(image, crop)
    assert np.abs(warp.to_new(spots) - spots).max() > 1
    for place in crop.to_crop(warp.to_new(spots)):
        column, row = np.round(place).astype(int)
        around = cut[row - 6 : row + 7, column - 6 : column + 7, 0].astype(float)
        v, u = np.mgrid[-6:7, -6:7]
        centre = np.array([(u * around).sum(), (v * around).sum()]) / around.sum()
        np.testing.assert_allclose(centre + np.array([column, row]), place, atol=0.6)


def test_light_stays_within_what_a_camera_takes() -> None:
    rng = np.random.default_rng(0)
    light = rng.uniform(0, 1, (32, 32, 3)).astype(np.float32)
    found = [relit(light, np.random.default_rng(seed)) for seed in range(40)]
    assert all(np.isfinite(each).all() and each.min() >= 0 and each.max() <= 4 for each in found)
    greys = [np.ptp(each, axis=2).max() < 1e-6 for each in found]
    assert 0 < sum(greys) < 20
    left = [np.array_equal(each, light) for each in found]
    assert 0 < sum(left) < 15
    colours = zip(found, greys, left, strict=True)
    changed = [each.tobytes() for each, grey, same in colours if not grey and not same]
    assert len(set(changed)) == len(changed)


def test_remade_pictures_show_their_points_at_their_new_places() -> None:
    size, spots = 128, np.array([[40.0, 50.0], [80.0, 70.0], [60.0, 95.0], [2.0, 64.0]])
    y, x = np.mgrid[:size, :size]
    far = [(x - u) ** 2 + (y - v) ** 2 for u, v in spots]
    light = np.exp(-np.min(far, axis=0) / 12).astype(np.float32)
    count = 12
    batch = Batch(
        torch.from_numpy(np.broadcast_to(light, (count, 3, size, size)).copy()),
        torch.from_numpy(np.tile(spots, (count, 1, 1)).astype(np.float32)),
        torch.tensor([True, True, False, True]).repeat(count, 1),
        torch.full((count,), 50.0),
    )
    found = remade(batch, np.random.default_rng(3))
    assert np.abs(found.position_px.numpy() - spots).max() > 2
    assert not found.visible[:, 2].any() and found.visible[:, :2].all()
    inside = ((found.position_px[:, 3] > -0.5) & (found.position_px[:, 3] < size - 0.5)).all(dim=1)
    assert torch.equal(found.visible[:, 3], inside) and not inside.all()
    for picture, places in zip(found.light.numpy(), found.position_px.numpy(), strict=True):
        for u, v in np.round(places[:3]).astype(int):
            around = picture[0, v - 8 : v + 9, u - 8 : u + 9]
            row, column = np.unravel_index(around.argmax(), around.shape)
            assert max(abs(row - 8), abs(column - 8)) <= 1
