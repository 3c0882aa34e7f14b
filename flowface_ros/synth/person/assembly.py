"""People in a state, turned into the arrays that are drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from flowface_ros.head.skinning import (
    JointTransforms,
    joint_transforms,
    neutral_joints,
    pose_vertices,
)
from flowface_ros.head.state import HeadState
from flowface_ros.synth.anatomy.head_tables import HeadTables, head_tables, triangle_frames
from flowface_ros.synth.hair.lashes import lash_frames
from flowface_ros.synth.hair.person_hair import StrandLook
from flowface_ros.synth.hair.strands import Strands
from flowface_ros.synth.person.person import Person
from flowface_ros.synth.render.materials import Surface, material_row
from flowface_ros.synth.render.pieces import Piece, PosedPerson
from flowface_ros.synth.render.ribbons import move_strands, ribbon_triangles, strand_tangents
from flowface_ros.synth.things.wear import Wearable, mesh_piece

_Array = NDArray[np.float64]

_NECK_JOINT = 1
_MOUTH_DEPTH_M = 0.018
"""Light in the open mouth falls to 1/e this far behind the lips."""

_FINER = 0.2
"""Added to the texture's level before it is cut to an integer: a pixel spans 0.87 to 1.7 texels."""

_STRAND_SPACING_M, _FEWEST_STRANDS = 0.0008, 900
"""All strands are drawn when a pixel spans less than this, and this many always."""

_TONGUE = np.array([0.36, 0.11, 0.10])
_CAVITY = np.array([0.20, 0.045, 0.045])


_HEAD_MATERIALS = np.concatenate(
    [
        material_row(Surface.SKIN, np.ones(3), 0.0, 0.028, 0.0011),  # roughness is the person's
        material_row(Surface.EYE, np.ones(3), 0.05, 0.030),
        material_row(Surface.EYE, np.ones(3), 0.05, 0.030),
        material_row(Surface.GLOSSY, np.ones(3), 0.2, 0.045),
        material_row(Surface.GLOSSY, _TONGUE, 0.35, 0.035),
        material_row(Surface.GLOSSY, _CAVITY, 0.35, 0.03),
    ]
)


def pose_person(person: Person, state: HeadState, pixel_m: float, up_px: _Array) -> PosedPerson:
    """A person in a state.

    pixel_m: metres that a pixel spans at the head, which decides the texture's fineness.
    up_px: (2,) image direction of the head's up.
    """
    model, tables = person.model, head_tables(person.model)
    vertices = pose_vertices(model, state)
    moved = joint_transforms(model, state, neutral_joints(model, state))
    center = moved.linear[_NECK_JOINT] @ person.skull_center + moved.shift[_NECK_JOINT]
    head = _head_piece(person, tables, vertices, moved.linear, pixel_m, up_px)
    shown = [_thinned(look, pixel_m) for look in person.hair]
    rest = [_hair_piece(look, tables, vertices, moved, center) for look in shown]
    rest += [_worn_piece(item, moved.linear, moved.shift) for item in person.wearables]
    return PosedPerson(head, rest, center)


def _head_piece(
    person: Person, tables: HeadTables, vertices: _Array, linear: _Array, pixel_m: float,
    up_px: _Array,
) -> Piece:  # fmt: skip
    normals = tables.normals_of(vertices)
    skin = person.skin[_texture_level(person, tables, pixel_m)]
    rows = _HEAD_MATERIALS.copy()
    rows["roughness"][0] = person.skin_roughness
    rows["axis"][1:3] = linear[3:5, :, 2]
    rows["up_px"][1:3] = up_px
    occlusion = tables.occlusion.copy()
    occlusion[tables.inner] = _mouth_light(tables, vertices, linear[_NECK_JOINT])
    if person.scalp_shade < 1:
        occlusion *= (1 - (1 - person.scalp_shade) * tables.scalp).astype(np.float32)
    return Piece(
        vertices.take(tables.split, axis=0),
        normals.take(tables.split, axis=0),
        tables.uv,
        occlusion.take(tables.split),
        tables.corners,
        tables.material,
        rows,
        [skin, person.eye, person.eye, person.teeth, None, None],
    )


def _texture_level(person: Person, tables: HeadTables, pixel_m: float) -> int:
    texel_m = tables.atlas_m / len(person.skin[0])
    level = int(np.floor(np.log2(max(pixel_m / texel_m, 1.0)) + _FINER))
    return min(level, len(person.skin) - 1)


def _mouth_light(tables: HeadTables, vertices: _Array, skull: _Array) -> NDArray[np.float32]:
    """Share of light that reaches the teeth, the tongue and the cavity through the open mouth."""
    lips = tables.mouth_points.interpolate(tables.triangles, vertices)
    forward = skull[:, 2]
    behind = (lips.mean(axis=0) - vertices[tables.inner]) @ forward
    gap = np.linalg.norm(lips[0] - lips[1])
    reach = _MOUTH_DEPTH_M * (0.6 + gap / 0.02)
    light = np.exp(-np.maximum(behind + 0.004, 0) / reach) * (0.55 + np.minimum(gap / 0.03, 0.45))
    return np.clip(light, 0.02, 1).astype(np.float32)


def _thinned(look: StrandLook, pixel_m: float) -> StrandLook:
    """Fewer and wider strands for a head that is small in the image."""
    if look.on_lids:
        return look
    strands = look.strands.coarser if pixel_m > _STRAND_SPACING_M else look.strands
    stride = round(min(pixel_m / _STRAND_SPACING_M, len(strands.points) / _FEWEST_STRANDS))
    if stride < 2:
        return replace(look, strands=strands)
    fewer = Strands(
        strands.points[::stride],
        strands.half_width[::stride] * np.float32(stride**0.7),
        strands.tone[::stride],
        strands.occlusion[::stride],
        None if strands.anchor is None else strands.anchor[::stride],
    )
    return replace(look, strands=fewer)


def _hair_piece(
    look: StrandLook, tables: HeadTables, vertices: _Array, moved: JointTransforms, center: _Array
) -> Piece:
    strands = look.strands
    count, size = strands.points.shape[:2]
    if strands.anchor is None:
        linear, shift = moved.linear[_NECK_JOINT], moved.shift[_NECK_JOINT]
        flat = strands.points.reshape(-1, 3) @ linear.T.astype(np.float32)
        points = (flat + shift.astype(np.float32)).reshape(strands.points.shape)
    elif look.on_lids:
        roots, axes = lash_frames(tables, vertices, strands.anchor)
        points = move_strands(axes, roots, strands.points)
    else:
        origin, axes = triangle_frames(vertices, tables.triangles[strands.anchor])
        points = move_strands(axes, origin, strands.points)
    row = material_row(Surface.HAIR, look.color, look.roughness, look.specular)
    row["grey"], row["center"] = look.grey, center
    along = np.broadcast_to(np.linspace(0, 1, size, dtype=np.float32), (count, size))
    tone = np.broadcast_to(strands.tone[:, None], (count, size))
    triangles = ribbon_triangles(count, size)
    return Piece(
        points.reshape(-1, 3),
        strand_tangents(points).reshape(-1, 3),
        np.stack([tone, along], axis=-1).reshape(-1, 2),
        strands.occlusion.reshape(-1),
        triangles,
        np.zeros(len(triangles), np.int32),
        row,
        [None],
        (count, size),
        strands.half_width,
    )


def _worn_piece(item: Wearable, linear: _Array, shift: _Array) -> Piece:
    mesh = item.mesh.moved(linear[item.joint], shift[item.joint])
    return mesh_piece(item, mesh.vertices, mesh.normals)
