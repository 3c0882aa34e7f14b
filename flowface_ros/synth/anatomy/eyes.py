"""Procedural eyes: iris, pupil, limbus, sclera and its veins, seen along the gaze."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowface_ros.synth.textures import draw_hairs, fractal_noise, smoothstep

EYE_TEXTURE_SIZE = 192

IRIS_RADIUS_M = 0.0059
"""Of an adult; it hardly varies (horizontal visible iris diameter 11.7 +- 0.5 mm)."""

_IRIS_COLORS = np.array(
    [
        [0.055, 0.022, 0.009],  # dark brown
        [0.125, 0.055, 0.020],  # brown
        [0.190, 0.120, 0.045],  # hazel
        [0.150, 0.165, 0.085],  # green
        [0.135, 0.210, 0.290],  # blue
        [0.230, 0.260, 0.280],  # grey
    ]
)


@dataclass(frozen=True)
class EyeLook:
    """What an eye looks like; both eyes of a person share it.

    iris: 0 (dark brown) to 5 (grey), in between is blended. pupil: radius as a share of the
    iris's. redness: 0 to 1, of the sclera. darkness: 0 to 1, how grey or yellow the sclera is.
    """

    iris: float
    pupil: float
    redness: float
    darkness: float


def sample_eye_look(rng: np.random.Generator, melanin: float) -> EyeLook:
    """Dark skin comes with dark eyes; light skin with any."""
    light_eyes = rng.random() < 0.75 * (1 - melanin) ** 2
    iris = rng.uniform(1.5, 5) if light_eyes else rng.uniform(0, 1.6)
    return EyeLook(iris, rng.uniform(0.25, 0.5), rng.beta(1, 3), rng.beta(1.5, 2.5))


def iris_color(look: EyeLook) -> NDArray[np.float64]:
    """Linear RGB (3,)."""
    steps = np.arange(len(_IRIS_COLORS))
    return np.array([np.interp(look.iris, steps, _IRIS_COLORS[:, k]) for k in range(3)])


def paint_eye(
    look: EyeLook, iris_share: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Linear colour (S, S, 3) and gloss (S, S) of an eyeball seen from the front.

    The picture spans the eyeball's diameter; iris_share is the iris's radius over the eyeball's.
    """
    size = EYE_TEXTURE_SIZE
    grid = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = np.meshgrid(grid, grid)
    radius, angle = np.hypot(x, y) / iris_share, np.arctan2(y, x)
    color = _sclera(look, radius, rng)
    inside = (1 - smoothstep(radius, 0.95, 1.06))[..., None]
    color = color * (1 - inside) + _iris(look, radius, angle, rng) * inside
    pupil = (1 - smoothstep(radius, look.pupil - 0.05, look.pupil + 0.03))[..., None]
    color = color * (1 - pupil) + 0.003 * pupil
    return color.astype(np.float32), np.ones((size, size), np.float32)


def _sclera(look: EyeLook, radius: NDArray, rng: np.random.Generator) -> NDArray[np.float64]:
    size = len(radius)
    white = np.array([0.62, 0.55, 0.50]) * (1 - look.darkness * np.array([0.35, 0.38, 0.48]))
    shade = 1 - 0.22 * smoothstep(radius, 1.2, 2.1)[..., None]
    color = white * shade * (1 + 0.03 * fractal_noise(rng, size, 4, 32)[..., None])
    veins = np.zeros((size, size), np.float32)
    count = 40
    turn = rng.uniform(0, 2 * np.pi, count)
    outward = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    start = (size / 2 + outward * rng.uniform(0.75, 1.0, (count, 1)) * size / 2).astype(np.float32)
    draw_hairs(
        veins,
        np.zeros_like(veins),
        start,
        (-outward).astype(np.float32),
        rng.normal(0, 0.7, count).astype(np.float32),
        (rng.uniform(0.1, 0.28, count) * size).astype(np.float32),
        rng.uniform(0.1, 0.6, count).astype(np.float32),
        np.zeros(count, np.float32),
    )
    red = (veins * look.redness + 0.35 * look.redness * smoothstep(radius, 1.1, 2.2))[..., None]
    return color * np.exp(-red * np.array([0.15, 1.1, 0.9]))


def _iris(
    look: EyeLook, radius: NDArray, angle: NDArray, rng: np.random.Generator
) -> NDArray[np.float64]:
    turns = np.linspace(-np.pi, np.pi, 181)
    fibres = sum(
        weight * np.interp(angle, np.linspace(-np.pi, np.pi, n), _closed(rng, n))
        for n, weight in ((181, 0.22), (91, 0.18), (23, 0.10))
    )
    crypts = np.interp(angle, turns, _closed(rng, 181)) * 0.15 * np.sin(radius * 9)
    collarette = np.exp(-(((radius - look.pupil - 0.18) / 0.12) ** 2))
    color = iris_color(look) * np.exp(fibres + crypts)[..., None]
    amber = np.array([0.20, 0.10, 0.03]) * rng.uniform(0.2, 1.0)
    mix = (collarette * rng.uniform(0, 0.6))[..., None]
    color = color * (1 - mix) + amber * mix
    limbus = smoothstep(radius, 0.78, 1.02)[..., None]
    return color * (1 - 0.8 * limbus)


def _closed(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    values = rng.standard_normal(count)
    values[-1] = values[0]
    return values
