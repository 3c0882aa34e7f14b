"""Synthetic people: an identity and everything that gives it its looks, from one generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flowface_ros.head.model import HeadModel
from flowface_ros.synth.anatomy import eyes, skin
from flowface_ros.synth.anatomy.fitted_head import FittedHead
from flowface_ros.synth.anatomy.head_tables import head_tables
from flowface_ros.synth.anatomy.mouth import paint_tooth
from flowface_ros.synth.anatomy.skin_hair import HairGround
from flowface_ros.synth.anatomy.skin_look import sample_skin_look
from flowface_ros.synth.anatomy.skin_map import SkinMap
from flowface_ros.synth.hair.person_hair import StrandLook, face_hair, lash_hair, scalp_hair
from flowface_ros.synth.hair.style import HairStyle, dyed, hair_color, sample_hair_style
from flowface_ros.synth.textures import pack_texture
from flowface_ros.synth.things.glasses import make_glasses
from flowface_ros.synth.things.hats import make_hat, make_scarf
from flowface_ros.synth.things.torso import make_torso
from flowface_ros.synth.things.wear import Wearable

_Array = NDArray[np.float64]

DEFAULT_TEXTURE_SIZE = 1024
DEFAULT_HAIR_STRANDS = 4500

_SHAPE_SIGMA = 0.8
"""Identities are drawn a little tamer than the basis says: at 1 some skulls are odd."""

_SHAPE_LIMIT = 2.2

_VOLUME_UNDER_HAT_M = 0.005

_SMALLEST_TEXTURE = 64

_KEPT_SKIN_MAPS = 4
"""Of models and texture sizes: each takes up to a hundred megabytes, and holds its model."""


@dataclass(frozen=True)
class Person:
    """An identity and its looks.

    model: the head that it wears. shape: (S,) float64 coefficients of the identity.
    skin: the atlas texture (T, T, 5) uint8 (see `materials.TEXTURE_CHANNELS`) and its halvings.
    eye: (E, E, 5) uint8, an eyeball from the front. teeth: (K, K, 5) uint8, one tooth.
    melanin: 0 (lightest skin) to 1.
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


@lru_cache(maxsize=_KEPT_SKIN_MAPS)
def skin_map_of(model: HeadModel, size: int) -> SkinMap:
    """The model's painting tables at a texture size; the last ones asked for are kept."""
    return SkinMap(model, size)


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
    skin_look = sample_skin_look(rng)
    style = hair_style or sample_hair_style(rng)
    color, grey = hair_color(rng, skin_look.melanin, skin_look.age)
    style, covered, hatted = _under_headwear(style, odds, rng)
    skin_map = skin_map_of(model, texture_size)
    cover = {"bald": 0.1 * rng.random(), "buzz": rng.uniform(0.35, 0.8)}.get(style.name, 0.93)
    raised = float(rng.normal(0, 0.006))
    density = tables.hairline.density(skin_map.position, raised, style.recession)
    ground = HairGround(density, cover)
    painted = skin.paint_skin(skin_map, skin_look, _mixed(color, grey), ground, rng)
    fitted = FittedHead.of(model, shape, tables)
    strands = scalp_hair(fitted, style, raised, dyed(color, rng), grey, hair_strands, rng)
    strands += face_hair(fitted, skin_map, skin_look, color, grey, rng)
    strands.append(lash_hair(tables, color, skin_look.make_up, rng))
    eye_look = eyes.sample_eye_look(rng, skin_look.melanin)
    eye_color, eye_gloss = eyes.paint_eye(eye_look, tables.iris_share, rng)
    worn = _worn(fitted, painted.albedo[skin_map.inside & (skin_map.group("neck") > 0.5)],
                 odds, style, covered, hatted, rng)  # fmt: skip
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


def _under_headwear(
    style: HairStyle, odds: Odds, rng: np.random.Generator
) -> tuple[HairStyle, bool, bool]:
    """The style as it is under what covers it, whether that is a scarf, and whether a hat."""
    covered = rng.random() < odds.scarf
    if covered:
        style = replace(style, name="buzz", length_m=0.004, volume_m=0.003)
    hatted = rng.random() < odds.hat and not covered
    if hatted:  # a hat presses hair down
        flat = {"afro": "short", "curly": "medium"}.get(style.name, style.name)
        style = replace(style, name=flat, volume_m=min(style.volume_m, _VOLUME_UNDER_HAT_M))
    return style, covered, hatted


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


def _worn(
    f: FittedHead,
    neck_albedo: NDArray,
    odds: Odds,
    style: HairStyle,
    covered: bool,
    hatted: bool,
    rng: np.random.Generator,
) -> Sequence[Wearable]:
    worn: list[Wearable] = []
    if rng.random() < odds.glasses:
        worn += make_glasses(f.fit, rng)
    if covered:
        worn += make_scarf(f.skull, rng)
    elif hatted:
        worn += make_hat(f.skull, style.volume_m, rng)
    if rng.random() < odds.clothes:
        worn += make_torso(f.fit, np.median(neck_albedo, axis=0).astype(float), rng)
    return worn
