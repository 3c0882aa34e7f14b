"""Hair painted on the skin: brows, beard shadow, the ground of scalp hair, the lash line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowface_ros.synth.anatomy.skin_look import SkinLook
from flowface_ros.synth.anatomy.skin_map import Map, SkinMap, random_texels
from flowface_ros.synth.textures import draw_hairs, fractal_noise, smoothstep

_Array = NDArray[np.float64]

_EDGE_HAIRS = 9000
"""Short hairs painted along the hairline."""


@dataclass(frozen=True)
class HairGround:
    """density: (T, T) of scalp hair, in [0, 1]. cover: how much of the scalp it hides."""

    density: Map
    cover: float


def lash_line(albedo: Map, m: SkinMap, look: SkinLook) -> None:
    """The dark edge that lashes and their roots give the lids."""
    strength = 0.35 + 0.5 * min(1.0, look.make_up)
    x, y = m.side - m.points.eye[0], m.position[..., 1] - m.points.eye[1]
    half = (m.points.eye_corners[1, 0] - m.points.eye_corners[0, 0]) / 2
    opening = np.hypot(x / half, y / (0.36 * half))
    near = smoothstep(opening, 1.35, 1.0) * (m.position[..., 2] > m.points.eye[2] - 0.02)
    upper = np.where(y > 0, 1.0, 0.45)
    albedo *= np.exp(-(strength * near * upper))[..., None] * np.ones(3, np.float32)


def _stroked(
    m: SkinMap, texels: NDArray[np.int64], direction: _Array, length_m: _Array, opacity: _Array,
    rng: np.random.Generator,
) -> tuple[Map, Map]:  # fmt: skip
    """Hairs drawn from texels (n, 2) along 3D directions (n, 3): coverage and tone (T, T)."""
    cover = np.zeros((m.size, m.size), np.float32)
    tone = np.full((m.size, m.size), 0.5, np.float32)
    count = len(texels)
    if count:
        draw_hairs(
            cover,
            tone,
            (texels + rng.uniform(-0.5, 0.5, (count, 2))).astype(np.float32),
            m.texel_direction(texels, direction).astype(np.float32),
            rng.normal(0, 0.25, count).astype(np.float32),
            (length_m / m.texel_m).astype(np.float32),
            opacity.astype(np.float32),
            rng.normal(0.5, 0.25, count).clip(0, 1).astype(np.float32),
        )
    return cover, tone


def brows(m: SkinMap, look: SkinLook, rng: np.random.Generator) -> tuple[Map, Map]:
    along, above = m.brow
    arch = look.brow_raise_m + rng.normal(0, 0.001) * np.sin(np.pi * np.clip(along, 0, 1))
    above = above - arch
    width = look.brow_width_m * np.interp(along, [0, 0.15, 0.55, 1.05], [0.75, 1.0, 0.85, 0.25])
    ends = smoothstep(along, -0.10 - 0.1 * rng.random(), 0.05) * smoothstep(along, 1.12, 0.9)
    weight = np.exp(-((above / width) ** 4)) * ends * m.inside
    area = weight.sum() * (m.texel_m * 1000) ** 2  # square millimetres
    count = int(np.clip(area * look.brow_density * 2.4, 0, 6000))
    texels = random_texels(m, weight, count, rng)
    s, h = along[texels[:, 1], texels[:, 0]], above[texels[:, 1], texels[:, 0]]
    x = np.sign(m.position[texels[:, 1], texels[:, 0], 0])
    rise = (
        np.interp(s, [0, 0.25, 0.6, 1], [1.2, 0.6, 0.15, -0.3]) - 90 * h + rng.normal(0, 0.2, count)
    )
    direction = np.stack([x * np.interp(s, [0, 0.3], [0.35, 1.0]), rise, -0.3 * s], axis=1)
    length = rng.uniform(0.004, 0.0075, count) * np.interp(s, [0, 0.3, 1], [0.7, 1, 0.75])
    cover, tone = _stroked(m, texels, direction, length, rng.uniform(0.35, 0.85, count), rng)
    ground = (weight * 0.28 * look.brow_density).astype(np.float32)
    return np.clip(np.maximum(cover * (0.55 + 0.45 * look.brow_density), ground), 0, 0.97), tone


def beard_field(m: SkinMap, style: str) -> Map:
    """Density (T, T) in [0, 1] of a beard style."""
    return {
        "none": 0 * m.beard,
        "stubble": m.beard,
        "moustache": m.moustache,
        "goatee": np.maximum(m.chin_beard, m.moustache),
        "full": m.beard,
    }[style]


def beard(m: SkinMap, look: SkinLook, rng: np.random.Generator) -> tuple[Map, Map]:
    if look.beard == "none":
        return np.zeros((m.size, m.size), np.float32), np.full((m.size, m.size), 0.5, np.float32)
    patchy = np.clip(0.75 + 0.45 * fractal_noise(rng, m.size, 6, 48), 0, 1.2)
    density = beard_field(m, look.beard) * patchy * look.beard_density
    if look.beard in ("moustache", "goatee"):
        density = np.maximum(density, 0.12 * m.beard * rng.random())
    area = density[m.inside].sum() * (m.texel_m * 1000) ** 2
    short = look.beard == "stubble"
    count = int(np.clip(area * (1.6 if short else 2.5), 0, 40000))
    texels = random_texels(m, density * m.inside, count, rng)
    position = m.position[texels[:, 1], texels[:, 0]]
    direction = np.stack(
        [0.5 * np.tanh(position[:, 0] / 0.02), np.full(count, -1.0), 0.2 * np.ones(count)], axis=1
    ) + rng.normal(0, 0.35, (count, 3))
    length = rng.uniform(0.0006, 0.0018, count) if short else rng.uniform(0.003, 0.008, count)
    opacity = rng.uniform(0.25, 0.65, count) if short else rng.uniform(0.4, 0.9, count)
    cover, tone = _stroked(m, texels, direction, length, opacity, rng)
    ground = density * (0.14 if short else 0.5)
    return np.clip(np.maximum(cover, ground), 0, 0.96).astype(np.float32), tone


def scalp(m: SkinMap, ground: HairGround, rng: np.random.Generator) -> tuple[Map, Map]:
    """The dark ground of hair on the skull, with an irregular hairline."""
    density = ground.density * (1 - m.ears)
    edge = density * (1 - density)
    ragged = smoothstep(density + edge * fractal_noise(rng, m.size, 24, 192, 0.3), 0.35, 0.9)
    grain = 0.75 + 0.25 * fractal_noise(rng, m.size, m.size // 8, m.size // 2, 0.0)
    cover = ragged * ground.cover * grain
    # Fine short hairs soften the edge; they point away from the face.
    texels = random_texels(m, (edge + 0.08 * density) * m.inside, _EDGE_HAIRS, rng)
    position = m.position[texels[:, 1], texels[:, 0]]
    direction = np.stack(
        [0.5 * np.sign(position[:, 0]), 12 * (position[:, 1] - 0.06), -1 + 0 * position[:, 2]],
        axis=1,
    ) + rng.normal(0, 0.3, (len(texels), 3))
    length = rng.uniform(0.003, 0.008, len(texels)) * min(1.0, 0.3 + ground.cover)
    strokes, _ = _stroked(m, texels, direction, length, rng.uniform(0.15, 0.6, len(texels)), rng)
    cover = np.maximum(cover, strokes * min(1.0, 1.1 * ground.cover))
    tone = np.full((m.size, m.size), 0.35, np.float32)
    return np.clip(cover, 0, 0.97).astype(np.float32), tone
