"""Vertex groups."""

from __future__ import annotations

import numpy as np
from head_build import landmarks, mouth, teeth
from head_build.topology import (
    EYE_LEFT,
    EYE_RIGHT,
    MOUTH,
    SKIN,
    SOCKET_LEFT,
    SOCKET_RIGHT,
    TEETH_LOWER,
    TEETH_UPPER,
    TONGUE,
    Topology,
)
from numpy.typing import NDArray

Array = NDArray[np.float64]

LIP_RINGS = 6
"""Rings of the red of the lips, from inside to its border."""


def vertex_groups(topology: Topology, vertices: Array) -> dict[str, NDArray[np.int32]]:
    """Named vertex indices of the symmetric template."""
    skin = topology.part_vertices(SKIN)
    x, y, z = np.abs(vertices[:, 0]), vertices[:, 1], vertices[:, 2]
    on_skin = np.zeros(len(vertices), bool)
    on_skin[skin] = True
    ear = on_skin & (x > 0.0745) & (z < -0.03) & (z > -0.085) & (y > -0.045) & (y < 0.06)
    neck = on_skin & (y < -0.055) & (z < 0.0) & (y < -0.09 - 0.5 * z)
    face = on_skin & ~ear & ~neck & (z > -0.045) & (y < 0.09) & (y > -0.105)
    scalp = on_skin & ~ear & ~neck & ~face
    groups = {"skin": on_skin, "face": face, "ears": ear, "neck": neck, "scalp": scalp}
    ring = mouth.make_lips(topology, vertices).ring
    corner = x[ring == mouth.CONTACT_RING].max()
    lips = on_skin & (ring >= 0) & (ring <= np.where(x < 0.8 * corner, LIP_RINGS, 2))
    lid = {
        name: on_skin & near(vertices, rim(topology, socket), 0.007)
        for name, socket in (("left_eyelids", SOCKET_LEFT), ("right_eyelids", SOCKET_RIGHT))
    }
    groups |= {"lips": lips, "eyelids": lid["left_eyelids"] | lid["right_eyelids"], **lid}
    groups["nose"] = face & (x < 0.019) & (y < 0.012) & (y > -0.026) & (z > 0.035)
    brow = landmarks.BROW_XY
    line = np.interp(x, brow[::-1, 0], brow[::-1, 1])
    groups["brows"] = face & (x > 0.012) & (x < 0.054) & (np.abs(y - line) < 0.006)
    for name, part in (("left_eyeball", EYE_LEFT), ("right_eyeball", EYE_RIGHT), ("tongue", TONGUE),
                       ("upper_teeth", TEETH_UPPER), ("lower_teeth", TEETH_LOWER),
                       ("mouth_cavity", MOUTH)):  # fmt: skip
        groups[name] = np.isin(np.arange(len(vertices)), topology.part_vertices(part))
    groups["gums"] = np.zeros(len(vertices), bool)
    for part in (TEETH_UPPER, TEETH_LOWER):
        rows = topology.part_vertices(part).reshape(teeth.ROWS, teeth.COLUMNS)
        groups["gums"][rows[[0, -1]]] = True
    groups["teeth"] = groups["upper_teeth"] | groups["lower_teeth"]
    return {name: np.flatnonzero(mask).astype(np.int32) for name, mask in groups.items()}


def rim(topology: Topology, part: int) -> NDArray[np.int64]:
    return np.intersect1d(topology.part_vertices(SKIN), topology.part_vertices(part))


def near(vertices: Array, centres: NDArray[np.int64], radius: float) -> NDArray[np.bool_]:
    distance = np.linalg.norm(vertices[:, None] - vertices[None, centres], axis=2)
    return np.asarray(distance.min(axis=1) < radius)
