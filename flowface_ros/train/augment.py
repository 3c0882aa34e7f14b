"""From linear light to what a bad camera would have sent, for whole batches on any device.

In a camera's order: exposure and colour, blur, resolution, noise, tone curve, JPEG. Then parts are
covered by pieces of other pictures, and cut off as at a picture's border. Positions never move;
what is covered stops being visible.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from flowface_ros.train import blur
from flowface_ros.train.batch import Batch
from flowface_ros.train.jpeg import jpeg_loss

_SIDES = (1.0, 0.75, 0.5, 0.375, 0.25, 0.1875)
"""Resolutions at which a picture may have been taken, over the crop's."""
_LUMINANCE = (0.2126, 0.7152, 0.0722)
_MIDDLE_GREY, _EXPOSURE_RANGE = 0.2, (0.5, 4.0)


@dataclass(frozen=True)
class AugmentConfig:
    """Shares are probabilities; ranges are uniform unless said."""

    exposure_sigma: float = 0.35
    """Of log exposure."""
    tint_sigma: float = 0.08
    """Of log of each channel: wrong white balance."""
    blur_share: float = 0.45
    sharpen_share: float = 0.15
    side_shares: tuple[float, ...] = (0.50, 0.12, 0.16, 0.09, 0.08, 0.05)
    """Of each resolution in `_SIDES`."""
    darkest_noise: float = 0.03
    """Highest standard deviation of noise in the dark."""
    jpeg_share: float = 0.55
    grey_share: float = 0.12
    cover_share: float = 0.30
    """Of pictures with a patch of another picture over them."""
    border_share: float = 0.10
    """Of pictures with a side cut off."""

    def __post_init__(self) -> None:
        if len(self.side_shares) != len(_SIDES):
            raise ValueError(f"side_shares is {self.side_shares}, must be {len(_SIDES)} shares")


class Random:
    """Uniform and normal numbers of a batch from one generator."""

    def __init__(self, seed: int, device: torch.device, count: int) -> None:
        self.generator = torch.Generator(device).manual_seed(seed)
        self.device, self.count = device, count

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        numbers = torch.rand((self.count, *shape), generator=self.generator, device=self.device)
        return low + (high - low) * numbers

    def normal(self, sigma: float, *shape: int) -> Tensor:
        return sigma * torch.randn(
            (self.count, *shape), generator=self.generator, device=self.device
        )

    def chance(self, share: float) -> Tensor:
        """(B,) bool."""
        return self.uniform(0.0, 1.0) < share

    def noise(self, like: Tensor) -> Tensor:
        return torch.randn(
            like.shape, generator=self.generator, device=like.device, dtype=like.dtype
        )


def augment(batch: Batch, seed: int, config: AugmentConfig | None = None) -> tuple[Tensor, Batch]:
    """Pictures (B, 3, S, S) float32 in [0, 1], sRGB, and the batch with what is still visible.

    The same seed gives the same pictures on the same kind of device.
    """
    config = config or AugmentConfig()
    light = batch.light.float()
    random = Random(seed, light.device, len(batch))
    light = _exposed(light) * torch.exp(random.normal(config.exposure_sigma, 1, 1, 1))
    light = light * torch.exp(random.normal(config.tint_sigma, 3, 1, 1))
    light = _blurred(light, random, config)
    image = _photographed(light, random, config)
    image = _graded(image, random, config)
    image, visible = _covered(image, batch, random, config)
    image, visible = _cut_off(image, batch, visible, random, config)
    return torch.round(image.clamp(0, 1) * 255) / 255, replace(batch, visible=visible)


def developed(batch: Batch) -> Tensor:
    """Pictures (B, 3, S, S) in [0, 1] of a good camera, for validation."""
    return torch.round(_encoded(batch.light.float()).clamp(0, 1) * 255) / 255


def _exposed(light: Tensor) -> Tensor:
    """Half way, in logarithms, to the mean brightness that automatic exposure aims at."""
    mean = light.mean(dim=(1, 2, 3), keepdim=True).clamp(min=1e-3)
    return light * torch.sqrt(_MIDDLE_GREY / mean).clamp(*_EXPOSURE_RANGE)


def _encoded(linear: Tensor) -> Tensor:
    """sRGB of linear light, highlights rolled off above 0.8."""
    low = linear.clamp(min=0)
    srgb = torch.where(
        low <= 0.0031308, 12.92 * low, 1.055 * low.clamp(min=1e-6) ** (1 / 2.4) - 0.055
    )
    over = (srgb - 0.8).clamp(min=0)
    return srgb.clamp(max=0.8) + 0.2 * torch.tanh(over / 0.32)


def _blurred(light: Tensor, random: Random, config: AugmentConfig) -> Tensor:
    """One of: defocus, motion, soft lens, oversharp; or nothing."""
    size = random.uniform(0.0, 1.0) ** 2
    angle = random.uniform(0.0, blur.FULL_TURN)
    kind = random.uniform(0.0, 3.0).long().reshape(-1, 1, 1)
    kernels = torch.where(
        kind == 0,
        blur.disc_kernels(5.0 * size),
        torch.where(
            kind == 1,
            blur.line_kernels(12.0 * size, angle),
            blur.gaussian_kernels(3.0 * size, 3.0 * size * random.uniform(0.3, 1.0), angle),
        ),
    )
    sharp = blur.sharpening_kernels(random.uniform(0.0, 1.2))
    draw = random.uniform(0.0, 1.0).reshape(-1, 1, 1)
    kernels = torch.where(draw < config.blur_share, kernels, sharp)
    chosen = torch.nonzero(draw.flatten() < config.blur_share + config.sharpen_share).flatten()
    if not len(chosen):
        return light
    result = light.clone()
    result[chosen] = blur.filtered(light[chosen], kernels[chosen]).clamp(min=0)
    return result


def _photographed(light: Tensor, random: Random, config: AugmentConfig) -> Tensor:
    """Sampled at some resolution, with its noise and JPEG, and enlarged again."""
    size = light.shape[-1]
    edges = torch.tensor(config.side_shares, device=light.device).cumsum(0)
    level = torch.searchsorted(edges / edges[-1], random.uniform(0.0, 0.9999))
    dark = config.darkest_noise * random.uniform(0.0, 1.0) ** 3
    shot = 0.05 * random.uniform(0.0, 1.0) ** 3
    quality = torch.where(random.chance(config.jpeg_share), random.uniform(12.0, 95.0), 100.0)
    result = torch.empty_like(light)
    for k, share in enumerate(_SIDES):
        rows = torch.nonzero(level == k).flatten()
        if not len(rows):
            continue
        side = 16 * max(1, round(size * share / 16))
        part = light[rows]
        if side != size:
            part = functional.interpolate(part, (side, side), mode="area")
        sigma = torch.sqrt(
            dark[rows].reshape(-1, 1, 1, 1) ** 2 + shot[rows].reshape(-1, 1, 1, 1) ** 2 * part
        )
        part = _encoded(part + sigma * random.noise(part))
        part = jpeg_loss(part, quality[rows])
        if side != size:
            part = functional.interpolate(part, (size, size), mode="bilinear")
        result[rows] = part
    return result


def _graded(image: Tensor, random: Random, config: AugmentConfig) -> Tensor:
    """Gamma, contrast, saturation, and black and white."""
    gamma = torch.exp(random.normal(0.15, 1, 1, 1))
    image = image.clamp(min=1e-4) ** gamma
    mean = image.mean(dim=(1, 2, 3), keepdim=True)
    image = mean + (image - mean) * torch.exp(random.normal(0.15, 1, 1, 1))
    weights = torch.tensor(_LUMINANCE, device=image.device).reshape(1, 3, 1, 1)
    grey = (image * weights).sum(dim=1, keepdim=True)
    saturation = torch.exp(random.normal(0.25)) * (~random.chance(config.grey_share)).float()
    return grey + (image - grey) * saturation.reshape(-1, 1, 1, 1)


def _covered(
    image: Tensor, batch: Batch, random: Random, config: AugmentConfig
) -> tuple[Tensor, Tensor]:
    """A box or an ellipse shows a piece of another picture of the batch."""
    size = image.shape[-1]
    centre = random.uniform(0.1, 0.9, 2) * size
    half = torch.exp(random.uniform(-3.2, -1.3, 2)) * size
    angle = random.uniform(0.0, blur.FULL_TURN)
    box = random.chance(0.5)
    chosen = random.chance(config.cover_share)
    axis = torch.arange(size, device=image.device, dtype=torch.float32)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    places = torch.stack([x, y], dim=-1).reshape(1, -1, 2)

    def within(points: Tensor) -> Tensor:
        offset = points - centre[:, None]
        cosine, sine = torch.cos(angle)[:, None], torch.sin(angle)[:, None]
        u = (offset[..., 0] * cosine + offset[..., 1] * sine) / half[:, :1]
        v = (offset[..., 1] * cosine - offset[..., 0] * sine) / half[:, 1:]
        square = torch.maximum(u.abs(), v.abs()) < 1
        return torch.where(box[:, None], square, u**2 + v**2 < 1) & chosen[:, None]

    mask = within(places).reshape(-1, 1, size, size)
    other = image.roll(1, dims=0).roll((size // 3, size // 4), dims=(2, 3))
    return torch.where(mask, other, image), batch.visible & ~within(batch.position_px)


def _cut_off(
    image: Tensor, batch: Batch, visible: Tensor, random: Random, config: AugmentConfig
) -> tuple[Tensor, Tensor]:
    """Black beyond one side, as where a crop reaches over its picture's border."""
    size = image.shape[-1]
    side = random.uniform(0.0, 4.0).long()
    depth = random.uniform(0.0, 0.4) * size * random.chance(config.border_share).float()
    axis = torch.arange(size, device=image.device, dtype=torch.float32)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    places = torch.stack([x, y], dim=-1).reshape(1, -1, 2)

    def beyond(points: Tensor) -> Tensor:
        along = torch.where((side % 2 == 0)[:, None], points[..., 0], points[..., 1])
        from_side = torch.where((side < 2)[:, None], along + 0.5, size - 0.5 - along)
        return from_side < depth[:, None]

    mask = beyond(places).reshape(-1, 1, size, size)
    return torch.where(mask, 0.0, image), visible & ~beyond(batch.position_px)
