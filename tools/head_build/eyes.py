"""Eyeballs and lids."""

from __future__ import annotations

import numpy as np
from head_build.topology import EYE_LEFT, EYE_RIGHT, Topology, eyeball_directions
from numpy.typing import NDArray

Array = NDArray[np.float64]

EYE_RADIUS = 0.0165


def centre(topology: Topology, vertices: Array, part: int) -> Array:
    """An eyeball's centre: midway between its poles."""
    ball = topology.part_vertices(part)
    return 0.5 * (vertices[ball[0]] + vertices[ball[-1]])


def midpoint(topology: Topology, vertices: Array) -> Array:
    return 0.5 * (centre(topology, vertices, EYE_LEFT) + centre(topology, vertices, EYE_RIGHT))


def place_eyeballs(topology: Topology, vertices: Array) -> Array:
    placed = vertices.copy()
    for part, mirrored in ((EYE_LEFT, False), (EYE_RIGHT, True)):
        ball = topology.part_vertices(part)
        placed[ball] = centre(topology, vertices, part) + EYE_RADIUS * eyeball_directions(mirrored)
    return placed


def keep_lids_on_eyeballs(topology: Topology, template: Array, basis: Array) -> Array:
    return basis
