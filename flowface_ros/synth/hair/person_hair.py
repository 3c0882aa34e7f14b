"""The hair of a person: on the scalp, in the face, on the lids."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flowface_ros.synth.anatomy.fitted_head import FittedHead
from flowface_ros.synth.anatomy.head_tables import HeadTables, triangle_frames
from flowface_ros.synth.anatomy.skin_hair import beard_field
from flowface_ros.synth.anatomy.skin_look import SkinLook
from flowface_ros.synth.anatomy.skin_map import SkinMap
from flowface_ros.synth.hair.beard import grow_beard
from flowface_ros.synth.hair.lashes import make_lashes
from flowface_ros.synth.hair.strands import Strands, grow_hair, sample_roots, unit
from flowface_ros.synth.hair.style import HairStyle

_Array = NDArray[np.float64]

_FULL_BEARD = 9000
"""Strands of a full beard."""


@dataclass(frozen=True)
class StrandLook:
    """Hair of one kind.

    strands: with points in the frame of their anchor triangle where they have one. color: linear
    RGB (3,). grey: share without pigment. roughness, specular: of its highlights. on_lids:
    eyelashes, whose frames are those of `lashes.lash_frames`.
    """

    strands: Strands
    color: _Array
    grey: float
    roughness: float
    specular: float
    on_lids: bool = False


def scalp_hair(
    f: FittedHead,
    style: HairStyle,
    raised: float,
    color: _Array,
    grey: float,
    count: int,
    rng: np.random.Generator,
) -> list[StrandLook]:
    if style.name == "bald":
        return []
    wanted = int(count * {"buzz": 0.8, "afro": 1.3}.get(style.name, 1.0))

    def density(template: _Array, places: _Array) -> NDArray[np.floating]:
        ragged = template + rng.normal(0, 0.003, template.shape)
        return f.tables.hairline.density(ragged, raised, style.recession)

    roots = sample_roots(f.tables, f.vertices, f.normals, density, wanted, rng)
    segments = {"buzz": 1, "short": 4, "afro": 7, "curly": 12}.get(style.name, 9)
    grown = grow_hair(roots, style, f.skull, rng, segments)
    looks = [
        StrandLook(
            grown, color, grey, float(rng.uniform(0.08, 0.2)), float(rng.uniform(0.03, 0.12))
        )
    ]
    if style.name == "tied":
        bun = _bun(f, color, rng)
        looks.append(replace(looks[0], strands=bun))
    return looks


def _bun(f: FittedHead, color: _Array, rng: np.random.Generator) -> Strands:
    """A knot, or a tail that hangs, where tied hair comes together."""
    knot = f.skull.center + np.array([0.0, 0.01, -0.118])
    count, size = 500, 8
    s = np.linspace(0, 1, size)
    if rng.random() < 0.5:
        turn = 2 * np.pi * (s[None] * 0.9 + rng.random((count, 1)))
        axis = unit(rng.standard_normal((count, 3)) * [1, 1, 0.4])
        a = unit(np.cross(axis, [0.3, 0.2, 1.0]))
        b = np.cross(axis, a)
        radius = rng.uniform(0.012, 0.034, (count, 1, 1))
        points = knot + [0, 0, -0.014] + radius * (np.cos(turn)[..., None] * a[:, None] + np.sin(turn)[..., None] * b[:, None])  # fmt: skip  # noqa: E501
    else:
        spread = rng.standard_normal((count, 1, 3)) * [0.012, 0.010, 0.012]
        fall = np.stack([0 * s, 0.03 * s - 0.25 * s**2, -0.05 * np.sqrt(s)], axis=-1)
        points = knot + spread * (0.4 + np.sin(np.pi * s[:, None] ** 0.7)) + fall * rng.uniform(0.8, 1.1, (count, 1, 1))  # fmt: skip  # noqa: E501
    return Strands(
        points.astype(np.float32),
        np.broadcast_to(0.0009 * (1 - 0.6 * s**2), (count, size)).astype(np.float32),
        rng.normal(0.5, 0.2, count).clip(0, 1).astype(np.float32),
        rng.uniform(0.4, 1, (count, 1)).astype(np.float32) * np.ones(size, np.float32),
    )


def face_hair(
    f: FittedHead, skin_map: SkinMap, look: SkinLook, color: _Array, grey: float,
    rng: np.random.Generator,
) -> list[StrandLook]:  # fmt: skip
    """Strands of a beard that stands off the skin; shorter ones are in the texture."""
    if look.beard in ("none", "stubble"):
        return []
    length = float(np.exp(rng.uniform(np.log(0.003), np.log(0.03))))
    field = beard_field(skin_map, look.beard)
    count = int(
        5000 * look.beard_density * {"full": 1.0, "goatee": 0.35, "moustache": 0.18}[look.beard]
    )

    def density(template: _Array, places: _Array) -> _Array:
        texel = np.clip((places * skin_map.size).astype(int), 0, skin_map.size - 1)
        return np.where(field[texel[:, 1], texel[:, 0]] > 0.3, field[texel[:, 1], texel[:, 0]], 0)

    roots = sample_roots(f.tables, f.vertices, f.normals, density, count, rng)
    if not len(roots.points):
        return []
    anchor = f.tables.skin_triangles_index[roots.triangle]
    strands = grow_beard(replace(roots, triangle=anchor), length, rng)
    origin, frame = triangle_frames(f.vertices, f.tables.triangles[anchor])
    local = np.einsum("nij,nki->nkj", frame, strands.points - origin[:, None])
    beard_color = color * np.array([1.15, 0.95, 0.85])
    return [
        StrandLook(replace(strands, points=local.astype(np.float32)), beard_color, grey, 0.25, 0.04)
    ]


def lash_hair(
    tables: HeadTables, color: _Array, make_up: float, rng: np.random.Generator
) -> StrandLook:
    dark = np.full(3, 0.006) if make_up > 0 else 0.5 * color
    return StrandLook(make_lashes(tables, make_up, rng), dark, 0.0, 0.3, 0.03, on_lids=True)
