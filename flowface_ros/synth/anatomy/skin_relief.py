"""Height of skin: pores, fine lines, wrinkles, lip lines."""

from __future__ import annotations

import numpy as np

from flowface_ros.synth.anatomy.skin_look import SkinLook
from flowface_ros.synth.anatomy.skin_map import Map, SkinMap, beside
from flowface_ros.synth.textures import fractal_noise, smoothstep

MIDDLE_HEIGHT = 0.5
"""Texture height of flat skin."""


def relief(m: SkinMap, look: SkinLook, rng: np.random.Generator) -> Map:
    """Height in [0, 1] around MIDDLE_HEIGHT: pores, fine lines, wrinkles, lip lines."""
    size, p = m.size, m.points
    grain = fractal_noise(rng, size, size // 8, size // 2, 0.3)
    pores = np.minimum(fractal_noise(rng, size, size // 4, size // 2, 0.0), 0)
    coarse_skin = 0.4 + 1.2 * (
        m.spot(p.nose_tip, 0.02) + m.spot(beside(p.eye, 0.005, -0.03, 0), 0.02)
    )
    height = MIDDLE_HEIGHT + (0.02 + 0.03 * look.age) * (grain + 1.2 * pores * coarse_skin)
    height = height.astype(np.float32)
    wrinkles = np.clip(look.age * 1.3 - 0.25, 0, 1)
    if wrinkles > 0:
        height -= wrinkles * _wrinkles(m, rng)
    lines = fractal_noise(rng, size, 64, 256, 0.2)
    height += 0.06 * m.lips * lines
    return height


def _wrinkles(m: SkinMap, rng: np.random.Generator) -> Map:
    """Depth of forehead lines, crow's feet, folds beside the nose, lines under the eyes."""
    p = m.points
    x, y, z = m.side, m.position[..., 1], m.position[..., 2]
    warp = 0.0022 * fractal_noise(rng, m.size, 4, 16)
    depth = np.zeros_like(x)
    brow_y = p.brow[:, 1].mean()
    for k in range(rng.integers(2, 6)):
        level = brow_y + 0.016 + 0.0085 * k + rng.normal(0, 0.001)
        line = np.exp(-(((y + warp + 1.2 * (x - 0.02) ** 2 - level) / 0.0011) ** 2))
        depth += line * smoothstep(x, 0.048, 0.025) * (z > 0) * rng.uniform(0.3, 1.0)
    corner = p.eye_corners[1]
    angle = np.arctan2(y - corner[1], x - corner[0] + 1e-6)
    away = np.hypot(x - corner[0], y - corner[1])
    feet = np.maximum(np.cos(angle * rng.integers(7, 12) + 40 * warp), 0) ** 6
    depth += (
        0.6
        * feet
        * smoothstep(away, 0.004, 0.008)
        * smoothstep(away, 0.022, 0.012)
        * ((np.abs(angle) < 0.9) & (x > corner[0]))
    )
    top = beside(p.nose_base, 0.017, 0.008, -0.006)
    bottom = beside(p.mouth_corner, 0.009, -0.002, -0.002)
    t = np.clip((top[1] - y) / (top[1] - bottom[1]), -0.3, 1.4)
    fold = top[0] + (bottom[0] - top[0]) * t + 0.004 * np.sin(np.pi * np.clip(t, 0, 1))
    fold_line = np.exp(-(((x + warp - fold) / 0.0014) ** 2))
    depth += fold_line * smoothstep(t, -0.1, 0.2) * smoothstep(t, 1.3, 0.8) * (z > p.eye[2] - 0.02)
    bag = beside(p.eye, 0, -0.016, 0)
    arc = bag[1] + 30 * (x - bag[0]) ** 2 * 0.35
    depth += 0.5 * np.exp(-(((y + warp - arc) / 0.001) ** 2)) * m.spot(bag, 0.014)
    return (0.32 * depth).astype(np.float32)
