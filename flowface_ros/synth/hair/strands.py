"""Hair as strands, and how it grows on the scalp in several styles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from flowface_ros.synth.anatomy.head_tables import HeadTables
from flowface_ros.synth.anatomy.skull import Skull
from flowface_ros.synth.hair.style import HairStyle
from flowface_ros.synth.textures import smoothstep

_Array = NDArray[np.float64]

_FULL_HEAD = 4500
"""Strands whose widths are as given; fewer are wider."""


@dataclass(frozen=True)
class Strands:
    """n strands of k points each, drawn as ribbons that face the camera.

    points: (n, k, 3) metres on the neutral head of its person. half_width: (n, k) metres.
    tone: (n,) in [0, 1], lightness of a strand among the others.
    occlusion: (n, k), share of ambient light that arrives.
    anchor: (n,) int32 triangles that the strands move with, or None: they move with the skull.
    """

    points: NDArray[np.float32]
    half_width: NDArray[np.float32]
    tone: NDArray[np.float32]
    occlusion: NDArray[np.float32]
    anchor: NDArray[np.int32] | None = None

    @cached_property
    def coarser(self) -> Strands:
        """With about half as many points a strand, where that keeps 95 % of its length."""
        size = self.points.shape[1]
        kept = np.unique(np.rint(np.linspace(0, size - 1, size // 2 + 1)).astype(int))
        lengths = [
            np.linalg.norm(np.diff(points, axis=1), axis=2).sum()
            for points in (self.points, self.points[:, kept])
        ]
        if lengths[1] < 0.95 * lengths[0]:
            return self
        return replace(
            self,
            points=np.ascontiguousarray(self.points[:, kept]),
            half_width=np.ascontiguousarray(self.half_width[:, kept]),
            occlusion=np.ascontiguousarray(self.occlusion[:, kept]),
        )


@dataclass(frozen=True)
class Roots:
    """Where strands start, on a person's neutral head.

    points, normals: (n, 3). template: (n, 3) the same places on the template. triangle: (n,)
    index among those that were sampled. density: (n,) in [0, 1], how densely hair grows there.
    """

    points: _Array
    normals: _Array
    template: _Array
    triangle: NDArray[np.int32]
    density: _Array


DensityAt = Callable[[_Array, _Array], NDArray[np.floating]]
"""Density (n,) in [0, 1] at template places (n, 3) and atlas places (n, 2)."""

_CANDIDATES = 6
"""Places tried per root that is wanted, spread evenly over the skin."""


def sample_roots(
    tables: HeadTables,
    vertices: _Array,
    normals: _Array,
    density_at: DensityAt,
    count: int,
    rng: np.random.Generator,
) -> Roots:
    """At most `count` roots, as densely as `density_at` says, on vertices and normals (V, 3)."""
    triangles = tables.skin_triangles
    corners = tables.template[triangles]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(cross, axis=1)
    tried = _CANDIDATES * count
    triangle = rng.choice(len(triangles), tried, p=area / area.sum())
    weights = rng.dirichlet(np.ones(3), tried)[..., None]

    def at(values: _Array) -> _Array:
        return (values[triangles[triangle]] * weights).sum(axis=1)

    template = at(tables.template)
    places = (tables.skin_uv[triangle] * weights).sum(axis=1)
    density = np.asarray(density_at(template, places), np.float64)
    kept = np.flatnonzero(rng.random(tried) < density)[:count]
    return Roots(
        at(vertices)[kept],
        unit(at(normals)[kept]),
        template[kept],
        triangle[kept].astype(np.int32),
        density[kept],
    )


def unit(vectors: _Array) -> _Array:
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-9)


def coherent(points: _Array, rng: np.random.Generator, wavelength_m: float) -> _Array:
    """Smooth noise (n, 3) of points (n, 3), so that neighbouring strands lean alike."""
    waves = rng.standard_normal((3, 8)) * (2 * np.pi / wavelength_m) / np.sqrt(3)
    return np.sin(points @ waves + rng.uniform(0, 2 * np.pi, 8)) @ rng.standard_normal((8, 3)) / 2


_WHORL = np.array([0.01, 0.095, -0.045])
"""Where hair turns outwards, from the middle of the skull."""

_TIED_CLEARANCE_M = 0.012
"""Tied hair lies this close to the head, but for its end at the knot."""

_KNOT = np.array([0.0, 0.01, -0.125])
"""Where tied hair comes together."""


def _combed(points: _Array, out: _Array, style: HairStyle, skull: Skull, fringe: _Array) -> _Array:
    """Unit direction (n, 3) in which hair is combed at points (n, 3) with outward directions."""
    local = points - skull.center
    side = np.tanh((local[:, 0] - style.part_m) / 0.012)
    aside = np.stack([side, np.full_like(side, -0.35), np.full_like(side, -0.30)], axis=1)
    if style.comb == "tied":
        flow = skull.center + _KNOT - points
    elif style.comb == "back":
        flow = np.tile([0.0, 0.25, -1.0], (len(points), 1))
    elif style.comb == "side":
        flow = aside
    else:
        # Out of the whorl; long hair in front is parted, so that it does not hang over the face.
        parted = np.clip(local[:, 2:] / 0.04, 0, 1) * (style.length_m > 0.07)
        flow = unit(local - _WHORL) * (1 - parted) + aside * parted
    forward = np.stack([0.35 * np.sign(style.part_m) * np.ones(len(points)), -0.6 + 0 * local[:, 0], np.ones(len(points))], axis=1)  # fmt: skip  # noqa: E501
    flow = unit(flow) * (1 - fringe[:, None]) + unit(forward) * fringe[:, None]
    return unit(flow - (flow * out).sum(axis=1, keepdims=True) * out)


def grow_hair(
    roots: Roots, style: HairStyle, skull: Skull, rng: np.random.Generator, segments: int
) -> Strands:
    """Strands of `segments` + 1 points from the roots, which keep clear of the head."""
    count = len(roots.points)
    front = roots.points[:, 2] - skull.center[2]
    fringe = (front > 0.045) * (style.fringe_m > 0) * (np.abs(roots.points[:, 0]) < 0.055)
    length = _lengths(roots, fringe, style, skull, rng)
    layer = rng.beta(1.5, 1.0, count)
    lean = coherent(roots.points, rng, 0.07) * 0.22 + rng.normal(0, 0.07, (count, 3))
    lean *= 0.25 if style.name == "tied" else 1.0
    lift = {"afro": 3.0, "buzz": 0.9, "short": 0.35, "curly": 0.5}.get(style.name, 0.12)
    points = np.empty((count, segments + 1, 3))
    points[:, 0] = roots.points
    position = roots.points.copy()
    start = _combed(roots.points, roots.normals, style, skull, fringe.astype(float))
    direction = unit(start + lift * roots.normals)
    step = (length / segments)[:, None]
    for i in range(1, segments + 1):
        s = i / segments
        out = unit(position - skull.center)
        combed = _combed(position, out, style, skull, fringe.astype(float)) + lean
        clear = np.linalg.norm(position - skull.center, axis=1) - skull.radius_along(out)
        hang = np.clip(clear / 0.02 + s - 0.5, 0, 1.5)[:, None] * style.gravity
        hang = np.where(fringe[:, None] > 0, 0.15 * s, hang)
        wish = combed + lift * (1 - s) ** 2 * roots.normals * 1.2 - hang * np.array([0.0, 1.6, 0.0])
        local = position - skull.center
        over_face = smoothstep(local[:, 2], 0.035, 0.06) * smoothstep(-local[:, 1], -0.05, 0.0)
        over_face *= smoothstep(np.abs(local[:, 0]), 0.075, 0.05) * (1 - fringe)
        wish[:, 0] += 2.5 * over_face * np.sign(local[:, 0] - 0.2 * style.part_m)
        if style.name == "afro":
            wish = roots.normals + 0.5 * lean + rng.normal(0, 0.7, (count, 3))
        direction = unit(0.45 * direction + 0.55 * unit(wish))
        position = position + direction * step
        room = style.volume_m * layer * np.minimum(1.0, 3 * s)
        position = skull.pushed_out(position, 0.0015 + room * (0.35 if style.name == "afro" else 1))
        if style.name not in ("afro", "buzz"):
            position = _held(position, skull, 0.003 + 1.1 * room)
        points[:, i] = position
    points = _curled(_clumped(points, rng, style), style, length, rng)
    tidy = ~_astray(points, fringe > 0, style, skull)
    return _dressed(points[tidy], layer[tidy], style, rng)


def _lengths(
    roots: Roots,
    fringe: NDArray[np.bool_],
    style: HairStyle,
    skull: Skull,
    rng: np.random.Generator,
) -> _Array:
    """(n,) metres."""
    count = len(roots.points)
    length = style.length_m * np.exp(rng.normal(0, 0.13, count)) * (0.55 + 0.45 * roots.density)
    if style.name in ("short", "buzz", "medium"):  # the sides and the neck are cut shorter
        height = np.clip((roots.template[:, 1] - 0.02) / 0.08, 0, 1)
        length *= {"medium": 0.65}.get(style.name, 0.3) * (1 - height) + height
    length = np.where(fringe > 0, style.fringe_m * rng.uniform(0.7, 1.15, count), length)
    if style.name == "tied":
        length = 1.05 * np.linalg.norm(roots.points - skull.center - _KNOT, axis=1)
    return length


def _astray(
    points: _Array, fringe: NDArray[np.bool_], style: HairStyle, skull: Skull
) -> NDArray[np.bool_]:
    """Which strands (n,) cross the face below the forehead, or leave the head though tied back."""
    local = points - skull.center
    over_face = (local[..., 2] > 0.035) & (local[..., 1] < 0.03) & (np.abs(local[..., 0]) < 0.065)
    astray = over_face.any(axis=1) & ~fringe
    if style.name == "tied":
        distance = np.linalg.norm(local, axis=2)
        clear = distance - skull.radius_along(local / distance[..., None])
        astray |= (clear[:, :-2] > _TIED_CLEARANCE_M).any(axis=1)
    return astray


def _held(points: _Array, skull: Skull, most: _Array) -> _Array:
    """Points above the ears drawn back to at most this far from the head: hair lies on it."""
    offset = points - skull.center
    distance = np.linalg.norm(offset, axis=1)
    outward = offset / (distance[:, None] + 1e-9)
    allowed = np.minimum(distance, skull.radius_along(outward) + most)
    hold = np.clip((offset[:, 1] + 0.01) / 0.03, 0, 1)
    return skull.center + outward * (distance + hold * (allowed - distance))[:, None]


def _clumped(points: _Array, rng: np.random.Generator, style: HairStyle) -> _Array:
    """Strands drawn towards a guide strand near them, more so at the tip: locks of hair."""
    count, size = points.shape[:2]
    if count < 20 or style.name in ("buzz", "afro"):
        return points
    guides = rng.choice(count, max(8, count // 14), replace=False)
    away, index = cKDTree(points[guides, 0]).query(points[:, 0])
    offset = points[guides[index]] - points
    # Not to a guide that is combed elsewhere, across a parting.
    alike = (away < 0.015) & (np.linalg.norm(offset, axis=2).max(axis=1) < 0.05)
    pull = np.linspace(0, 1, size) ** 1.3 * rng.uniform(0.25, 0.75)
    return points + offset * pull[None, :, None] * alike[:, None, None]


def _curled(points: _Array, style: HairStyle, length: _Array, rng: np.random.Generator) -> _Array:
    count, size = points.shape[:2]
    if style.curl_m <= 0:
        return points
    s = np.linspace(0, 1, size)
    phase = coherent(points[:, 0], rng, 0.035)[:, :1] * 2 + rng.normal(0, 0.5, (count, 1))
    turn = 2 * np.pi * s * (length / style.curl_pitch_m)[:, None] + phase
    a, b = unit(rng.standard_normal((2, count, 3)))
    wave = np.cos(turn)[..., None] * a[:, None] + np.sin(turn)[..., None] * b[:, None]
    return points + style.curl_m * np.minimum(1, 3 * s)[None, :, None] * wave


def _dressed(points: _Array, layer: _Array, style: HairStyle, rng: np.random.Generator) -> Strands:
    count, size = points.shape[:2]
    s = np.linspace(0, 1, size)
    width: float = 0.00085 if style.name in ("long", "medium", "tied", "curly") else 0.00065
    width *= max(1.0, _FULL_HEAD / max(count, 1)) ** 0.7  # fewer strands have to cover as much
    half_width = width * rng.uniform(0.6, 1.4, (count, 1)) * (1 - 0.75 * s**2)
    half_width *= np.minimum(1, 0.35 + 3 * s)
    occlusion = (0.28 + 0.72 * layer[:, None]) * (0.6 + 0.4 * np.minimum(1, 2.5 * s))
    tone = np.clip(0.5 + 0.5 * (rng.normal(0, 0.33, count)), 0, 1)
    return Strands(
        points.astype(np.float32),
        half_width.astype(np.float32),
        tone.astype(np.float32),
        occlusion.astype(np.float32),
    )
