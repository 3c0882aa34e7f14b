"""What is drawn: the parts of people and things as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[np.float64]


@dataclass
class Piece:
    """A part of a drawn person or thing, in the rig frame.

    position, normal: (n, 3) float64. uv: (n, 2) float32. occlusion: (n,) float32. triangles:
    (f, 3) int32. material: (f,) int32 row of `materials`. textures: of those rows, or None.
    strands: (n strands, k) when it is hair, whose position holds one row per point; half_width:
    (n, k) metres. transparency: 0 opaque; else the share of light that passes.
    """

    position: _Array
    normal: NDArray
    uv: NDArray[np.float32]
    occlusion: NDArray[np.float32]
    triangles: NDArray[np.int32]
    material: NDArray[np.int32]
    materials: NDArray[np.void]
    textures: list[NDArray[np.uint8] | None]
    strands: tuple[int, int] | None = None
    half_width: NDArray[np.float32] | None = None
    transparency: float = 0.0


@dataclass
class PosedPerson:
    """head: the head's own triangles, in the model's order. rest: hair and things worn.
    center: (3,) of the skull, metres in the rig frame."""

    head: Piece
    rest: list[Piece]
    center: _Array
