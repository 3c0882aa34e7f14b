"""Synthetic people: an identity and everything that gives it its looks, from one generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import cv2
import numpy as np
from numpy.typing import NDArray

from flowface_ros.head.model import HeadModel
from flowface_ros.head.skinning import neutral_joints, pose_vertices
from flowface_ros.head.state import neutral_state
from flowface_ros.synth import eyes, hair, skin, wear
from flowface_ros.synth.geometry import HeadTables, head_tables, triangle_frames
from flowface_ros.synth.hair import HairStyle, Strands
from flowface_ros.synth.lashes import make_lashes
from flowface_ros.synth.mouth import paint_tooth
from flowface_ros.synth.skin_map import SkinMap
from flowface_ros.synth.skull import Skull, skull_of
from flowface_ros.synth.textures import pack_texture
from flowface_ros.synth.wear import FitPoints, Wearable

_Array = NDArray[np.float64]

DEFAULT_TEXTURE_SIZE = 1024
DEFAULT_HAIR_STRANDS = 4500

_SHAPE_SIGMA = 0.8
"""Identities are drawn a little tamer than the basis says: at 1 some skulls are odd."""

_SHAPE_LIMIT = 2.2

_FULL_BEARD = 9000
"""Strands of a full beard."""

_SMALLEST_TEXTURE = 64


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


@dataclass(frozen=True)
class Person:
    """An identity and its looks.

    model: the head that it wears. shape: (S,) float64 coefficients of the identity.
    skin: the atlas texture (T, T, 5) uint8 (see `materials.TEXTURE_CHANNELS`) and its halvings.
    eye: (E, E, 5) uint8, an eyeball from the front. teeth: (K, K, 5) uint8, one tooth. melanin: 0 (lightest skin) to 1.
    skin_roughness: GGX alpha. hair: strands. wearables: glasses, hats, clothes; metres on the
    neutral head. scalp_shade: ambient light that reaches the skin under the hair.
    skull_center: (3,) metres in the neutral head's frame. description: looks in words and
    numbers, for reports.
    """

    model: HeadModel
    shape: _Array
    skin: tuple[NDArray[np.uint8], ...]
    eye: NDArray[np.uint8]
    teeth: NDArray[np.uint8]
    melanin: float
    skin_roughness: float
    hair: tuple[StrandLook, ...]
    wearables: tuple[Wearable, ...]
    scalp_shade: float
    skull_center: _Array
    description: dict[str, Any]


@dataclass(frozen=True)
class Odds:
    """How often people wear things, as probabilities."""

    glasses: float = 0.25
    hat: float = 0.10
    scarf: float = 0.05
    clothes: float = 1.0


_skin_maps: WeakKeyDictionary[HeadModel, dict[int, SkinMap]] = WeakKeyDictionary()


def skin_map_of(model: HeadModel, size: int) -> SkinMap:
    """The model's painting tables at a texture size, made once."""
    maps = _skin_maps.setdefault(model, {})
    if size not in maps:
        maps[size] = SkinMap(model, size)
    return maps[size]


def sample_person(
    model: HeadModel,
    rng: np.random.Generator,
    texture_size: int = DEFAULT_TEXTURE_SIZE,
    hair_strands: int = DEFAULT_HAIR_STRANDS,
    odds: Odds | None = None,
    hair_style: HairStyle | None = None,
) -> Person:
    """A person whose every trait is drawn from `rng`; the same state gives the same person.

    texture_size: texels across the skin's texture, a power of two from 64 on. hair_strands: on a
    full head of hair. odds: of things worn. hair_style: drawn when None.
    """
    if texture_size < _SMALLEST_TEXTURE or texture_size & (texture_size - 1):
        raise ValueError(f"texture_size is {texture_size}, must be a power of two from 64 on")
    odds = odds or Odds()
    shape = np.clip(rng.normal(0, _SHAPE_SIGMA, model.shape_count), -_SHAPE_LIMIT, _SHAPE_LIMIT)
    tables = head_tables(model)
    skin_look = skin.sample_skin_look(rng)
    style = hair_style or hair.sample_hair_style(rng)
    color, grey = hair.hair_color(rng, skin_look.melanin, skin_look.age)
    covered = rng.random() < odds.scarf
    if covered:
        style = replace(style, name="buzz", length_m=0.004, volume_m=0.003)
    skin_map = skin_map_of(model, texture_size)
    cover = {"bald": 0.1 * rng.random(), "buzz": rng.uniform(0.35, 0.8)}.get(style.name, 0.93)
    raised = float(rng.normal(0, 0.006))
    density = tables.hairline.density(skin_map.position, raised, style.recession)
    ground = skin.HairGround(density, cover)
    painted = skin.paint_skin(skin_map, skin_look, _mixed(color, grey), ground, rng)
    fitted = _Fitted.of(model, shape, tables)
    strands = _scalp_hair(fitted, style, raised, hair.dyed(color, rng), grey, hair_strands, rng)
    strands += _face_hair(fitted, skin_map, skin_look, color, grey, rng)
    strands.append(_lash_hair(tables, color, skin_look.make_up, rng))
    eye_look = eyes.sample_eye_look(rng, skin_look.melanin)
    eye_color, eye_gloss = eyes.paint_eye(eye_look, tables.iris_share, rng)
    worn = _worn(fitted, painted.albedo[skin_map.inside & (skin_map.group("neck") > 0.5)],
                 odds, style, covered, rng)  # fmt: skip
    return Person(
        model=model,
        shape=shape,
        skin=_pyramid(pack_texture(painted.albedo, painted.height, painted.gloss)),
        eye=pack_texture(eye_color, np.full_like(eye_gloss, 0.5), eye_gloss),
        teeth=paint_tooth(rng),
        melanin=skin_look.melanin,
        skin_roughness=float(rng.uniform(0.30, 0.48)),
        hair=tuple(strands),
        wearables=tuple(worn),
        scalp_shade=1.0 if style.length_m < 0.01 else 0.55,
        skull_center=fitted.skull.center,
        description={"skin": skin_look, "hair": style, "hair_color": color, "grey": grey,
                     "eyes": eye_look, "scarf": covered},
    )  # fmt: skip


def _mixed(color: _Array, grey: float) -> _Array:
    return color * (1 - grey) + 0.35 * grey


def _pyramid(texture: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], ...]:
    levels = [texture]
    while len(levels[-1]) > _SMALLEST_TEXTURE:
        half = len(levels[-1]) // 2
        channels = [
            cv2.resize(
                np.ascontiguousarray(levels[-1][..., k]), (half, half), interpolation=cv2.INTER_AREA
            )
            for k in range(texture.shape[-1])
        ]
        levels.append(np.stack(channels, axis=-1))
    return tuple(levels)


@dataclass(frozen=True)
class _Fitted:
    """A person's neutral head and where things sit on it."""

    tables: HeadTables
    vertices: _Array
    normals: _Array
    skull: Skull
    fit: FitPoints

    @staticmethod
    def of(model: HeadModel, shape: _Array, tables: HeadTables) -> _Fitted:
        state = replace(neutral_state(model), shape=shape)
        vertices = pose_vertices(model, state)
        joints = neutral_joints(model, state)
        smooth = np.setdiff1d(model.vertex_groups["skin"], model.vertex_groups["ears"])
        landmarks = model.landmarks["ibug68"].interpolate(model.triangles, vertices)
        ears = vertices[model.vertex_groups["ears"]]
        top = np.quantile(ears[:, 1], 0.8)
        rests = []
        for side in (1.0, -1.0):
            ear = ears[ears[:, 0] * side > 0]
            upper = ear[np.abs(ear[:, 1] - top) < 0.006]
            inner = np.quantile(np.abs(upper[:, 0]), 0.2)
            rests.append([side * inner, top + 0.002, np.quantile(upper[:, 2], 0.6)])
        scalp = vertices[model.vertex_groups["scalp"]]
        center = np.array([0.0, np.quantile(ears[:, 1], 0.9), scalp[:, 2].mean()])
        fit = FitPoints(
            eyes=joints[3:5],
            sellion=model.landmarks["sellion"].interpolate(model.triangles, vertices)[0],
            ears=np.array(rests),
            hem=vertices[tables.hem],
            brow_m=float(landmarks[[18, 19, 20, 23, 24, 25], 2].max()),
        )
        return _Fitted(
            tables, vertices, tables.normals_of(vertices), skull_of(vertices[smooth], center), fit
        )


def _scalp_hair(
    f: _Fitted,
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

    def density(template: _Array, places: _Array) -> _Array:
        ragged = template + rng.normal(0, 0.003, template.shape)
        return f.tables.hairline.density(ragged, raised, style.recession)

    roots = hair.sample_roots(f.tables, f.vertices, f.normals, density, wanted, rng)
    segments = {"buzz": 1, "short": 4, "afro": 4, "curly": 12}.get(style.name, 9)
    grown = hair.grow_hair(roots, style, f.skull, rng, segments)
    looks = [
        StrandLook(
            grown, color, grey, float(rng.uniform(0.08, 0.2)), float(rng.uniform(0.03, 0.12))
        )
    ]
    if style.name == "tied":
        bun = _bun(f, color, rng)
        looks.append(replace(looks[0], strands=bun))
    return looks


def _bun(f: _Fitted, color: _Array, rng: np.random.Generator) -> Strands:
    """A knot, or a tail that hangs, where tied hair comes together."""
    knot = f.skull.center + np.array([0.0, 0.01, -0.118])
    count, size = 500, 8
    s = np.linspace(0, 1, size)
    if rng.random() < 0.5:
        turn = 2 * np.pi * (s[None] * 0.9 + rng.random((count, 1)))
        axis = hair._unit(rng.standard_normal((count, 3)) * [1, 1, 0.4])
        a = hair._unit(np.cross(axis, [0.3, 0.2, 1.0]))
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


def _face_hair(
    f: _Fitted, skin_map: SkinMap, look: skin.SkinLook, color: _Array, grey: float,
    rng: np.random.Generator,
) -> list[StrandLook]:  # fmt: skip
    """Strands of a beard that stands off the skin; shorter ones are in the texture."""
    if look.beard in ("none", "stubble"):
        return []
    length = float(np.exp(rng.uniform(np.log(0.003), np.log(0.03))))
    field = skin.beard_field(skin_map, look.beard)
    count = int(
        5000 * look.beard_density * {"full": 1.0, "goatee": 0.35, "moustache": 0.18}[look.beard]
    )

    def density(template: _Array, places: _Array) -> _Array:
        texel = np.clip((places * skin_map.size).astype(int), 0, skin_map.size - 1)
        return np.where(field[texel[:, 1], texel[:, 0]] > 0.3, field[texel[:, 1], texel[:, 0]], 0)

    roots = hair.sample_roots(f.tables, f.vertices, f.normals, density, count, rng)
    if not len(roots.points):
        return []
    anchor = f.tables.skin_triangles_index[roots.triangle]
    strands = hair.grow_beard(replace(roots, triangle=anchor), length, rng)
    origin, frame = triangle_frames(f.vertices, f.tables.triangles[anchor])
    local = np.einsum("nij,nki->nkj", frame, strands.points - origin[:, None])
    beard_color = color * np.array([1.15, 0.95, 0.85])
    return [
        StrandLook(replace(strands, points=local.astype(np.float32)), beard_color, grey, 0.25, 0.04)
    ]


def _lash_hair(
    tables: HeadTables, color: _Array, make_up: float, rng: np.random.Generator
) -> StrandLook:
    dark = np.full(3, 0.006) if make_up > 0 else 0.5 * color
    return StrandLook(make_lashes(tables, make_up, rng), dark, 0.0, 0.3, 0.03, on_lids=True)


def _worn(
    f: _Fitted, neck_albedo: NDArray, odds: Odds, style: HairStyle, covered: bool,
    rng: np.random.Generator,
) -> Sequence[Wearable]:  # fmt: skip
    worn: list[Wearable] = []
    if rng.random() < odds.glasses:
        worn += wear.make_glasses(f.fit, rng)
    if covered:
        worn += wear.make_scarf(f.skull, rng)
    elif rng.random() < odds.hat and style.name != "afro":
        worn += wear.make_hat(f.skull, style.volume_m, rng)
    if rng.random() < odds.clothes:
        worn += wear.make_torso(f.fit, np.median(neck_albedo, axis=0).astype(float), rng)
    return worn
