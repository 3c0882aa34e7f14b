from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from flowface_ros.train import blur
from flowface_ros.train.augment import AugmentConfig, augment, developed
from flowface_ros.train.batch import Batch
from flowface_ros.train.jpeg import jpeg_loss

torch.set_num_threads(1)


def picture(size: int = 64) -> torch.Tensor:
    """(3, S, S) in [0, 1]: smooth colours and an edge."""
    axis = torch.linspace(0, 1, size)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    image = torch.stack([x, 0.5 + 0.4 * torch.sin(9 * y), 0.3 + 0.5 * x * y])
    image[:, size // 3 : size // 2, size // 2 :] = torch.tensor([0.8, 0.2, 0.1])[:, None, None]
    return image


def batch(count: int = 24, size: int = 64) -> Batch:
    light = (picture(size) ** 2.2).repeat(count, 1, 1, 1).half()
    place = torch.rand((count, 400, 2), generator=torch.Generator().manual_seed(0)) * size - 0.5
    return Batch(light, place, torch.ones(count, 400, dtype=torch.bool), torch.full((count,), 20.0))


@pytest.mark.parametrize("quality", [15, 50, 90])
def test_jpeg_loses_what_the_codec_loses(quality: int) -> None:
    image = picture()
    ours = jpeg_loss(image[None], torch.tensor([float(quality)]))[0].permute(1, 2, 0).numpy() * 255
    original = np.round(image.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    _, data = cv2.imencode(".jpg", original[..., ::-1], options)
    theirs = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].astype(float)
    lost = np.abs(theirs - original).mean()
    assert np.abs(ours - theirs).mean() < 0.35 * lost + 0.6


def test_jpeg_refuses_other_sizes() -> None:
    with pytest.raises(ValueError, match="multiples of 16"):
        jpeg_loss(torch.zeros(1, 3, 40, 64), torch.tensor([50.0]))


def test_kernels_sum_to_one_and_have_their_width() -> None:
    two = torch.tensor([2.0, 2.0])
    angle = torch.tensor([0.0, np.pi / 2])
    gaussian = blur.gaussian_kernels(two, 0.5 * two, angle)
    axis = torch.arange(-7, 8).float()
    np.testing.assert_allclose(gaussian.sum(dim=(1, 2)), 1, atol=1e-6)
    along_x = (gaussian[0].sum(dim=0) * axis**2).sum().sqrt()
    along_y = (gaussian[1].sum(dim=1) * axis**2).sum().sqrt()
    assert along_x == pytest.approx(2, rel=0.02) and along_y == pytest.approx(2, rel=0.02)
    line = blur.line_kernels(torch.tensor([5.0]), torch.zeros(1))
    np.testing.assert_allclose(line[0, 7, 5:10], 0.2, atol=1e-6)
    assert blur.disc_kernels(torch.tensor([0.0]))[0, 7, 7] == 1
    assert blur.sharpening_kernels(torch.ones(1)).sum() == pytest.approx(1, abs=1e-5)


def test_each_picture_gets_its_own_kernel() -> None:
    images = picture().repeat(2, 1, 1, 1)
    kernels = torch.zeros(2, 15, 15)
    kernels[0, 7, 7] = 1
    kernels[1, 7, 8] = 1  # looks one pixel to the right
    result = blur.filtered(images, kernels)
    torch.testing.assert_close(result[0], images[0])
    torch.testing.assert_close(result[1, :, :, :-1], images[1, :, :, 1:])


def test_same_seed_gives_the_same_pictures() -> None:
    first, again, other = (augment(batch(), seed)[0] for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.min() >= 0 and first.max() <= 1 and first.dtype == torch.float32
    assert first.flatten(1).std(dim=1).min() > 2 / 255  # every picture still shows something


def test_only_covered_points_stop_being_visible() -> None:
    config = AugmentConfig(
        exposure_sigma=0, tint_sigma=0, blur_share=0, sharpen_share=0,
        side_shares=(1, 0, 0, 0, 0, 0), darkest_noise=0,
        jpeg_share=0, grey_share=0, cover_share=0, border_share=1,
    )  # fmt: skip
    before = batch()
    image, after = augment(before, 7, config)
    assert torch.equal(after.position_px, before.position_px)
    column, row = torch.round(before.position_px).long().clamp(0, 63).unbind(dim=2)
    black = (image == 0).all(dim=1)[torch.arange(len(before))[:, None], row, column]
    assert 0.05 < (~after.visible).float().mean() < 0.5
    assert (black == ~after.visible).float().mean() > 0.98


def test_covered_share_follows_the_configuration() -> None:
    none = augment(batch(), 1, AugmentConfig(cover_share=0, border_share=0))[1]
    assert none.visible.all()
    some = augment(batch(), 1, AugmentConfig(cover_share=1, border_share=0))[1]
    assert 0.01 < (~some.visible).float().mean() < 0.6


def test_every_resolution_has_its_share() -> None:
    with pytest.raises(ValueError, match=r"side_shares is \(1.0, 2.0\), must be 6 shares"):
        AugmentConfig(side_shares=(1.0, 2.0))


def test_a_good_camera_keeps_the_picture() -> None:
    expected = picture().clamp(0, 1)
    kept = developed(batch(1))[0]
    assert (kept - expected).abs().mean() < 0.05  # but for the roll-off of highlights
