"""Procedural noise and strokes that skin, cloth and backgrounds are painted with."""

from __future__ import annotations

import cv2
import numba
import numpy as np
from numpy.typing import NDArray


def fractal_noise(
    rng: np.random.Generator, size: int, coarsest: int, finest: int, falloff: float = 1.0
) -> NDArray[np.float32]:
    """Noise (size, size) float32 with mean 0 and standard deviation 1.

    coarsest, finest: cells across the picture of the first and last octave.
    falloff: an octave with k cells has amplitude k ** -falloff.
    """
    noise = np.zeros((size, size), np.float32)
    cells = coarsest
    while cells <= finest:
        grid = rng.standard_normal((min(cells, size) + 2,) * 2, np.float32)
        enlarged = cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
        noise += enlarged * np.float32(cells**-falloff)
        cells *= 2
    noise -= noise.mean()
    return noise / (noise.std() + np.float32(1e-6))


def smoothstep(
    values: NDArray[np.floating], low: float | NDArray, high: float | NDArray
) -> NDArray[np.float32]:
    """0 below low, 1 above high (or reversed when high < low), smooth between."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)


_REMAP_WIDTH = 1024
"""cv2.remap takes no picture of 32767 rows or more, so lists of places are folded."""


def look_up(
    picture: NDArray[np.float32], column: NDArray[np.floating], row: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Bilinear values (n,) of a picture (H, W) at places (n,), clamped to its border."""
    count = len(column)
    padded = -(-max(count, 1) // _REMAP_WIDTH) * _REMAP_WIDTH
    place = np.zeros((padded, 2), np.float32)
    place[:count, 0], place[:count, 1] = column, row
    folded = place.reshape(-1, _REMAP_WIDTH, 2)
    values = cv2.remap(picture, folded, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return values.reshape(-1)[:count]


def linear_from_srgb(srgb: NDArray) -> NDArray[np.float32]:
    """Linear light in [0, 1] of sRGB values in [0, 1]."""
    value = np.asarray(srgb, np.float32)
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(
        np.float32
    )


def pack_texture(
    color: NDArray[np.floating], height: NDArray[np.floating], gloss: NDArray[np.floating]
) -> NDArray[np.uint8]:
    """A texture (H, W, 5) as `materials.TEXTURE_CHANNELS` has it.

    color: (H, W, 3) linear light. height, gloss: (H, W) in [0, 1].
    """
    packed = np.empty((*height.shape, 5), np.uint8)
    packed[..., :3] = np.sqrt(np.clip(color, 0, 1)) * 255 + 0.5
    packed[..., 3] = np.clip(height, 0, 1) * 255 + 0.5
    packed[..., 4] = np.clip(gloss, 0, 1) * 255 + 0.5
    return packed


_SRGB_STEPS = 4096


def _srgb_table() -> NDArray[np.uint8]:
    linear = (np.arange(_SRGB_STEPS + 1) / _SRGB_STEPS) ** 2
    srgb = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(srgb * 255).astype(np.uint8)


_SRGB = _srgb_table()


def srgb_from_linear(linear: NDArray[np.floating]) -> NDArray[np.uint8]:
    """8-bit sRGB of linear light; values beyond [0, 1] are clipped."""
    flat = np.ascontiguousarray(linear, np.float32)
    out = np.empty(flat.shape, np.uint8)
    _look_up_srgb(flat.reshape(-1), _SRGB, out.reshape(-1))
    return out


@numba.njit(nogil=True, cache=True)
def _look_up_srgb(linear, table, out):  # type: ignore[no-untyped-def]
    # The table is spaced in sqrt(linear), so that dark tones are not quantised.
    for i in range(len(linear)):
        value = min(max(linear[i], np.float32(0)), np.float32(1))
        out[i] = table[int(np.sqrt(value) * (len(table) - 1) + np.float32(0.5))]


@numba.njit(nogil=True, cache=True)
def draw_hairs(coverage, tone, start, direction, bend, length, opacity, shade):  # type: ignore[no-untyped-def]
    """Draw hairs, one texel wide, anti-aliased and tapering to the tip.

    coverage, tone: (H, W) float32, opacity in [0, 1] and the hair's own lightness; drawn into.
    start, direction: (n, 2) float32 texels and unit vectors; bend: (n,) radians over the length;
    length: (n,) texels; opacity, shade: (n,).
    """
    height, width = coverage.shape
    for i in range(len(start)):
        steps = int(length[i] * 1.5) + 2
        for k in range(steps):
            s = k / (steps - 1)
            angle = bend[i] * s
            cosine, sine = np.cos(angle), np.sin(angle)
            dx = direction[i, 0] * cosine - direction[i, 1] * sine
            dy = direction[i, 0] * sine + direction[i, 1] * cosine
            x, y = start[i, 0] + dx * length[i] * s, start[i, 1] + dy * length[i] * s
            ix, iy = int(np.floor(x)), int(np.floor(y))
            if ix < 0 or iy < 0 or ix >= width - 1 or iy >= height - 1:
                continue
            ax, ay = x - ix, y - iy
            strength = opacity[i] * (1 - 0.7 * s * s)
            for j in range(4):
                cx, cy = ix + (j & 1), iy + (j >> 1)
                weight = (ax if j & 1 else 1 - ax) * (ay if j >> 1 else 1 - ay) * strength
                if weight > 0.02:
                    old = coverage[cy, cx]
                    new = old + (1 - old) * weight
                    tone[cy, cx] += (shade[i] - tone[cy, cx]) * weight / new
                    coverage[cy, cx] = new
