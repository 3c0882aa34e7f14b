"""Regions of the face, by texel of a grid, that figures are reported for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flowface_ros.head.atlas import texel_grid
from flowface_ros.head.model import HeadModel
from flowface_ros.head.surface import SurfacePoints

REGIONS = ("eyelids", "lips", "nose", "brows", "face", "ears", "neck", "scalp")
"""From the most special to the most general; a texel belongs to the first that holds it."""


def texel_regions(model: HeadModel, grid: int) -> NDArray[np.int64]:
    """`point_regions` of a grid's valid texels (Q,)."""
    return point_regions(model, texel_grid(model, grid).points)


def point_regions(model: HeadModel, points: SurfacePoints) -> NDArray[np.int64]:
    """Row of `REGIONS` of surface points (N,); -1 for what is in none.

    A point is in a group of vertices when the nearest corner of its triangle is. ValueError when
    the head lacks a group.
    """
    nearest = model.triangles[points.triangle, points.barycentric.argmax(axis=1)]
    region = np.full(len(points), -1)
    for row, name in reversed(list(enumerate(REGIONS))):
        if name not in model.vertex_groups:
            raise ValueError(f"the head {model.name!r} has no vertex group {name!r}")
        member = np.zeros(model.vertex_count, bool)
        member[model.vertex_groups[name]] = True
        region[member[nearest]] = row
    return region


SKIN_REGIONS = tuple(REGIONS.index(n) for n in ("eyelids", "lips", "nose", "brows", "face"))
"""What is meant by the face's skin."""
