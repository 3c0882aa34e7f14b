"""Brows as strands over the painted ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flowface_ros.synth.anatomy.fitted_head import FittedHead
from flowface_ros.synth.anatomy.head_tables import head_tables, triangle_frames
from flowface_ros.synth.hair.person_hair import StrandLook
from flowface_ros.synth.hair.strands import Strands, sample_roots, unit
from flowface_ros.synth.person.person import Person, skin_map_of
from flowface_ros.synth.textures import smoothstep

_FULL, _SEGMENTS = 900, 4
"""Strands of two full brows."""
_HALF_WIDTH_M = 0.00006


def brow_strands(person: Person) -> list[StrandLook]:
    """The same for the same person; none when the brows are very thin."""
    look = person.description["skin"]
    rng = np.random.default_rng(int(1e6 * look.brow_raise_m + 1e9 * look.brow_width_m) % 2**31)
    count = int(_FULL * look.brow_density)
    tables = head_tables(person.model)
    fitted = FittedHead.of(person.model, person.shape, tables)
    skin_map = skin_map_of(person.model, len(person.skin[0]))
    along, above = skin_map.brow
    above = above - look.brow_raise_m
    width = 0.8 * look.brow_width_m * np.interp(along, [0, 0.15, 0.55, 1.05], [0.75, 1, 0.85, 0.25])
    weight = np.exp(-((above / width) ** 4)) * smoothstep(along, -0.08, 0.08)
    weight = weight * smoothstep(along, 1.12, 0.9) * skin_map.inside

    def texels(places: NDArray) -> tuple[NDArray, NDArray]:
        column, row = np.clip((places * skin_map.size).astype(int), 0, skin_map.size - 1).T
        return row, column

    def density(template: NDArray, places: NDArray) -> NDArray:
        return weight[texels(places)]

    # The brows are a hundredth of the skin, so many more places are tried than are wanted.
    roots = sample_roots(tables, fitted.vertices, fitted.normals, density, 60 * count, rng)
    if not len(roots.points):
        return []
    chosen = rng.permutation(len(roots.points))[:count]
    points, normals = roots.points[chosen], roots.normals[chosen]
    side = np.sign(roots.template[chosen, 0])
    place = np.clip((np.abs(roots.template[chosen, 0]) - 0.012) / 0.040, 0, 1)
    rise = np.interp(place, [0, 0.25, 0.6, 1], [1.2, 0.6, 0.15, -0.3]) + rng.normal(
        0, 0.2, len(place)
    )
    lay = np.stack([side * np.interp(place, [0, 0.3], [0.35, 1.0]), rise, -0.3 * place], axis=1)
    lay = unit(lay - (lay * normals).sum(axis=1, keepdims=True) * normals)
    length = rng.uniform(0.005, 0.009, len(place)) * np.interp(place, [0, 0.3, 1], [0.75, 1, 0.7])
    s = np.linspace(0, 1, _SEGMENTS + 1)[None, :, None]
    out = 0.35 * s * (1 - 0.75 * s)
    strands = points[:, None] + length[:, None, None] * (lay[:, None] * s + normals[:, None] * out)
    anchor = tables.skin_triangles_index[roots.triangle[chosen]]
    origin, frame = triangle_frames(fitted.vertices, tables.triangles[anchor])
    local = np.einsum("nij,nki->nkj", frame, strands - origin[:, None])
    color = np.asarray(person.description["hair_color"]) * 0.8
    grown = Strands(
        local.astype(np.float32),
        np.broadcast_to(_HALF_WIDTH_M * (1 - 0.8 * s[..., 0]), local.shape[:2]).astype(np.float32),
        rng.uniform(0.2, 0.7, len(local)).astype(np.float32),
        np.ones(local.shape[:2], np.float32),
        anchor.astype(np.int32),
    )
    return [StrandLook(grown, color, person.description["grey"], 0.25, 0.04)]
