"""Skin painted in the texture atlas: pigment, blood, pores, wrinkles, brows, stubble, make-up."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flowface_ros.synth.anatomy.skin_hair import HairGround, beard, brows, lash_line, scalp
from flowface_ros.synth.anatomy.skin_look import SkinLook
from flowface_ros.synth.anatomy.skin_map import Map, SkinMap, beside, random_texels
from flowface_ros.synth.anatomy.skin_relief import MIDDLE_HEIGHT, relief
from flowface_ros.synth.textures import fractal_noise, smoothstep

_Array = NDArray[np.float64]

_BARE = np.array([0.88, 0.72, 0.61], np.float32)
"""Linear albedo of skin without pigment or blood."""

_MELANIN = np.array([0.95, 1.14, 1.26], np.float32)
_BLOOD = np.array([0.10, 0.62, 0.52], np.float32)
_CAROTENE = np.array([0.0, 0.04, 0.26], np.float32)
"""Absorbance per unit of each pigment in R, G, B, after the melanin and haemoglobin axes found by
independent component analysis of skin (Tsumura 1999)."""

_LEAST_MELANIN, _MELANIN_RANGE = 0.20, 2.05
_USUAL_BLOOD = 0.42


@dataclass(frozen=True)
class PaintedSkin:
    """albedo: (T, T, 3) linear. height, gloss: (T, T) in [0, 1]. All float32."""

    albedo: Map
    height: Map
    gloss: Map


def paint_skin(
    skin_map: SkinMap,
    look: SkinLook,
    hair_color: _Array,
    ground: HairGround,
    rng: np.random.Generator,
) -> PaintedSkin:
    """Skin with brows, beard shadow and the dark ground of scalp hair.

    hair_color: linear RGB (3,).
    """
    melanin, blood = _pigments(skin_map, look, ground.density < 0.5, rng)
    height = relief(skin_map, look, rng)
    lips = skin_map.lips * _lip_lines(skin_map, rng)
    melanin += lips * look.lip_melanin
    blood += lips * (0.35 + 0.75 * look.lip_blood)
    melanin += 0.5 * np.maximum(MIDDLE_HEIGHT - height, 0)  # dirt and shade in pores and creases
    absorbance = (
        melanin[..., None] * _MELANIN + blood[..., None] * _BLOOD + look.carotene * _CAROTENE
    )
    albedo = _BARE * np.exp(-absorbance)
    gloss = _gloss(skin_map, look, rng)
    if look.make_up > 0:
        _make_up(albedo, gloss, skin_map, look, rng)
    lash_line(albedo, skin_map, look)
    for cover, tone in (
        brows(skin_map, look, rng),
        beard(skin_map, look, rng),
        scalp(skin_map, ground, rng),
    ):
        ink = (hair_color * 0.8)[None, None] * (0.5 + tone[..., None])
        albedo = albedo * (1 - cover[..., None]) + ink * cover[..., None]
        gloss = gloss * (1 - 0.8 * cover)
    return PaintedSkin(
        np.clip(albedo, 0.004, 0.95).astype(np.float32),
        np.clip(height, 0, 1).astype(np.float32),
        np.clip(gloss, 0, 1).astype(np.float32),
    )


def _pigments(
    m: SkinMap, look: SkinLook, bare: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[Map, Map]:
    size, p = m.size, m.points
    coarse, middle = fractal_noise(rng, size, 3, 16), fractal_noise(rng, size, 16, 128, 0.6)
    fine = fractal_noise(rng, size, size // 8, size // 2, 0.0)
    uneven = look.mottling * (0.5 + look.age)
    melanin = np.full((size, size), _LEAST_MELANIN + _MELANIN_RANGE * look.melanin, np.float32)
    melanin *= 1 + uneven * (0.05 * coarse + 0.035 * middle)
    melanin += 0.018 * fine
    melanin += look.melanin * 0.35 * (m.spot(beside(p.eye, 0, 0.008, 0), 0.016))  # sockets
    hollow = m.spot(beside(p.eye, -0.004, -0.014, -0.003), 0.011)
    melanin += look.circles * (0.12 + 0.2 * look.melanin) * hollow
    if look.freckles > 0:
        melanin += look.freckles * _freckles(m, rng)
    for _ in range(look.moles):
        texel = random_texels(m, m.inside & bare, 1, rng)[0]
        _dot(melanin, texel, rng.uniform(0.0004, 0.0012) / m.texel_m, rng.uniform(0.3, 1.2))
    blood = np.full((size, size), _USUAL_BLOOD * (0.4 + 0.9 * look.blood), np.float32)
    cheek = beside(p.eye, 0.012, -0.032, -0.004)
    ruddy = 0.34 * m.spot(cheek, 0.022) + 0.32 * m.spot(p.nose_tip, 0.014)
    ruddy += 0.25 * m.ears + 0.12 * m.spot(beside(p.chin, 0, 0.01, 0.01), 0.015)
    ruddy += 0.10 * m.spot(p.eye, 0.014) + 0.18 * m.spot(p.eye_corners[0], 0.006)
    blood += ruddy * (0.35 + 1.0 * look.blood) * (1 + 0.35 * middle)
    blood += 0.15 * look.circles * hollow
    blood *= 1 + uneven * (0.22 * coarse + 0.16 * middle) + 0.05 * fine
    for _ in range(rng.poisson(4 * look.mottling)):  # spots and pimples
        texel = random_texels(m, m.inside & bare, 1, rng)[0]
        _dot(blood, texel, rng.uniform(0.001, 0.003) / m.texel_m, rng.uniform(0.1, 0.5))
    return melanin, np.maximum(blood, 0.02)


def _dot(field: Map, texel: NDArray, radius: float, strength: float) -> None:
    reach = int(3 * radius) + 2
    x, y = int(texel[0]), int(texel[1])
    rows = slice(max(0, y - reach), y + reach + 1)
    columns = slice(max(0, x - reach), x + reach + 1)
    yy, xx = np.mgrid[rows, columns][:, : field.shape[0], : field.shape[1]]
    patch = field[rows, columns]
    yy, xx = yy[: patch.shape[0], : patch.shape[1]], xx[: patch.shape[0], : patch.shape[1]]
    patch += np.float32(strength) * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / radius**2).astype(
        np.float32
    )


def _freckles(m: SkinMap, rng: np.random.Generator) -> Map:
    p = m.points
    where = m.spot(beside(p.eye, 0, -0.02, 0), 0.03) + m.spot(p.nose_tip, 0.02) + 0.12
    dots = np.zeros((m.size, m.size), np.float32)
    texels = random_texels(m, where * m.inside, 900, rng)
    np.add.at(dots, (texels[:, 1], texels[:, 0]), rng.uniform(0.3, 1.5, len(texels)))
    sigma = 0.0007 / m.texel_m
    return np.clip(cv2.GaussianBlur(dots, (0, 0), sigma) * (2 * np.pi * sigma**2) * 0.6, 0, 0.9)


def _lip_lines(m: SkinMap, rng: np.random.Generator) -> Map:
    return 1 + 0.12 * fractal_noise(rng, m.size, 32, 256, 0.3)


def _gloss(m: SkinMap, look: SkinLook, rng: np.random.Generator) -> Map:
    p = m.points
    gloss = np.float32(0.35) + 0.12 * fractal_noise(rng, m.size, 8, 256, 0.4)
    oily = m.spot(p.nose_tip, 0.016) + m.spot(
        np.array([0, p.brow[0, 1] + 0.025, p.eye[2] + 0.02]), 0.035
    )
    oily += 0.6 * m.spot(beside(p.eye, 0.012, -0.022, 0), 0.014) + 0.4 * m.spot(p.chin, 0.014)
    gloss = gloss + look.shine * 0.55 * oily
    return np.clip(gloss + 0.35 * m.lips, 0.05, 1).astype(np.float32)


def _make_up(albedo: Map, gloss: Map, m: SkinMap, look: SkinLook, rng: np.random.Generator) -> None:
    """Lipstick, eye shadow, eye liner and rouge, each only sometimes; painted in place."""
    p, strength = m.points, look.make_up
    if rng.random() < 0.75:
        lipstick = np.array(
            [rng.uniform(0.2, 0.6), rng.uniform(0.01, 0.15), rng.uniform(0.02, 0.16)]
        )
        cover = (smoothstep(m.lips, 0.25, 0.6) * strength * rng.uniform(0.4, 0.9))[..., None]
        albedo *= 1 - cover
        albedo += lipstick.astype(np.float32) * cover
        gloss += m.lips * rng.uniform(-0.3, 0.5)
    if rng.random() < 0.6:
        lid = m.spot(beside(p.eye, 0.002, 0.009, 0), 0.012)
        color = rng.uniform(0.05, 0.35) * np.exp(rng.normal(0, 0.35, 3))
        cover = (np.clip(lid * 1.2, 0, 1) * strength * rng.uniform(0.2, 0.7))[..., None]
        albedo *= 1 - cover
        albedo += color.astype(np.float32) * cover
    if rng.random() < 0.6:
        rouge = m.spot(beside(p.eye, 0.02, -0.030, -0.01), 0.018) * strength * rng.uniform(0.1, 0.4)
        albedo *= np.exp(-rouge[..., None] * np.array([0.05, 0.9, 0.6], np.float32))
