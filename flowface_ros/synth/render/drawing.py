"""Everything opaque in a picture as one mesh, its shadow maps, and what each sample sees of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowface_ros import rigid
from flowface_ros.camera.camera import Camera
from flowface_ros.synth.render.blocks import ATTRIBUTES, NORMAL, OPENNESS, POSITION, UV
from flowface_ros.synth.render.light import Light
from flowface_ros.synth.render.materials import MATERIAL_DTYPE, TEXTURE_CHANNELS
from flowface_ros.synth.render.parallel import parallel_view
from flowface_ros.synth.render.pieces import Piece, PosedPerson
from flowface_ros.synth.render.raster import (
    LANES,
    Fragments,
    fill_snapped,
    fill_triangles,
    snap,
)
from flowface_ros.synth.render.ribbons import ribbon_triangles, widen
from flowface_ros.synth.render.truth import resolve_truth

_Array = NDArray[np.float64]

_SHADOW_MAP_SIZE = 256
_SHADOW_RADIUS_M = 0.19
_SHADOW_BIAS_M = 0.0035
_SHADOW_STRIDE = 3
"""Every third strand casts a shadow, three times as wide."""


@dataclass(frozen=True)
class Samples:
    """What SAMPLES x SAMPLES samples of each pixel see.

    triangle: int32, -1 for none. inverse_depth: float32, 0 for none.
    """

    triangle: NDArray[np.int32]
    inverse_depth: NDArray[np.float32]


class Drawing:
    """All opaque pieces of a picture, concatenated: heads first, whose back faces are culled."""

    def __init__(
        self,
        posed: Sequence[PosedPerson],
        things: Sequence[Piece],
        camera: Camera,
        light: Light,
    ) -> None:
        owned = [(p.head, i) for i, p in enumerate(posed)]
        owned += [(piece, i) for i, p in enumerate(posed) for piece in p.rest]
        owned += [(piece, -1) for piece in things]
        self.glass = [piece for piece, _ in owned if piece.transparency > 0]
        opaque = [(piece, i) for piece, i in owned if piece.transparency == 0]
        self.pieces = [piece for piece, _ in opaque]
        self.heads = len(posed)
        self.head_triangles = sum(len(p.head.triangles) for p in posed)
        self._number(opaque)
        self.pixels = _joined([projected(p, camera) for p in self.pieces], (3,), np.float32)
        self.shadow_maps, self.shadow_frames = self._shadows(posed, light)

    def _number(self, opaque: list[tuple[Piece, int]]) -> None:
        """Concatenate with running vertex, material and texture numbers."""
        triangles, material, materials, textures = [], [], [], []
        self.attributes = np.empty((sum(_size(p) for p, _ in opaque), ATTRIBUTES), np.float32)
        vertex, row, byte = 0, 0, 0
        placed: dict[int, int] = {}
        for piece, owner in opaque:
            _write_attributes(piece, self.attributes[vertex : vertex + _size(piece)])
            triangles.append(piece.triangles + np.int32(vertex))
            material.append(piece.material + np.int32(row))
            rows = piece.materials.copy()
            rows["shadow_map"] = owner
            for k, texture in enumerate(piece.textures):
                if texture is None:
                    continue
                if id(texture) not in placed:
                    placed[id(texture)] = byte
                    textures.append(texture.reshape(-1))
                    byte += texture.size
                rows["texture"][k], rows["texture_size"][k] = placed[id(texture)], len(texture)
            materials.append(rows)
            vertex += _size(piece)
            row += len(rows)
        self.triangles = _joined(triangles, (3,), np.int32)
        self.material = _joined(material, (), np.int32)
        self.materials = np.concatenate(materials) if materials else np.zeros(1, MATERIAL_DTYPE)
        self.textures = (
            np.concatenate(textures) if textures else np.zeros(TEXTURE_CHANNELS, np.uint8)
        )

    def _shadows(
        self, posed: Sequence[PosedPerson], light: Light
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """For each head, what the key light sees around it, and the rows that look it up."""
        size = _SHADOW_MAP_SIZE
        maps = np.zeros((max(1, len(posed)), size, size), np.float32)
        frames = np.zeros((max(1, len(posed)), 4, 4), np.float32)
        unused = np.full((size, size), -1, np.int32)
        for i, person in enumerate(posed):
            rows = parallel_view(
                light.directions[0].astype(float), size, person.center, _SHADOW_RADIUS_M
            )
            frames[i, :3], frames[i, 3, 0] = rows, _SHADOW_BIAS_M
            for k, piece in enumerate(self.pieces):
                seen, triangles = _parallel(piece, rows)
                # Behind a head's faces that see the light there is only the inside of the head.
                fill_triangles(seen, triangles, k < self.heads, unused, maps[i])
        return maps, frames

    def fill(
        self, pixels: NDArray[np.float32], width: int, height: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Seen triangle and inverse depth (height, width)."""
        triangle = np.full((height, width), -1, np.int32)
        inverse = np.zeros((height, width), np.float32)
        split = self.head_triangles
        snapped = snap(pixels)
        for part, cull in ((slice(0, split), True), (slice(split, None), False)):
            fill_snapped(*snapped, self.triangles[part], cull, part.start, triangle, inverse, LANES)
        return triangle, inverse

    def truth(self, camera: Camera, samples: Samples) -> tuple[Fragments, NDArray[np.int32]]:
        """Fragments at the image's resolution, and the head seen, as in `RenderedImage`."""
        shape = (camera.height, camera.width)
        triangle, inverse = np.full(shape, -1, np.int32), np.zeros(shape, np.float32)
        heads = self.triangles[: self.head_triangles]
        pixels = self.pixels[: sum(len(piece.position) for piece in self.pieces[: self.heads])]
        fill_triangles(pixels, heads, True, triangle, inverse)
        barycentric, depth = np.empty((*shape, 3), np.float32), np.empty(shape, np.float32)
        face = np.empty(shape, np.int32)
        starts = np.cumsum([0] + [len(piece.triangles) for piece in self.pieces[: self.heads]])
        resolve_truth(
            pixels, heads, starts, samples.triangle, samples.inverse_depth, inverse, triangle,
            barycentric, depth, face,
        )  # fmt: skip
        return Fragments(triangle, barycentric, depth), face


def _size(piece: Piece) -> int:
    """Vertices that a piece is drawn with: two per point of a strand."""
    return len(piece.position) * (2 if piece.strands else 1)


def _write_attributes(piece: Piece, out: NDArray[np.float32]) -> None:
    """Fill vertices (n, ATTRIBUTES) but for their places in the image."""
    points = out.reshape(len(piece.position), -1, ATTRIBUTES)
    points[..., POSITION : POSITION + 3] = piece.position[:, None]
    points[..., NORMAL : NORMAL + 3] = piece.normal[:, None]
    points[..., UV : UV + 2] = piece.uv[:, None]
    points[..., OPENNESS] = piece.occlusion[:, None]


def _joined(arrays: list[NDArray], shape: tuple[int, ...], dtype: type) -> NDArray:
    if not arrays:
        return np.zeros((0, *shape), dtype)
    return np.ascontiguousarray(np.concatenate(arrays), dtype)


def projected(piece: Piece, camera: Camera) -> NDArray[np.float32]:
    """x px, y px, depth (n, 3) of a piece's vertices; two per point of a strand."""
    points = rigid.apply(camera.camera_from_rig, piece.position)
    pixels = np.empty((len(points), 3), np.float32)
    if camera.lens.bends:
        pixels[:, :2] = camera.project(points)[0]
    else:  # the same, less the derivatives that project computes
        (fx, skew, cx), (_, fy, cy) = camera.intrinsics[:2]
        x, y = (points[:, k] / points[:, 2] for k in (0, 1))
        pixels[:, 0], pixels[:, 1] = fx * x + skew * y + cx, fy * y + cy
    pixels[:, 2] = points[:, 2]
    return _widened(piece, pixels, float(camera.intrinsics[0, 0]))


def _parallel(piece: Piece, rows: _Array) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Vertices in a parallel view, and triangles; of strands a few, which stand for the others."""
    linear, shift = rows[:, :3].T.astype(np.float32), rows[:, 3].astype(np.float32)
    if piece.strands is None or piece.half_width is None:
        return piece.position.astype(np.float32) @ linear + shift, piece.triangles
    count, size = piece.strands
    chosen = piece.position.reshape(count, size, 3)[::_SHADOW_STRIDE].astype(np.float32)
    seen = chosen @ linear + shift
    scale = np.float32(np.linalg.norm(rows[0, :3]) * _SHADOW_STRIDE)
    out = np.empty((len(chosen), size, 2, 3), np.float32)
    widen(seen, piece.half_width[::_SHADOW_STRIDE], scale, True, out)
    return out.reshape(-1, 3), ribbon_triangles(len(chosen), size)


def _widened(piece: Piece, pixels: NDArray[np.float32], focal_px: float) -> NDArray[np.float32]:
    if piece.strands is None or piece.half_width is None:
        return pixels
    count, size = piece.strands
    out = np.empty((count, size, 2, 3), np.float32)
    widen(pixels.reshape(count, size, 3), piece.half_width, np.float32(focal_px), False, out)
    return out.reshape(-1, 3)
