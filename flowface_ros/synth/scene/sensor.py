"""From light to pixels: what a camera's sensor and image processor do to a rendered image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

_CODES = 4095
"""The sensor's analogue-to-digital converter has 12 bits."""
_SHOULDER = 0.8
"""Encoded brightness above which highlights are compressed instead of clipped."""
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""Of linear sRGB primaries."""
_GREY, _EXPOSURE_RANGE = 0.2, (0.5, 4.0)
"""Brightness that automatic exposure aims at, and how far it goes."""


@dataclass(frozen=True)
class Sensor:
    """One camera's image formation.

    exposure: factor on the linear image, shutter and gain together; 1 = as rendered.
    shutter_s: how long the shutter is open; the image's stamp is the middle of that time.
    white_balance: factors on linear red, green, blue.
    vignetting: loss of light in the corners, in [0, 1).
    defocus_px: standard deviation of the blur.
    electrons: photo-electrons of a white pixel at this gain; shot noise is their square root.
    read_noise: standard deviation in the dark, share of white.
    saturation: 1 = as rendered, 0 = grey.
    """

    exposure: float = 1.0
    shutter_s: float = 0.0
    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    vignetting: float = 0.0
    defocus_px: float = 0.0
    electrons: float = 1e9
    read_noise: float = 0.0
    saturation: float = 1.0

    def develop(self, linear: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
        """An image (H, W, 3) uint8 RGB, sRGB-encoded, of linear light (H, W, 3) float32."""
        light = np.asarray(linear, np.float32)
        if self.defocus_px > 0:
            light = cv2.GaussianBlur(light, (0, 0), self.defocus_px)
        light = light * (np.array(self.white_balance, np.float32) * np.float32(self.exposure))
        if self.vignetting > 0:
            light *= _vignette(*light.shape[:2], self.vignetting)[..., None]
        variance = np.maximum(light, 0) / np.float32(self.electrons)
        variance += np.float32(self.read_noise**2)
        light += np.sqrt(variance) * rng.standard_normal(light.shape, np.float32)
        if self.saturation != 1.0:
            grey = (light @ _LUMINANCE)[..., None]
            light -= grey
            light *= np.float32(self.saturation)
            light += grey
        codes = np.clip(light * _CODES, 0, _TABLE_SIZE - 1)
        return _encoding_table()[codes.astype(np.uint16)]


_TABLE_SIZE = 4 * (_CODES + 1)
"""Light up to four times white is told apart, so that highlights roll off."""


@lru_cache(maxsize=1)
def _encoding_table() -> NDArray[np.uint8]:
    """sRGB values (uint8) of linear codes, with a soft shoulder."""
    linear = np.arange(_TABLE_SIZE) / _CODES
    encoded = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055
    )
    room = 1.0 - _SHOULDER
    over = np.maximum(encoded - _SHOULDER, 0.0)
    encoded = np.minimum(encoded, _SHOULDER) + room * np.tanh(over / (1.6 * room))
    return np.round(255 * np.clip(encoded, 0.0, 1.0)).astype(np.uint8)


@lru_cache(maxsize=16)
def _vignette(height: int, width: int, loss: float) -> NDArray[np.float32]:
    """Share of light (H, W) that arrives, falling with the fourth power of the field angle."""
    y, x = np.mgrid[0:height, 0:width]
    radius2 = (x - (width - 1) / 2) ** 2 + (y - (height - 1) / 2) ** 2
    radius2 = radius2 / (((width - 1) / 2) ** 2 + ((height - 1) / 2) ** 2)
    spread = 1.0 / np.sqrt(1.0 - loss) - 1.0
    return ((1.0 + spread * radius2) ** -2).astype(np.float32)


def automatic_exposure(linear: NDArray[np.float32]) -> float:
    """The exposure that a camera chooses for a linear image (H, W, 3), by its middle.

    As real ones do, it makes up for most of the difference from grey, not for all of it.
    """
    height, width = linear.shape[:2]
    middle = linear[height // 4 : height - height // 4, width // 4 : width - width // 4]
    brightness = float((middle @ _LUMINANCE).mean())
    return float(np.clip((_GREY / max(brightness, 1e-3)) ** 0.7, *_EXPOSURE_RANGE))


def sample_sensor(rng: np.random.Generator, width: int) -> Sensor:
    """A random camera of a given image width (px): ordinary webcams and machine-vision cameras."""
    red, green, blue = (float(v) for v in np.exp(rng.normal(0.0, 0.05, 3)))
    return Sensor(
        exposure=float(np.exp(rng.normal(0.0, 0.15))),
        shutter_s=rng.uniform(0.002, 0.012),
        white_balance=(red, green, blue),
        vignetting=rng.uniform(0.0, 0.35),
        defocus_px=rng.uniform(0.2, 0.7) * width / 640,
        electrons=float(np.exp(rng.uniform(np.log(1500.0), np.log(12000.0)))),
        read_noise=rng.uniform(0.001, 0.006),
        saturation=rng.uniform(0.85, 1.1),
    )


def jittered_stamps_ns(
    rng: np.random.Generator, count: int, fps: float, jitter_s: float, start_ns: int
) -> NDArray[np.int64]:
    """Stamps (count,) of a camera's images: one every 1 / fps, each off by up to `jitter_s`.

    Raises ValueError when the jitter could swap two images.
    """
    if not 0 <= jitter_s < 0.5 / fps:
        raise ValueError(
            f"stamp jitter: {jitter_s * 1e3:g} ms is not in 0..{500 / fps:g} ms,"
            f" half the time between images at {fps:g} fps"
        )
    offsets = rng.uniform(-jitter_s, jitter_s, count)
    seconds = jitter_s + np.arange(count) / fps + offsets
    return start_ns + np.round(seconds * 1e9).astype(np.int64)
