"""Glasses and sunglasses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flowface_ros.synth.anatomy.fitted_head import FitPoints
from flowface_ros.synth.render.materials import Surface
from flowface_ros.synth.things.shapes import Mesh, join, sheet, tube
from flowface_ros.synth.things.wear import Wearable, surface_color

_Array = NDArray[np.float64]


def make_glasses(fit: FitPoints, rng: np.random.Generator) -> list[Wearable]:
    """A frame with temples, and two lenses."""
    half_width, half_height = rng.uniform(0.022, 0.029), rng.uniform(0.014, 0.024)
    power = rng.uniform(2.0, 4.5)
    wire = rng.random() < 0.35
    thick = rng.uniform(0.0006, 0.0010) if wire else rng.uniform(0.0011, 0.0026)
    middle = fit.eyes.mean(axis=0)
    gap = abs(fit.eyes[0, 0] - middle[0])
    # Clear of the brow and the lashes, and resting on the nose.
    front = max(fit.sellion[2] + 0.001, fit.brow_m + 0.002 + thick)
    height = middle[1] - rng.uniform(0.001, 0.005)
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    c, s = np.cos(angle), np.sin(angle)
    x = np.sign(c) * np.abs(c) ** (2 / power) * half_width
    y = np.sign(s) * np.abs(s) ** (2 / power) * half_height
    y = y * (1 - 0.10 * rng.uniform(0, 1) * (y < 0))
    frame: list[Mesh] = []
    lenses: list[Mesh] = []
    for side in (1.0, -1.0):
        center_x = side * max(gap + rng.uniform(-0.001, 0.002), half_width + 0.008)
        rim = np.stack([middle[0] + center_x + side * x, height + y, np.full_like(x, front)], 1)
        rim[:, 2] -= 2.2 * (rim[:, 0] - middle[0]) ** 2  # frames wrap a little around the face
        frame.append(tube(rim if side > 0 else rim[::-1], thick, sides=6, closed=True))
        ring = rim if side > 0 else rim[::-1]
        hub = ring.mean(axis=0, keepdims=True)
        lenses.append(sheet(np.stack([np.repeat(hub, len(ring), 0), ring]), closed=True))
        hinge = rim[np.argmax(side * (rim[:, 0]) + 0.5 * rim[:, 1])] + [side * thick, 0, 0]
        frame.append(_temple(hinge, fit.ears[0 if side > 0 else 1], side, thick, rng))
    inner = max(gap - half_width, 0.006)
    bridge_x = np.linspace(-inner, inner, 7)
    arch = 0.3 * half_height + 0.004 * (1 - (bridge_x / inner) ** 2)
    bridge = np.stack([middle[0] + bridge_x, height + arch, np.full(7, front)], axis=1)
    frame.append(tube(bridge, thick, 6))
    metal = wire or rng.random() < 0.15
    tint = surface_color(rng) if not metal else np.array([0.5, 0.42, 0.28]) * rng.uniform(0.3, 1.2)
    sun = rng.random() < 0.14
    clear = rng.uniform(0.04, 0.35) if sun else rng.uniform(0.86, 0.97)
    glass = np.clip(0.5 + rng.normal(0, 0.15, 3), 0.05, 1) if sun else np.ones(3)
    return [
        Wearable(join(frame), 1, Surface.GLOSSY, tint, 0.25, 0.35 if metal else 0.05),
        Wearable(join(lenses), 1, Surface.GLOSSY, glass, 0.03, 0.03, transparency=clear),
    ]


def _temple(
    hinge: _Array, ear: _Array, side: float, thick_m: float, rng: np.random.Generator
) -> Mesh:
    """The arm from a hinge (3,) to behind an ear (3,)."""
    out = np.array([side * 0.004, 0.002, 0])
    points = [hinge, hinge + np.array([side * 0.004, 0, -0.006])]
    points += [0.5 * (hinge + ear) + out, ear + out]
    points.append(ear + np.array([side * 0.002, -0.02, -0.018]))
    radii_m = [0.7 * thick_m, rng.uniform(0.8, 1.8) * thick_m]
    return tube(np.array(points), np.array([radii_m] * len(points)), 6)
