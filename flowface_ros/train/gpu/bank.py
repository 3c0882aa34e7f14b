"""Assets kept on the device that draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowface_ros.synth.render.light import Light
from flowface_ros.synth.render.materials import TEXTURE_CHANNELS
from flowface_ros.train.gpu.asset import SIZE, TEXTURE, Asset

PERSON_TEXELS = 512**2 + 192**2 + 32**2 + 4 * 128**2
"""Skin, eye, tooth and up to four cloths."""
THING_TEXELS = 2 * 128**2
MOST_LIGHTS = 3


@dataclass(frozen=True)
class DeviceAsset:
    """An asset's arrays as tensors, see `asset.Asset` and `MeshPart`. first_texel: of its textures
    in the bank."""

    floats: Tensor
    frame: Tensor
    triangles: Tensor
    material: Tensor
    materials: Tensor
    shape: Tensor
    scalp_shade: float
    skull_center: Tensor
    first_texel: int


class AssetBank:
    """A fixed number of places for assets; a new one takes the place of an older one.

    texels: (n, 5) uint8 of the textures of several banks. first: this one's first texel there.
    room: texels per place.
    """

    def __init__(self, texels: Tensor, first: int, places: int, room: int) -> None:
        self._texels, self._first, self._room = texels, first, room
        self._assets: list[DeviceAsset | None] = [None] * places

    def __getitem__(self, place: int) -> DeviceAsset:
        asset = self._assets[place]
        if asset is None:
            raise ValueError(f"place {place} of the bank is empty")
        return asset

    def put(self, place: int, asset: Asset) -> None:
        first = self._first + place * self._room
        texels, materials = asset.texels, asset.materials
        if len(texels) > self._room:
            # Cloths beyond the room that there is are drawn plain.
            materials = materials.copy()
            ends = materials[:, TEXTURE] + materials[:, SIZE] ** 2
            materials[(materials[:, TEXTURE] >= 0) & (ends > self._room), TEXTURE] = -1
            texels = texels[: self._room]
        self._texels[first : first + len(texels)] = self._tensor(texels)
        mesh = asset.mesh
        self._assets[place] = DeviceAsset(
            self._tensor(mesh.floats),
            self._tensor(mesh.frame).long(),
            self._tensor(mesh.triangles).long(),
            self._tensor(mesh.material).long(),
            self._tensor(materials),
            self._tensor(asset.shape),
            asset.scalp_shade,
            self._tensor(np.array(asset.skull_center, np.float32)),
            first,
        )

    def _tensor(self, array: NDArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._texels.device)


def texel_store(people: int, things: int, device: torch.device) -> Tensor:
    """Texels of banks of so many people and, after them, things."""
    count = people * PERSON_TEXELS + things * THING_TEXELS
    return torch.zeros((count, TEXTURE_CHANNELS), dtype=torch.uint8, device=device)


@dataclass(frozen=True)
class Lights:
    """L lights, see `synth.render.light.Light`. ambient: (L, 9, 3). directions, colors: (L, 3, 3),
    black where a light has fewer. radius: (L, 3)."""

    ambient: Tensor
    directions: Tensor
    colors: Tensor
    radius: Tensor

    def __getitem__(self, rows: Tensor | slice) -> Lights:
        return Lights(*(t[rows] for t in self.tensors()))

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.ambient, self.directions, self.colors, self.radius


def stack_lights(lights: list[Light], device: torch.device) -> Lights:
    """Lights as tensors."""
    rows = []
    for light in lights:
        absent = MOST_LIGHTS - len(light.directions)
        directions = np.concatenate([light.directions, np.tile([[0.0, 0, -1]], (absent, 1))])
        colors = np.concatenate([light.colors, np.zeros((absent, 3))])
        radius = np.concatenate([light.angular_radius, np.full(absent, 0.1)])
        rows.append((light.ambient, directions, colors, radius))
    columns = (np.stack(column).astype(np.float32) for column in zip(*rows, strict=True))
    return Lights(*(torch.from_numpy(column).to(device) for column in columns))
