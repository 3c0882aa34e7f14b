"""Neck base, shoulders and chest, and a garment over them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flowface_ros.synth.anatomy.fitted_head import FitPoints
from flowface_ros.synth.render.materials import Surface
from flowface_ros.synth.things.shapes import join, sheet, tube
from flowface_ros.synth.things.wear import Wearable, dressed, fabric

_Array = NDArray[np.float64]

_SIDES = 48
"""Points around the neck and shoulders."""


def _torso_rings(fit: FitPoints, rng: np.random.Generator) -> _Array:
    """Rings (rows, _SIDES, 3) from inside the neck's hem down to the chest."""
    center = fit.hem.mean(axis=0)
    neck_x = np.ptp(fit.hem[:, 0]) / 2 * 0.97
    neck_z = np.ptp(fit.hem[:, 2]) / 2 * 0.97
    shoulder_x, chest_z = rng.uniform(0.17, 0.235), rng.uniform(0.09, 0.13)
    slope = rng.uniform(0.045, 0.085)
    drop = np.array(
        [-0.012, 0.0, 0.01, 0.022, 0.036, 0.052, 0.07, 0.095, 0.13, 0.18, 0.25, 0.34, 0.5, 0.7]
    )
    widen = np.clip(drop / slope, 0, 1)
    x = neck_x + (shoulder_x - neck_x) * (1 - (1 - widen) ** 1.6)
    z = neck_z + (chest_z - neck_z) * np.clip(drop / 0.16, 0, 1) ** 0.8
    back = -0.012 * np.clip(drop / 0.1, 0, 1)
    angle = np.linspace(0, 2 * np.pi, _SIDES, endpoint=False)
    power = 2 + 0.8 * widen[:, None]
    c, s = np.cos(angle)[None], np.sin(angle)[None]
    rings = np.empty((len(drop), _SIDES, 3))
    rings[..., 0] = center[0] + x[:, None] * np.sign(s) * np.abs(s) ** (2 / power)
    rings[..., 2] = center[2] + back[:, None] + z[:, None] * np.sign(c) * np.abs(c) ** (2 / power)
    # The hem is not level: the neck starts lower in front.
    order = np.argsort(np.arctan2(fit.hem[:, 0] - center[0], fit.hem[:, 2] - center[2]))
    hem = fit.hem[order]
    hem_angle = np.arctan2(hem[:, 0] - center[0], hem[:, 2] - center[2])
    level = np.interp(angle, hem_angle, hem[:, 1], period=2 * np.pi)
    fade = np.clip(1 - drop / 0.1, 0, 1)[:, None]
    rounding = 0.02 * widen[:, None] * (1 - np.abs(s) ** 2)
    rings[..., 1] = center[1] + (level - center[1]) * fade - drop[:, None] + 0.5 * rounding
    return rings


def make_torso(fit: FitPoints, skin: _Array, rng: np.random.Generator) -> list[Wearable]:
    """Neck base, shoulders and chest in skin colour, and a garment over them."""
    rings = _torso_rings(fit, rng)
    body = Wearable(sheet(rings, closed=True), 0, Surface.SKIN, skin, 0.55, 0.012)
    middle = rings.mean(axis=1, keepdims=True)
    outward = (rings - middle) * [1, 0, 1]
    outward /= np.linalg.norm(outward, axis=-1, keepdims=True) + 1e-9
    loose = rng.uniform(0.003, 0.009)
    garment = rings + outward * loose + [0, loose, 0]
    angle = np.linspace(0, 2 * np.pi, rings.shape[1], endpoint=False)
    front = np.clip(np.cos(angle), 0, 1)
    neckline = rng.choice([0.0, 0.0, 0.02, 0.06]) * front**6 + rng.uniform(-0.006, 0.012)
    depth = np.linspace(0, 1, len(rings))
    drop = rings[0, :, 1] - rings[..., 1]
    start = neckline + 0.012
    rows = []
    for share in np.concatenate([depth[:1], depth[1:] ** 1.5]):
        level = start + share * (drop[-1] - start)
        column = [
            [np.interp(level[k], drop[:, k], garment[:, k, axis]) for axis in range(3)]
            for k in range(rings.shape[1])
        ]
        rows.append(column)
    grid = np.array(rows)
    pieces = [sheet(grid, closed=True, repeat=5.0)]
    collar = grid[0]
    kind = rng.choice(["hem", "high", "thick", "fold"], p=[0.4, 0.15, 0.2, 0.25])
    if kind == "hem":
        pieces.append(tube(collar, rng.uniform(0.0015, 0.004), 6, closed=True))
    elif kind == "thick":
        pieces.append(tube(collar, rng.uniform(0.008, 0.018), 9, closed=True))
    else:
        rise = rng.uniform(0.02, 0.05) * (1 - 0.5 * front**8)
        inward = (collar - collar.mean(axis=0)) * [1, 0, 1]
        upper = collar + [0, 1, 0] * rise[:, None] - inward * 0.06
        pieces.append(sheet(np.stack([upper, collar]), closed=True, repeat=5.0))
        if kind == "fold":
            flap = collar + inward * 0.16 + [0, -0.012, 0] + [0, -0.02, 0] * front[:, None] ** 4
            pieces.append(
                sheet(np.stack([upper + np.array([0, 0.001, 0]), flap]), closed=True, repeat=5.0)
            )
    return [body, dressed(join(pieces), 0, fabric(rng))]
