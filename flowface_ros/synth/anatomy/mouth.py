"""Teeth: one painted tooth, repeated along the dental arch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flowface_ros.synth.textures import fractal_noise, pack_texture, smoothstep

TOOTH_WIDTH_M = 0.0078
"""Mean width of the front teeth."""

_TOOTH_TEXTURE_SIZE = 32
_ENAMEL = np.array([0.74, 0.66, 0.53])


def paint_tooth(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Texture (S, S, 5) of a tooth, which repeats sideways."""
    size = _TOOTH_TEXTURE_SIZE
    x = np.abs((np.arange(size) + 0.5) / size * 2 - 1)
    gap = smoothstep(x, 0.80, 0.98)[None, :, None]
    stain = rng.uniform(0, 0.5) * np.array([0.25, 0.4, 0.7])
    enamel = _ENAMEL * np.exp(-stain) * rng.uniform(0.8, 1.1)
    color = enamel * (1 - 0.72 * gap) * np.ones((size, size, 1))
    color = color * (1 + 0.04 * fractal_noise(rng, size, 2, 16)[..., None])
    height = np.broadcast_to(0.5 * (1 - gap[..., 0]), (size, size))
    return pack_texture(color, height, np.ones((size, size)))


def tooth_places(teeth: NDArray[np.floating]) -> NDArray[np.float64]:
    """Texture places (n, 2) of vertices (n, 3) of an arch around its middle, open to the back."""
    middle = (teeth.min(axis=0) + teeth.max(axis=0)) / 2
    offset = teeth - middle
    angle = np.arctan2(offset[:, 0], offset[:, 2] + 0.012)
    radius = np.abs(offset[:, 0]).max()
    along = 1.15 * radius * angle / TOOTH_WIDTH_M
    return np.stack([along + 0.5, offset[:, 1] / 0.02], axis=1)
