"""Skin painted in the texture atlas: pigment, blood, pores, wrinkles, brows, stubble, make-up."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flowface_ros.synth.skin_map import SkinMap
from flowface_ros.synth.textures import draw_hairs, fractal_noise, smoothstep

_Array = NDArray[np.float64]
_Map = NDArray[np.float32]

_BARE = np.array([0.88, 0.72, 0.61], np.float32)
"""Linear albedo of skin without pigment or blood."""

_MELANIN = np.array([0.95, 1.14, 1.26], np.float32)
_BLOOD = np.array([0.10, 0.62, 0.52], np.float32)
_CAROTENE = np.array([0.0, 0.04, 0.26], np.float32)
"""Absorbance per unit of each pigment in R, G, B, after the melanin and haemoglobin axes found by
independent component analysis of skin (Tsumura 1999)."""

_LEAST_MELANIN, _MELANIN_RANGE = 0.20, 2.05
_USUAL_BLOOD = 0.42
_EDGE_HAIRS = 9000
"""Short hairs painted along the hairline."""

MIDDLE_HEIGHT = 0.5
"""Texture height of flat skin."""


@dataclass(frozen=True)
class SkinLook:
    """What a skin looks like. Shares are in [0, 1] unless said.

    melanin: 0 (lightest) to 1 (darkest). blood: ruddiness. carotene: yellowness. age: roughness
    and wrinkles. mottling: unevenness. freckles, moles (count), shine (oiliness), circles (dark
    rings under the eyes). lip_blood, lip_melanin: of the lips over the skin. make_up: strength.
    brow_density, brow_width_m, brow_raise_m. beard: "none", "stubble", "moustache", "goatee" or
    "full"; beard_density.
    """

    melanin: float
    blood: float
    carotene: float
    age: float
    mottling: float
    freckles: float
    moles: int
    shine: float
    circles: float
    lip_blood: float
    lip_melanin: float
    make_up: float
    brow_density: float
    brow_width_m: float
    brow_raise_m: float
    beard: str
    beard_density: float


def sample_skin_look(rng: np.random.Generator) -> SkinLook:
    """Tones cover the human range evenly; beards and make-up rarely meet."""
    melanin = float(rng.beta(0.85, 1.15))
    masculine = rng.random() < 0.55
    beards = ["none", "stubble", "moustache", "goatee", "full"]
    beard = str(rng.choice(beards, p=[0.38, 0.27, 0.07, 0.09, 0.19])) if masculine else "none"
    made_up = rng.random() < (0.02 if masculine else 0.5)
    return SkinLook(
        melanin=melanin,
        blood=float(rng.beta(2, 3)),
        carotene=float(rng.uniform(0, 1)),
        age=float(rng.beta(1.2, 1.6)),
        mottling=float(rng.beta(2, 3)),
        freckles=float(rng.beta(1, 2)) * (melanin < 0.45) * (rng.random() < 0.3),
        moles=int(rng.poisson(1.5)),
        shine=float(rng.beta(2, 2)),
        circles=float(rng.beta(1.5, 2.5)),
        lip_blood=float(rng.uniform(0.2, 1.0)),
        lip_melanin=float(rng.normal(0.12, 0.10)) * (0.3 + melanin),
        make_up=float(rng.uniform(0.3, 1.0)) if made_up else 0.0,
        brow_density=float(rng.uniform(0.35, 1.0) if masculine else rng.uniform(0.2, 0.9)),
        brow_width_m=float(
            rng.uniform(0.0032, 0.0058) if masculine else rng.uniform(0.0020, 0.0042)
        ),
        brow_raise_m=float(rng.normal(0.0005, 0.0016)),
        beard=beard,
        beard_density=float(rng.uniform(0.4, 1.0)),
    )


@dataclass(frozen=True)
class PaintedSkin:
    """albedo: (T, T, 3) linear. height, gloss: (T, T) in [0, 1]. All float32."""

    albedo: _Map
    height: _Map
    gloss: _Map


@dataclass(frozen=True)
class HairGround:
    """density: (T, T) of scalp hair, in [0, 1]. cover: how much of the scalp it hides."""

    density: _Map
    cover: float


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
    height = _relief(skin_map, look, rng)
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
    _lash_line(albedo, skin_map, look)
    for cover, tone in (
        _brows(skin_map, look, rng),
        _beard(skin_map, look, rng),
        _scalp(skin_map, ground, rng),
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
) -> tuple[_Map, _Map]:
    size, p = m.size, m.points
    coarse, middle = fractal_noise(rng, size, 3, 16), fractal_noise(rng, size, 16, 128, 0.6)
    fine = fractal_noise(rng, size, size // 8, size // 2, 0.0)
    uneven = look.mottling * (0.5 + look.age)
    melanin = np.full((size, size), _LEAST_MELANIN + _MELANIN_RANGE * look.melanin, np.float32)
    melanin *= 1 + uneven * (0.05 * coarse + 0.035 * middle)
    melanin += 0.018 * fine
    melanin += look.melanin * 0.35 * (m.spot(p.eye + [0, 0.008, 0], 0.016))  # sockets
    hollow = m.spot(p.eye + [-0.004, -0.014, -0.003], 0.011)
    melanin += look.circles * (0.12 + 0.2 * look.melanin) * hollow
    if look.freckles > 0:
        melanin += look.freckles * _freckles(m, rng)
    for _ in range(look.moles):
        texel = _random_texels(m, m.inside & bare, 1, rng)[0]
        _dot(melanin, texel, rng.uniform(0.0004, 0.0012) / m.texel_m, rng.uniform(0.3, 1.2))
    blood = np.full((size, size), _USUAL_BLOOD * (0.4 + 0.9 * look.blood), np.float32)
    cheek = p.eye + [0.012, -0.032, -0.004]
    ruddy = 0.34 * m.spot(cheek, 0.022) + 0.32 * m.spot(p.nose_tip, 0.014)
    ruddy += 0.25 * m.ears + 0.12 * m.spot(p.chin + [0, 0.01, 0.01], 0.015)
    ruddy += 0.10 * m.spot(p.eye, 0.014) + 0.18 * m.spot(p.eye_corners[0], 0.006)
    blood += ruddy * (0.35 + 1.0 * look.blood) * (1 + 0.35 * middle)
    blood += 0.15 * look.circles * hollow
    blood *= 1 + uneven * (0.22 * coarse + 0.16 * middle) + 0.05 * fine
    for _ in range(rng.poisson(4 * look.mottling)):  # spots and pimples
        texel = _random_texels(m, m.inside & bare, 1, rng)[0]
        _dot(blood, texel, rng.uniform(0.001, 0.003) / m.texel_m, rng.uniform(0.1, 0.5))
    return melanin, np.maximum(blood, 0.02)


def _random_texels(
    m: SkinMap, weight: NDArray, count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Texels (n, 2: column, row) drawn with probability proportional to a weight (T, T)."""
    cumulative = np.cumsum(weight.ravel(), dtype=np.float64)
    if cumulative[-1] <= 0:
        return np.zeros((0, 2), np.int64)
    index = np.searchsorted(cumulative, rng.random(count) * cumulative[-1], side="right")
    return np.stack([index % m.size, index // m.size], axis=1)


def _dot(field: _Map, texel: NDArray, radius: float, strength: float) -> None:
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


def _freckles(m: SkinMap, rng: np.random.Generator) -> _Map:
    p = m.points
    where = m.spot(p.eye + [0, -0.02, 0], 0.03) + m.spot(p.nose_tip, 0.02) + 0.12
    dots = np.zeros((m.size, m.size), np.float32)
    texels = _random_texels(m, where * m.inside, 900, rng)
    np.add.at(dots, (texels[:, 1], texels[:, 0]), rng.uniform(0.3, 1.5, len(texels)))
    sigma = 0.0007 / m.texel_m
    return np.clip(cv2.GaussianBlur(dots, (0, 0), sigma) * (2 * np.pi * sigma**2) * 0.6, 0, 0.9)


def _relief(m: SkinMap, look: SkinLook, rng: np.random.Generator) -> _Map:
    """Height in [0, 1] around MIDDLE_HEIGHT: pores, fine lines, wrinkles, lip lines."""
    size, p = m.size, m.points
    grain = fractal_noise(rng, size, size // 8, size // 2, 0.3)
    pores = np.minimum(fractal_noise(rng, size, size // 4, size // 2, 0.0), 0)
    coarse_skin = 0.4 + 1.2 * (m.spot(p.nose_tip, 0.02) + m.spot(p.eye + [0.005, -0.03, 0], 0.02))
    height = MIDDLE_HEIGHT + (0.02 + 0.03 * look.age) * (grain + 1.2 * pores * coarse_skin)
    height = height.astype(np.float32)
    wrinkles = np.clip(look.age * 1.3 - 0.25, 0, 1)
    if wrinkles > 0:
        height -= wrinkles * _wrinkles(m, rng)
    lines = fractal_noise(rng, size, 64, 256, 0.2)
    height += 0.06 * m.lips * lines
    return height


def _wrinkles(m: SkinMap, rng: np.random.Generator) -> _Map:
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
    top = p.nose_base + [0.017, 0.008, -0.006]
    bottom = p.mouth_corner + [0.009, -0.002, -0.002]
    t = np.clip((top[1] - y) / (top[1] - bottom[1]), -0.3, 1.4)
    fold = top[0] + (bottom[0] - top[0]) * t + 0.004 * np.sin(np.pi * np.clip(t, 0, 1))
    fold_line = np.exp(-(((x + warp - fold) / 0.0014) ** 2))
    depth += fold_line * smoothstep(t, -0.1, 0.2) * smoothstep(t, 1.3, 0.8) * (z > p.eye[2] - 0.02)
    bag = p.eye + [0, -0.016, 0]
    arc = bag[1] + 30 * (x - bag[0]) ** 2 * 0.35
    depth += 0.5 * np.exp(-(((y + warp - arc) / 0.001) ** 2)) * m.spot(bag, 0.014)
    return (0.32 * depth).astype(np.float32)


def _lip_lines(m: SkinMap, rng: np.random.Generator) -> _Map:
    return 1 + 0.12 * fractal_noise(rng, m.size, 32, 256, 0.3)


def _gloss(m: SkinMap, look: SkinLook, rng: np.random.Generator) -> _Map:
    p = m.points
    gloss = 0.35 + 0.12 * fractal_noise(rng, m.size, 8, 256, 0.4)
    oily = m.spot(p.nose_tip, 0.016) + m.spot([0, p.brow[0, 1] + 0.025, p.eye[2] + 0.02], 0.035)
    oily += 0.6 * m.spot(p.eye + [0.012, -0.022, 0], 0.014) + 0.4 * m.spot(p.chin, 0.014)
    gloss = gloss + look.shine * 0.55 * oily
    return np.clip(gloss + 0.35 * m.lips, 0.05, 1).astype(np.float32)


def _make_up(
    albedo: _Map, gloss: _Map, m: SkinMap, look: SkinLook, rng: np.random.Generator
) -> None:
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
        lid = m.spot(p.eye + [0.002, 0.009, 0], 0.012)
        color = rng.uniform(0.05, 0.35) * np.exp(rng.normal(0, 0.35, 3))
        cover = (np.clip(lid * 1.2, 0, 1) * strength * rng.uniform(0.2, 0.7))[..., None]
        albedo *= 1 - cover
        albedo += color.astype(np.float32) * cover
    if rng.random() < 0.6:
        rouge = m.spot(p.eye + [0.02, -0.030, -0.01], 0.018) * strength * rng.uniform(0.1, 0.4)
        albedo *= np.exp(-rouge[..., None] * np.array([0.05, 0.9, 0.6], np.float32))


def _lash_line(albedo: _Map, m: SkinMap, look: SkinLook) -> None:
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
) -> tuple[_Map, _Map]:  # fmt: skip
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


def _brows(m: SkinMap, look: SkinLook, rng: np.random.Generator) -> tuple[_Map, _Map]:
    along, above = m.brow
    arch = look.brow_raise_m + rng.normal(0, 0.001) * np.sin(np.pi * np.clip(along, 0, 1))
    above = above - arch
    width = look.brow_width_m * np.interp(along, [0, 0.15, 0.55, 1.05], [0.75, 1.0, 0.85, 0.25])
    ends = smoothstep(along, -0.10 - 0.1 * rng.random(), 0.05) * smoothstep(along, 1.12, 0.9)
    weight = np.exp(-((above / width) ** 4)) * ends * m.inside
    area = weight.sum() * (m.texel_m * 1000) ** 2  # square millimetres
    count = int(np.clip(area * look.brow_density * 2.4, 0, 6000))
    texels = _random_texels(m, weight, count, rng)
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


def beard_field(m: SkinMap, style: str) -> _Map:
    """Density (T, T) in [0, 1] of a beard style."""
    return {
        "none": 0 * m.beard,
        "stubble": m.beard,
        "moustache": m.moustache,
        "goatee": np.maximum(m.chin_beard, m.moustache),
        "full": m.beard,
    }[style]


def _beard(m: SkinMap, look: SkinLook, rng: np.random.Generator) -> tuple[_Map, _Map]:
    if look.beard == "none":
        return np.zeros((m.size, m.size), np.float32), np.full((m.size, m.size), 0.5, np.float32)
    patchy = np.clip(0.75 + 0.45 * fractal_noise(rng, m.size, 6, 48), 0, 1.2)
    density = beard_field(m, look.beard) * patchy * look.beard_density
    if look.beard in ("moustache", "goatee"):
        density = np.maximum(density, 0.12 * m.beard * rng.random())
    area = density[m.inside].sum() * (m.texel_m * 1000) ** 2
    short = look.beard == "stubble"
    count = int(np.clip(area * (1.6 if short else 2.5), 0, 40000))
    texels = _random_texels(m, density * m.inside, count, rng)
    position = m.position[texels[:, 1], texels[:, 0]]
    direction = np.stack(
        [0.5 * np.tanh(position[:, 0] / 0.02), np.full(count, -1.0), 0.2 * np.ones(count)], axis=1
    ) + rng.normal(0, 0.35, (count, 3))
    length = rng.uniform(0.0006, 0.0018, count) if short else rng.uniform(0.003, 0.008, count)
    opacity = rng.uniform(0.25, 0.65, count) if short else rng.uniform(0.4, 0.9, count)
    cover, tone = _stroked(m, texels, direction, length, opacity, rng)
    ground = density * (0.14 if short else 0.5)
    return np.clip(np.maximum(cover, ground), 0, 0.96).astype(np.float32), tone


def _scalp(m: SkinMap, ground: HairGround, rng: np.random.Generator) -> tuple[_Map, _Map]:
    """The dark ground of hair on the skull, with an irregular hairline."""
    density = ground.density * (1 - m.ears)
    edge = density * (1 - density)
    ragged = smoothstep(density + edge * fractal_noise(rng, m.size, 24, 192, 0.3), 0.35, 0.9)
    grain = 0.75 + 0.25 * fractal_noise(rng, m.size, m.size // 8, m.size // 2, 0.0)
    cover = ragged * ground.cover * grain
    # Fine short hairs soften the edge; they point away from the face.
    texels = _random_texels(m, (edge + 0.08 * density) * m.inside, _EDGE_HAIRS, rng)
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
