"""What the light network sees of pictures, gathered in a folder for `fit_light.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from tqdm import tqdm

from flowface_ros.align.embedding import IRIS_POINTS, read_embedding
from flowface_ros.align.landmark_errors import query_points
from flowface_ros.align.network.light_network import LightNetwork
from flowface_ros.head.atlas import texel_grid
from flowface_ros.head.model import HeadModel
from flowface_ros.train.augment import AugmentConfig, augment
from flowface_ros.train.batch import Batch, inside_crop
from flowface_ros.train.datasets.pictures import PictureSource
from flowface_ros.train.looks import Looks, joined, looks_at
from flowface_ros.train.photographs import PhotographSource
from flowface_ros.train.picture_warp import remade
from flowface_ros.train.studio import Studio, SynthConfig

BATCH = 32
_PHOTOGRAPH_BATCH, _PHOTOGRAPH_BATCHES = 24, 400
_SEED = 1000
_FIELDS = ("light", "position_px", "visible", "iod_px")

_HARD_EVERY = 3
_MOMENTS_OF_FIVE = 2
"""Of five batches, so many are of scenes at two moments."""
_HARD = AugmentConfig(
    side_shares=(0.25, 0.1, 0.15, 0.15, 0.15, 0.2), cover_share=0.6, border_share=0.2
)
_HARD_YAW_SHARE, _HARD_CROP_SHARE = 0.9, 0.25

_BAD_SHARE, _BAD_ZOOM, _BAD_SHIFT, _BAD_ROLL = 0.2, 0.35, 0.18, 0.5
_ZOOM_SIGMA, _SHIFT_SIGMA, _ROLL_SIGMA = 0.08, 0.03, 0.1
"""How a second crop lies in the first: log size, place over its side, roll in radians."""


def mirror_rows(model: HeadModel, grid_size: int) -> torch.Tensor:
    """(N,) row of the point on the other side of the face, of texels and irises."""
    valid = texel_grid(model, grid_size).valid
    number = np.full(valid.shape, -1)
    number[valid] = np.arange(valid.sum())
    irises = read_embedding().mirror[IRIS_POINTS] - IRIS_POINTS.start + valid.sum()
    return torch.from_numpy(np.concatenate([number[:, ::-1][valid], irises]))


def mirrored(batch: Batch, rows: torch.Tensor) -> Batch:
    """The pictures as in a mirror."""
    last = batch.light.shape[-1] - 1
    position = batch.position_px[:, rows] * torch.tensor([-1.0, 1.0]) + torch.tensor([last, 0.0])
    return replace(
        batch, light=batch.light.flip(3), position_px=position, visible=batch.visible[:, rows]
    )


def recut(batch: Batch, seed: int) -> Batch:
    """Crops of the crops; beyond these their borders go on."""
    generator = torch.Generator().manual_seed(seed)
    count, size = len(batch), batch.light.shape[-1]
    middle = (size - 1) / 2
    bad = torch.rand(count, generator=generator) < _BAD_SHARE
    even = 2 * torch.rand(count, 4, generator=generator) - 1
    normal = torch.randn(count, 4, generator=generator)
    zoom = torch.exp(torch.where(bad, _BAD_ZOOM * even[:, 0], _ZOOM_SIGMA * normal[:, 0]))
    shift = torch.where(bad[:, None], _BAD_SHIFT * even[:, 1:3], _SHIFT_SIGMA * normal[:, 1:3])
    roll = torch.where(bad, _BAD_ROLL * even[:, 3], _ROLL_SIGMA * normal[:, 3])
    cosine, sine = torch.cos(roll) * zoom, torch.sin(roll) * zoom
    turn = torch.stack([cosine, -sine, sine, cosine], dim=1).reshape(-1, 2, 2)
    shift = size * shift[:, None]
    axis = torch.arange(size, dtype=torch.float32) - middle
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    offset = torch.stack([x, y], dim=-1).reshape(1, -1, 2)
    places = (torch.matmul(offset, turn.transpose(1, 2)) + shift) * (2.0 / size)
    light = functional.grid_sample(
        batch.light.float(), places.reshape(count, size, size, 2), padding_mode="border",
        align_corners=False,
    )  # fmt: skip
    back = torch.linalg.inv(turn).transpose(1, 2)
    position = torch.matmul(batch.position_px - shift - middle, back) + middle
    inside = inside_crop(position, size)
    return Batch(light, position, batch.visible & inside, batch.iod_px / zoom)


class Gatherer:
    """Makes looks and keeps them in a folder; what is there is not made again."""

    def __init__(self, network: LightNetwork, model: HeadModel, folder: Path) -> None:
        self._network, self._model, self._folder = network, model, folder
        config = network.config
        views = SynthConfig(config.crop_px, config.grid, BATCH, _SEED, people=10**6)
        points = query_points(model, texel_grid(model, config.grid))
        hard = replace(views, any_yaw_share=_HARD_YAW_SHARE, bad_crop_share=_HARD_CROP_SHARE)
        self._studios = [Studio(model, kind, points) for kind in (views, hard)]
        self.mirror_rows = mirror_rows(model, config.grid)

    def drawn(self, number: int) -> Path:
        """Two looks at each picture of a batch."""
        kind = "moments" if _is_of_moments(number) else "drawn"
        return self._kept(kind, number, lambda: self._drawn(number), is_hard(number))

    def traced(self, folder: Path, count: int) -> list[Path]:
        """The same of so many batches of pictures with truth on disk, bent and lit anew."""
        config = self._network.config
        source = PictureSource(
            self._model, folder, config.crop_px, config.grid, BATCH, _SEED, irises=True
        )

        def traced(number: int) -> Path:
            def make() -> Batch:
                return remade(source.batch(number), np.random.default_rng([_SEED, number]))

            return self._kept("traced", number, make, is_hard(number))

        return [traced(number) for number in tqdm(range(count), "batches of traced pictures")]

    def photographed(self, images: list[NDArray[np.uint8]]) -> Looks:
        """Looks at photographs: one batch in two in bad crops, one in two by a bad camera."""
        config = self._network.config
        source = PhotographSource(
            self._model, images, config.crop_px, config.grid, _PHOTOGRAPH_BATCH, 0
        )
        numbers = tqdm(range(_PHOTOGRAPH_BATCHES), "batches of photographs")
        return joined([self._photographed(source, number) for number in numbers])

    def _photographed(self, source: PhotographSource, number: int) -> Looks:
        path = self._folder / f"photographs_{number:03d}.npz"
        if not path.exists():
            batch = source.batch(number)
            if number >= _PHOTOGRAPH_BATCHES // 2:
                batch = recut(batch, number)
            camera = _HARD if number % 2 else AugmentConfig()
            self._look(batch, camera, number, True).write(path)
        return Looks.read(path)

    def _kept(self, kind: str, number: int, make: Callable[[], Batch], hard: bool) -> Path:
        path = self._folder / f"{kind}_{number:05d}.npz"
        if not path.exists():
            batch = make()
            other = recut(mirrored(batch, self.mirror_rows), number)
            camera = _HARD if hard else AugmentConfig()
            looks = [
                self._look(seen, camera, 2 * number + k, False)
                for k, seen in enumerate((batch, other))
            ]
            joined(looks).write(path)
        return path

    def _drawn(self, number: int) -> Batch:
        studio = self._studios[is_hard(number)]
        arrays = studio.moments(number) if _is_of_moments(number) else studio.batch(number)
        return Batch(*(torch.from_numpy(getattr(arrays, name)) for name in _FIELDS))

    @torch.no_grad()
    def _look(self, batch: Batch, camera: AugmentConfig, seed: int, real: bool) -> Looks:
        image, spoilt = augment(batch, seed, camera)
        visible = spoilt.visible[:, : len(self._network.first_log_sigma)]
        encoded = self._network.encoder(image)
        return looks_at(self._network, encoded, batch.position_px, visible, batch.iod_px, real)


def is_hard(number: int) -> bool:
    """Whether a batch is of faces from aside, in bad crops, by bad cameras, half covered."""
    return number % _HARD_EVERY == _HARD_EVERY - 1


def _is_of_moments(number: int) -> bool:
    return number % 5 in range(1, 1 + _MOMENTS_OF_FIVE)
