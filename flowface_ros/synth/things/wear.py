"""What people wear, as small meshes on their neutral head: glasses, hats, scarves, clothes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flowface_ros.synth.render.materials import Surface, material_row
from flowface_ros.synth.render.pieces import Piece
from flowface_ros.synth.textures import fractal_noise, pack_texture
from flowface_ros.synth.things.shapes import Mesh

_Array = NDArray[np.float64]

CLOTH_TEXTURE_SIZE = 128


@dataclass(frozen=True)
class Wearable:
    """A mesh that moves with a joint: 0 the root (torso), 1 the neck (skull).

    tint: linear RGB. texture: linear (S, S, 3) that repeats, or None. roughness: GGX alpha.
    specular: reflectance at normal incidence. transparency: 0 opaque; else the share of light
    that passes (lenses).
    """

    mesh: Mesh
    joint: int
    surface: Surface
    tint: _Array
    roughness: float = 0.6
    specular: float = 0.03
    bump_m: float = 0.0
    texture: NDArray[np.float32] | None = None
    height: NDArray[np.float32] | None = None
    transparency: float = 0.0

    @cached_property
    def packed(self) -> NDArray[np.uint8] | None:
        """The texture as drawing reads it, see `materials.TEXTURE_CHANNELS`."""
        if self.texture is None or self.height is None:
            return None
        return pack_texture(self.texture, self.height, np.ones_like(self.height))

    @cached_property
    def occlusion(self) -> NDArray[np.float32]:
        """(n,) share of ambient light at the vertices: less under the chin."""
        if self.joint != 0 or len(self.mesh.vertices) == 0:
            return np.ones(len(self.mesh.vertices), np.float32)
        top = self.mesh.vertices[:, 1].max()
        return np.clip(0.45 + (top - self.mesh.vertices[:, 1]) / 0.10, 0.45, 1).astype(np.float32)


def surface_color(rng: np.random.Generator) -> _Array:
    """Linear RGB of a fabric or plastic: often dark or grey, sometimes vivid."""
    value = np.exp(rng.uniform(np.log(0.012), np.log(0.75)))
    return np.clip(
        value * np.exp(rng.normal(0, rng.choice([0.06, 0.25, 0.6], p=[0.5, 0.35, 0.15]), 3)),
        0.006,
        0.85,
    )


@dataclass(frozen=True)
class Fabric:
    """texture: (S, S, 3) linear, repeats. height: (S, S) in [0, 1]. bump_m: of height 1."""

    texture: NDArray[np.float32]
    height: NDArray[np.float32]
    bump_m: float


def fabric(rng: np.random.Generator) -> Fabric:
    """A repeating cloth: plain, striped, checked or printed, with its weave or knit."""
    size = CLOTH_TEXTURE_SIZE
    y, x = np.mgrid[0:size, 0:size] / size
    base, second = surface_color(rng), surface_color(rng)
    kind = rng.choice(5, p=[0.5, 0.16, 0.12, 0.12, 0.1])
    bars = int(rng.integers(2, 9))
    pattern = [
        np.zeros((size, size)),
        (np.sin(2 * np.pi * bars * y) > rng.uniform(-0.6, 0.6)).astype(float),
        0.5 * (np.sin(2 * np.pi * bars * y) > 0) + 0.5 * (np.sin(2 * np.pi * bars * x) > 0),
        (fractal_noise(rng, size, 4, 16) > rng.uniform(0, 1)).astype(float),
        (np.hypot(np.mod(x * bars, 1) - 0.5, np.mod(y * bars, 1) - 0.5) < 0.28).astype(float),
    ][kind][..., None]
    color = base * (1 - pattern) + second * pattern
    threads = int(rng.choice([16, 32, 48]))
    weave = np.sin(2 * np.pi * threads * x) * np.sin(2 * np.pi * threads * y)
    ribs = np.abs(np.sin(np.pi * threads * x))
    height = 0.5 + 0.3 * (weave if rng.random() < 0.6 else ribs - 0.5)
    wool = 0.1 * fractal_noise(rng, size, 16, 128, 0.2)
    color = color * (0.85 + 0.3 * height[..., None] + wool[..., None])
    return Fabric(
        np.clip(color, 0.003, 1).astype(np.float32),
        np.clip(height + 0.5 * wool, 0, 1).astype(np.float32),
        float(rng.uniform(0.0002, 0.0008)),
    )


def dressed(mesh: Mesh, joint: int, cloth: Fabric) -> Wearable:
    """A mesh that wears a cloth."""
    return Wearable(
        mesh, joint, Surface.MATTE, np.ones(3), 0.8, 0.02, cloth.bump_m, cloth.texture, cloth.height
    )


def mesh_piece(item: Wearable, vertices: _Array, normals: _Array) -> Piece:
    """A thing at vertices (n, 3) of the rig frame."""
    row = material_row(item.surface, item.tint, item.roughness, item.specular, item.bump_m)
    return Piece(
        vertices,
        normals,
        item.mesh.uv.astype(np.float32),
        item.occlusion,
        item.mesh.triangles,
        np.zeros(len(item.mesh.triangles), np.int32),
        row,
        [item.packed],
        transparency=item.transparency,
    )
