"""What people wear, as small meshes on their neutral head: glasses, hats, scarves, clothes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowface_ros.synth.materials import Surface
from flowface_ros.synth.shapes import Mesh, join, sheet, tube
from flowface_ros.synth.skull import Skull
from flowface_ros.synth.textures import fractal_noise, pack_texture

_Array = NDArray[np.float64]

CLOTH_TEXTURE_SIZE = 128


@dataclass(frozen=True)
class Wearable:
    """A mesh that moves with a joint: 0 the root (torso), 1 the neck (skull).

    tint: linear RGB. texture: linear (S, S, 3) that repeats, or None. roughness: GGX alpha.
    specular: reflectance at normal incidence. transparency: 0 opaque; else the share of light
    that passes (lenses).
    """

    mesh: Mesh
    joint: int
    surface: Surface
    tint: _Array
    roughness: float = 0.6
    specular: float = 0.03
    bump_m: float = 0.0
    texture: NDArray[np.float32] | None = None
    height: NDArray[np.float32] | None = None
    transparency: float = 0.0

    @cached_property
    def packed(self) -> NDArray[np.uint8] | None:
        """The texture as drawing reads it, see `materials.TEXTURE_CHANNELS`."""
        if self.texture is None or self.height is None:
            return None
        return pack_texture(self.texture, self.height, np.ones_like(self.height))

    @cached_property
    def occlusion(self) -> NDArray[np.float32]:
        """(n,) share of ambient light at the vertices: less under the chin."""
        if self.joint != 0 or len(self.mesh.vertices) == 0:
            return np.ones(len(self.mesh.vertices), np.float32)
        top = self.mesh.vertices[:, 1].max()
        return np.clip(0.45 + (top - self.mesh.vertices[:, 1]) / 0.10, 0.45, 1).astype(np.float32)


@dataclass(frozen=True)
class FitPoints:
    """Where things sit on a person's neutral head, metres in the head's frame.

    eyes: (2, 3) centres of the eyeballs, left first. sellion: (3,). ears: (2, 3) where temples
    rest. hem: (n, 3) lowest ring of the neck, in any order. brow_m:
    z of the brows where they stand out most.
    """

    eyes: _Array
    sellion: _Array
    ears: _Array
    hem: _Array
    brow_m: float


def surface_color(rng: np.random.Generator) -> _Array:
    """Linear RGB of a fabric or plastic: often dark or grey, sometimes vivid."""
    value = np.exp(rng.uniform(np.log(0.012), np.log(0.75)))
    return np.clip(
        value * np.exp(rng.normal(0, rng.choice([0.06, 0.25, 0.6], p=[0.5, 0.35, 0.15]), 3)),
        0.006,
        0.85,
    )


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
        ear = fit.ears[0 if side > 0 else 1]
        out = [side * 0.004, 0.002, 0]
        temple = np.array(
            [hinge, hinge + [side * 0.004, 0, -0.006], 0.5 * (hinge + ear) + out, ear + out,
             ear + [side * 0.002, -0.02, -0.018]]
        )  # fmt: skip
        frame.append(tube(temple, np.array([[0.7 * thick, rng.uniform(0.8, 1.8) * thick]] * 5), 6))
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


def _shell(skull: Skull, inside: Any, clearance: Any, rows: int = 30, columns: int = 60) -> Mesh:
    """The head's surface moved out by clearance(polar, azimuth), where inside(polar, azimuth).

    polar: radians from straight up; azimuth: radians from the face over the left side.
    """
    polar, azimuth = np.meshgrid(
        np.linspace(0.02, np.pi - 0.25, rows), np.linspace(-np.pi, np.pi, columns), indexing="ij"
    )
    unit = np.stack(
        [np.sin(polar) * np.sin(azimuth), np.cos(polar), np.sin(polar) * np.cos(azimuth)], axis=-1
    )
    radius = skull.radius_along(unit) + clearance(polar, azimuth)
    mesh = sheet(skull.center + unit * radius[..., None], repeat=6.0)
    keep = inside(polar, azimuth).ravel()[mesh.triangles].all(axis=1)
    return Mesh(mesh.vertices, mesh.triangles[keep], mesh.uv)


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
    dome = _shell(skull, lambda p, a: p < rim(a) + 0.06, clearance)
    pieces = [dome]
    if kind == "beanie" and rng.random() < 0.7:
        cuff = rng.uniform(0.15, 0.3)
        pieces.append(
            _shell(
                skull,
                lambda p, a: (p > rim(a) - cuff) & (p < rim(a) + 0.09),
                lambda p, a: clearance(p, a) + 0.004,
            )  # fmt: skip
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
    wide, top, bottom = rng.uniform(0.80, 0.98), rng.uniform(0.78, 1.0), rng.uniform(2.15, 2.35)
    loose = rng.uniform(0.006, 0.014)
    folds = rng.standard_normal((6, 2)) * [0.0016, 1]

    def inside(polar: _Array, azimuth: _Array) -> NDArray[np.bool_]:
        middle, half = (top + bottom) / 2, (bottom - top) / 2
        return (azimuth / wide) ** 2 + ((polar - middle) / half) ** 2 > 1

    def clearance(polar: _Array, azimuth: _Array) -> _Array:
        waves = sum(f * np.sin((k + 3) * azimuth + 2 * polar + p) for k, (f, p) in enumerate(folds))
        return loose + waves + 0.03 * np.maximum(polar - 2.0, 0)

    return [dressed(_shell(skull, inside, clearance, 56, 110), 1, fabric(rng))]


@dataclass(frozen=True)
class Fabric:
    """texture: (S, S, 3) linear, repeats. height: (S, S) in [0, 1]. bump_m: of height 1."""

    texture: NDArray[np.float32]
    height: NDArray[np.float32]
    bump_m: float


def fabric(rng: np.random.Generator) -> Fabric:
    """A repeating cloth: plain, striped, checked or printed, with its weave or knit."""
    size = CLOTH_TEXTURE_SIZE
    y, x = np.mgrid[0:size, 0:size] / size
    base, second = surface_color(rng), surface_color(rng)
    kind = rng.choice(5, p=[0.5, 0.16, 0.12, 0.12, 0.1])
    bars = int(rng.integers(2, 9))
    pattern = [
        np.zeros((size, size)),
        (np.sin(2 * np.pi * bars * y) > rng.uniform(-0.6, 0.6)).astype(float),
        0.5 * (np.sin(2 * np.pi * bars * y) > 0) + 0.5 * (np.sin(2 * np.pi * bars * x) > 0),
        (fractal_noise(rng, size, 4, 16) > rng.uniform(0, 1)).astype(float),
        (np.hypot(np.mod(x * bars, 1) - 0.5, np.mod(y * bars, 1) - 0.5) < 0.28).astype(float),
    ][kind][..., None]
    color = base * (1 - pattern) + second * pattern
    threads = int(rng.choice([16, 32, 48]))
    weave = np.sin(2 * np.pi * threads * x) * np.sin(2 * np.pi * threads * y)
    ribs = np.abs(np.sin(np.pi * threads * x))
    height = 0.5 + 0.3 * (weave if rng.random() < 0.6 else ribs - 0.5)
    wool = 0.1 * fractal_noise(rng, size, 16, 128, 0.2)
    color = color * (0.85 + 0.3 * height[..., None] + wool[..., None])
    return Fabric(
        np.clip(color, 0.003, 1).astype(np.float32),
        np.clip(height + 0.5 * wool, 0, 1).astype(np.float32),
        float(rng.uniform(0.0002, 0.0008)),
    )


def dressed(mesh: Mesh, joint: int, cloth: Fabric) -> Wearable:
    """A mesh that wears a cloth."""
    return Wearable(
        mesh, joint, Surface.MATTE, np.ones(3), 0.8, 0.02, cloth.bump_m, cloth.texture, cloth.height
    )


def _torso_rings(fit: FitPoints, rng: np.random.Generator, sides: int = 48) -> _Array:
    """Rings (rows, sides, 3) from inside the neck's hem down to the chest."""
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
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    power = 2 + 0.8 * widen[:, None]
    c, s = np.cos(angle)[None], np.sin(angle)[None]
    rings = np.empty((len(drop), sides, 3))
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
            pieces.append(sheet(np.stack([upper + [0, 0.001, 0], flap]), closed=True, repeat=5.0))
    return [body, dressed(join(pieces), 0, fabric(rng))]
