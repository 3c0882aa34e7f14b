"""Hats and headscarves: shells around the head."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowface_ros.synth.anatomy.skull import Skull
from flowface_ros.synth.things.shapes import Mesh, join, sheet
from flowface_ros.synth.things.wear import Wearable, dressed, fabric

_Array = NDArray[np.float64]


def _dome(skull: Skull, upper: Any, lower: Any, clearance: Any) -> Mesh:
    """The head's surface moved out by clearance(polar, azimuth), from polar angle upper(azimuth)
    to lower(azimuth).

    polar: radians from straight up; azimuth: radians from the face over the left side.
    """
    azimuth = np.linspace(-np.pi, np.pi, 64)[None]
    share = np.linspace(0, 1, 24)[:, None]
    polar = upper(azimuth) + (lower(azimuth) - upper(azimuth)) * share
    azimuth = np.broadcast_to(azimuth, polar.shape)
    unit = np.stack(
        [np.sin(polar) * np.sin(azimuth), np.cos(polar), np.sin(polar) * np.cos(azimuth)], axis=-1
    )
    radius = skull.radius_along(unit) + clearance(polar, azimuth)
    return sheet(skull.center + unit * radius[..., None], repeat=6.0)


def make_hat(skull: Skull, hair_volume_m: float, rng: np.random.Generator) -> list[Wearable]:
    """A beanie, a cap with a visor, or a brimmed hat."""
    kind = rng.choice(["beanie", "cap", "brim"], p=[0.4, 0.42, 0.18])
    tilt = rng.uniform(-0.05, 0.12)
    edge = {"beanie": rng.uniform(1.15, 1.32), "cap": rng.uniform(1.08, 1.2), "brim": 1.15}[kind]
    loose = min(hair_volume_m, 0.012) + rng.uniform(0.003, 0.007)
    folds = rng.standard_normal(6) * 0.0012
    slouch = rng.uniform(0, 0.03) if kind == "beanie" else rng.uniform(0.005, 0.03)

    def rim(azimuth: _Array) -> _Array:
        return edge + (0.30 + tilt) * (1 - np.cos(azimuth)) / 2

    def clearance(polar: _Array, azimuth: _Array) -> _Array:
        wave = sum(f * np.sin((k + 2) * azimuth + 3 * k) for k, f in enumerate(folds))
        return loose + wave + slouch * np.cos(np.minimum(polar, np.pi / 2)) ** 2

    cloth = fabric(rng)
    pieces = [_dome(skull, lambda a: 0.02 + 0 * a, rim, clearance)]
    if kind == "beanie" and rng.random() < 0.7:
        cuff = rng.uniform(0.15, 0.3)
        pieces.append(
            _dome(
                skull,
                lambda a: rim(a) - cuff,
                lambda a: rim(a) + 0.03,
                lambda p, a: clearance(p, a) + 0.004,
            )
        )
    if kind != "beanie":
        around = np.pi if kind == "brim" else rng.uniform(0.95, 1.25)
        reach = rng.uniform(0.05, 0.09) if kind == "brim" else rng.uniform(0.055, 0.075)
        pieces.append(_visor(skull, rim, loose, around, reach, rng.uniform(-0.25, 0.35)))
    return [dressed(join(pieces), 1, cloth)]


def _visor(skull: Skull, rim: Any, loose: float, around: float, reach: float, droop: float) -> Mesh:
    azimuth = np.linspace(-around, around, 33)
    polar = rim(azimuth)
    unit = np.stack(
        [np.sin(polar) * np.sin(azimuth), np.cos(polar), np.sin(polar) * np.cos(azimuth)], axis=-1
    )
    edge = skull.center + unit * (skull.radius_along(unit) + loose)[:, None]
    outward = unit * [1, 0, 1]
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    full = around > 3
    length = np.full_like(azimuth, reach)
    if not full:
        length *= np.cos(azimuth / around * np.pi / 2) ** 0.4
    steps = np.linspace(0, 1, 5)[:, None, None]
    out = outward * length[:, None]
    curve = droop * steps**1.5 * length[None, :, None]
    side = 0.35 * (np.sin(azimuth) ** 2)[None, :, None] * length.max() * (not full)
    points = edge + steps * out + np.array([0.0, -1.0, 0.0]) * (curve + side * steps)
    upper = sheet(points[::-1])
    lower = sheet(points - [0, 0.0025, 0])
    return join([upper, lower])


def make_scarf(skull: Skull, rng: np.random.Generator) -> list[Wearable]:
    """A headscarf that leaves the face free."""
    wide, above, below = rng.uniform(0.80, 0.98), rng.uniform(0.57, 0.79), rng.uniform(0.62, 0.82)
    loose = rng.uniform(0.006, 0.014)
    folds = rng.standard_normal((6, 2)) * [0.0016, 1]
    turn = np.linspace(-np.pi, np.pi, 96)[None]
    share = np.linspace(0, 1, 48)[:, None]
    # Around the line of sight: from the edge of the opening to the back of the head.
    high = np.where(np.cos(turn) > 0, above, below)
    opening = 1 / np.sqrt((np.sin(turn) / wide) ** 2 + (np.cos(turn) / high) ** 2)
    away = opening + (np.pi - 0.02 - opening) * share
    turn = np.broadcast_to(turn, away.shape)
    unit = np.stack(
        [np.sin(away) * np.sin(turn), np.sin(away) * np.cos(turn), np.cos(away)], axis=-1
    )
    waves = sum(f * np.sin((k + 3) * turn + 4 * away + p) for k, (f, p) in enumerate(folds))
    hang = 0.035 * np.maximum(-unit[..., 1] - 0.35, 0)
    radius = skull.radius_along(unit) + loose + waves + hang
    mesh = sheet((skull.center + unit * radius[..., None])[::-1], repeat=6.0)
    return [dressed(mesh, 1, fabric(rng))]
