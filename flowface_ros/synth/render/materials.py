"""Materials: how surfaces answer light, as tables that compiled code reads."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

TEXTURE_CHANNELS = 5
"""Square root of linear R, G, B; height; gloss. All uint8."""


class Surface(IntEnum):
    """How a material answers light."""

    SKIN = 0
    EYE = 1
    HAIR = 2
    MATTE = 3
    GLOSSY = 4


SKIN, EYE, HAIR = int(Surface.SKIN), int(Surface.EYE), int(Surface.HAIR)

MATERIAL_DTYPE = np.dtype(
    [
        ("surface", np.int32),
        ("texture", np.int32),  # first byte in the texture buffer, -1 for none
        ("texture_size", np.int32),
        ("shadow_map", np.int32),  # -1 for none
        ("tint", np.float32, 3),  # multiplies the texture, linear
        ("roughness", np.float32),  # GGX alpha
        ("specular", np.float32),  # reflectance at normal incidence
        ("bump_m", np.float32),  # height of a texel value of 1, metres
        ("grey", np.float32),  # share of hairs without pigment
        ("center", np.float32, 3),  # of the skull (HAIR) in the rig frame
        ("axis", np.float32, 3),  # gaze direction (EYE) in the rig frame
        ("up_px", np.float32, 2),  # image direction of the upper lid (EYE), unit
    ]
)


def _column(name: str) -> int:
    """Place of a field among the 4-byte words of a row."""
    return MATERIAL_DTYPE.fields[name][1] // 4  # type: ignore[index]


SURFACE, TEXTURE, TEXTURE_SIZE = (_column(n) for n in ("surface", "texture", "texture_size"))
SHADOW_MAP, TINT, ROUGHNESS = (_column(n) for n in ("shadow_map", "tint", "roughness"))
SPECULAR, BUMP_M, GREY = (_column(n) for n in ("specular", "bump_m", "grey"))
CENTER, AXIS, UP_PX = (_column(n) for n in ("center", "axis", "up_px"))


def material_words(
    materials: NDArray[np.void],
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """A table of MATERIAL_DTYPE as words (M, n), read as integers and as floats."""
    table = np.ascontiguousarray(materials)
    return (
        table.view(np.int32).reshape(len(table), -1),
        table.view(np.float32).reshape(len(table), -1),
    )


def material_row(
    surface: Surface, tint: NDArray, roughness: float, specular: float, bump_m: float = 0.0
) -> NDArray[np.void]:
    """One row of MATERIAL_DTYPE, without texture or shadow map."""
    row = np.zeros(1, MATERIAL_DTYPE)
    row["surface"], row["texture"], row["shadow_map"] = int(surface), -1, -1
    row["tint"], row["roughness"], row["specular"] = tint, roughness, specular
    row["bump_m"] = bump_m
    return row
