"""People and things as plain arrays, made on CPU cores, that a GPU poses and lights anew.

What a person wears and all hair become one mesh. Each of its vertices rides in a frame: that of
the torso, of the skull, of the scene (things before the face), or of a triangle of the skin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flowface_ros.head.skinning import pose_vertices
from flowface_ros.head.state import neutral_state
from flowface_ros.synth.anatomy.head_tables import HeadTables, head_tables, triangle_frames
from flowface_ros.synth.hair.lashes import LASH_STEPS, lash_frames
from flowface_ros.synth.hair.person_hair import StrandLook
from flowface_ros.synth.person.person import Person
from flowface_ros.synth.render.materials import TEXTURE_CHANNELS, Surface
from flowface_ros.synth.render.ribbons import ribbon_triangles, strand_tangents
from flowface_ros.synth.things.occluders import sample_occluder
from flowface_ros.synth.things.wear import Wearable

TORSO, SKULL, SCENE, FIRST_TRIANGLE = range(4)
"""Frames; from the last on, triangles of the head model in their order."""

_SHADOW_STRIDE = 3
"""Every third strand casts a shadow, three times as wide."""
_MOST_STRANDS = 1500
"""Of one kind; more are thinned and widened."""

MATERIAL_COLUMNS = 11
SURFACE, TEXTURE, SIZE, RED, GREEN, BLUE, ROUGHNESS, SPECULAR, BUMP_M, GREY, PASSES = range(
    MATERIAL_COLUMNS
)
"""Columns of materials: texture is the first texel among the asset's own, -1 for none; passes is
the share of light that a lens lets through, 0 for what is opaque."""


@dataclass(frozen=True)
class MeshPart:
    """n vertices and f triangles.

    position: (n, 3) metres in the vertex's frame. direction: (n, 3) there: the normal, or the
    tangent of a strand. uv: (n, 2). occlusion: (n,). half_width: (n,) metres, signed: where a
    ribbon's corner is beside its strand; 0 of meshes. shadow_width: the same for the shadow map.
    frame: (n,) int32. triangles: (f, 3) int32. material: (f,) int32.
    """

    position: NDArray[np.float32]
    direction: NDArray[np.float32]
    uv: NDArray[np.float32]
    occlusion: NDArray[np.float32]
    half_width: NDArray[np.float32]
    shadow_width: NDArray[np.float32]
    frame: NDArray[np.int32]
    triangles: NDArray[np.int32]
    material: NDArray[np.int32]

    @property
    def floats(self) -> NDArray[np.float32]:
        """(n, 11): the columns above in their order."""
        columns = (self.occlusion, self.half_width, self.shadow_width)
        return np.column_stack([self.position, self.direction, self.uv, *columns])


@dataclass(frozen=True)
class Asset:
    """mesh: hair and things. materials: (M, 11) float32. texels: (T, 5) uint8, all textures one
    after the other. shape: (S,); scalp_shade and skull_center as in `Person`; of a person."""

    mesh: MeshPart
    materials: NDArray[np.float32]
    texels: NDArray[np.uint8]
    shape: NDArray[np.float32]
    scalp_shade: float = 1.0
    skull_center: tuple[float, float, float] = (0.0, 0.0, 0.0)


class _Palette:
    """Collects materials and textures."""

    def __init__(self) -> None:
        self.rows: list[list[float]] = []
        self.textures: list[NDArray[np.uint8]] = []
        self._placed: dict[int, int] = {}
        self._texels = 0

    def add(
        self, surface: Surface, tint: NDArray, roughness: float, specular: float,
        texture: NDArray[np.uint8] | None = None, bump_m: float = 0.0, grey: float = 0.0,
        passes: float = 0.0,
    ) -> int:  # fmt: skip
        first, size = -1, 1
        if texture is not None:
            size = len(texture)
            if id(texture) not in self._placed:
                self._placed[id(texture)] = self._texels
                self.textures.append(texture.reshape(-1, TEXTURE_CHANNELS))
                self._texels += size * size
            first = self._placed[id(texture)]
        red, green, blue = (float(v) for v in tint)
        row = [int(surface), first, size, red, green, blue, roughness, specular, bump_m, grey]
        self.rows.append([*row, passes])
        return len(self.rows) - 1


def person_asset(person: Person) -> Asset:
    """A person's arrays. The first materials are the head's: skin, both eyes, teeth, tongue, mouth,
    as in `synth.person.assembly`."""
    palette = _Palette()
    white = np.ones(3)
    palette.add(Surface.SKIN, white, person.skin_roughness, 0.028, person.skin[0], 0.0011)
    for _ in range(2):
        palette.add(Surface.EYE, white, 0.05, 0.030, person.eye)
    palette.add(Surface.GLOSSY, white, 0.2, 0.045, person.teeth)
    palette.add(Surface.GLOSSY, np.array([0.36, 0.11, 0.10]), 0.35, 0.035)
    palette.add(Surface.GLOSSY, np.array([0.20, 0.045, 0.045]), 0.35, 0.03)
    tables = head_tables(person.model)
    neutral = replace(neutral_state(person.model), shape=person.shape)
    vertices = pose_vertices(person.model, neutral)
    parts = [_hair_part(_thinned(look), tables, vertices, palette) for look in person.hair]
    parts += [_worn_part(item, item.joint, palette) for item in person.wearables]
    return Asset(
        _joined(parts),
        np.array(palette.rows, np.float32),
        np.concatenate(palette.textures),
        person.shape.astype(np.float32),
        person.scalp_shade,
        tuple(float(v) for v in person.skull_center),  # type: ignore[arg-type]
    )


def occluder_asset(rng: np.random.Generator, skin: NDArray | None = None) -> Asset:
    """A thing before a face that is at the origin, seen from (0, 0, -1)."""
    palette = _Palette()
    thing = sample_occluder(rng, np.zeros(3), np.array([0.0, 0.0, -1.0]), skin)
    parts = [_worn_part(item, SCENE, palette) for item in thing.parts]
    none = np.zeros((0, TEXTURE_CHANNELS), np.uint8)
    return Asset(
        _joined(parts),
        np.array(palette.rows, np.float32),
        np.concatenate([none, *palette.textures]),
        np.zeros(0, np.float32),
    )


def _thinned(look: StrandLook) -> StrandLook:
    strands = look.strands
    stride = -(-len(strands.points) // _MOST_STRANDS)
    if stride < 2:
        return look
    wider = np.float32(stride**0.7)
    fewer = replace(
        strands,
        points=strands.points[::stride],
        half_width=strands.half_width[::stride] * wider,
        tone=strands.tone[::stride],
        occlusion=strands.occlusion[::stride],
        anchor=None if strands.anchor is None else strands.anchor[::stride],
    )
    return replace(look, strands=fewer)


def _hair_part(
    look: StrandLook, tables: HeadTables, vertices: NDArray, palette: _Palette
) -> MeshPart:
    strands = look.strands
    count, size = strands.points.shape[:2]
    points, frame = strands.points, np.full(count, SKULL, np.int32)
    if strands.anchor is not None:
        anchor = strands.anchor
        if look.on_lids:
            points, anchor = _lashes_on_triangles(look, tables, vertices)
        frame = (anchor + FIRST_TRIANGLE).astype(np.int32)
    row = palette.add(Surface.HAIR, look.color, look.roughness, look.specular, grey=look.grey)
    along = np.broadcast_to(np.linspace(0, 1, size, dtype=np.float32), (count, size))
    tone = np.broadcast_to(strands.tone[:, None], (count, size))
    shadow = np.where(np.arange(count) % _SHADOW_STRIDE == 0, _SHADOW_STRIDE, 0)[:, None]
    sides = np.tile(np.array([1, -1], np.float32), count * size)
    width = np.repeat(strands.half_width.reshape(-1), 2)

    def twice(values: NDArray) -> NDArray:
        return np.repeat(values.reshape(count * size, -1), 2, axis=0).astype(np.float32)

    triangles = ribbon_triangles(count, size)
    return MeshPart(
        twice(points),
        twice(strand_tangents(np.ascontiguousarray(points))),
        np.column_stack([twice(tone), twice(along)]),
        twice(strands.occlusion)[:, 0],
        (width * sides).astype(np.float32),
        (width * sides * np.repeat(np.broadcast_to(shadow, (count, size)).ravel(), 2)).astype(
            np.float32
        ),
        np.repeat(frame, 2 * size),
        triangles,
        np.full(len(triangles), row, np.int32),
    )


def _lashes_on_triangles(
    look: StrandLook, tables: HeadTables, vertices: NDArray
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Points (n, k, 3) of lashes in the frames of skin triangles at their roots, and these."""
    assert look.strands.anchor is not None
    roots, axes = lash_frames(tables, vertices, look.strands.anchor)
    points = np.einsum("nij,nkj->nki", axes, look.strands.points) + roots[:, None]
    margins = np.concatenate([m for lids in tables.lids for m in lids])
    vertex = margins[look.strands.anchor // LASH_STEPS]
    of_vertex = np.zeros(len(vertices), np.int32)
    of_vertex[tables.skin_triangles] = tables.skin_triangles_index[:, None]
    triangle = of_vertex[vertex]
    origin, frame = triangle_frames(vertices, tables.triangles[triangle])
    local = np.einsum("nij,nki->nkj", frame, points - origin[:, None])
    return local.astype(np.float32), triangle


def _worn_part(item: Wearable, frame: int, palette: _Palette) -> MeshPart:
    row = palette.add(
        item.surface, item.tint, item.roughness, item.specular, item.packed, item.bump_m,
        passes=item.transparency,
    )  # fmt: skip
    mesh = item.mesh
    n = len(mesh.vertices)
    none = np.zeros(n, np.float32)
    return MeshPart(
        mesh.vertices.astype(np.float32),
        mesh.normals.astype(np.float32),
        mesh.uv.astype(np.float32),
        item.occlusion,
        none,
        none,
        np.full(n, frame, np.int32),
        mesh.triangles.astype(np.int32),
        np.full(len(mesh.triangles), row, np.int32),
    )


def _joined(parts: list[MeshPart]) -> MeshPart:
    start = np.cumsum([0] + [len(p.position) for p in parts])
    moved = [
        replace(p, triangles=p.triangles + np.int32(s)) for p, s in zip(parts, start, strict=False)
    ]
    names = MeshPart.__dataclass_fields__
    return MeshPart(*(np.concatenate([getattr(p, name) for p in moved]) for name in names))
