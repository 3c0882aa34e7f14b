"""Fits the light network on drawn pictures and, if given, photographs; writes its ONNX file.

    python tools/fit_light.py --batches 400 --photographs FOLDER --looks FOLDER --out light.onnx

Drawing takes some 0.15 s a picture and core. Each is looked at twice, by two bad cameras, once
mirrored in another crop. In two batches of five each scene is drawn at two
moments. What is seen, 0.15 MB a look, is kept in the folder of looks, so a run goes on where it was
stopped; so does the fit, some 10 ms a look and core. Several runs with `--only-draw`, each with its
own `--first`, may share the drawing.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from flowface_ros.align.embedding import IRIS_POINTS, read_embedding
from flowface_ros.align.landmark_errors import query_points
from flowface_ros.align.network.checkpoint import save_checkpoint
from flowface_ros.align.network.config import preset
from flowface_ros.align.network.export import export_onnx
from flowface_ros.align.network.head_constants import head_constants
from flowface_ros.align.network.light_network import LightNetwork
from flowface_ros.align.network.networks import new_network
from flowface_ros.head.atlas import texel_grid
from flowface_ros.head.model import HeadModel
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.train.augment import AugmentConfig, augment
from flowface_ros.train.batch import Batch, inside_crop
from flowface_ros.train.light_fit import calibrate_light, fit
from flowface_ros.train.looks import KeptLooks, Looks, joined, looks_at
from flowface_ros.train.photographs import PhotographSource
from flowface_ros.train.studio import Studio, SynthConfig
from flowface_ros.train.verify import photographs

_BATCH, _PHOTOGRAPH_BATCH, _PHOTOGRAPH_BATCHES = 32, 24, 400
_SEED = 1000
_FIELDS = ("light", "position_px", "visible", "iod_px")

_HARD_EVERY = 3
"""Of so many batches, one is of faces from aside, in bad crops, by bad cameras, half covered."""
_KEPT_EVERY = 15
"""Of so many batches, one, which is none of the hard ones, is kept for sigma's calibration; its
first looks, in crops as they come, serve it."""
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
    """Draws batches and keeps what the network sees of them in a folder."""

    def __init__(self, network: LightNetwork, model: HeadModel, folder: Path) -> None:
        self._network, self._folder = network, folder
        config = network.config
        views = SynthConfig(config.crop_px, config.grid, _BATCH, _SEED, people=10**6)
        points = query_points(model, texel_grid(model, config.grid))
        hard = replace(views, any_yaw_share=_HARD_YAW_SHARE, bad_crop_share=_HARD_CROP_SHARE)
        self._studios = [Studio(model, kind, points) for kind in (views, hard)]
        self.mirror_rows = mirror_rows(model, config.grid)

    def drawn(self, number: int) -> Path:
        """Two looks at each picture of a batch."""
        path = self._folder / f"{'moments' if _is_of_moments(number) else 'drawn'}_{number:05d}.npz"
        if not path.exists():
            batch = self._drawn(number)
            other = recut(mirrored(batch, self.mirror_rows), number)
            camera = _HARD if _is_hard(number) else AugmentConfig()
            looks = [
                self._look(seen, camera, 2 * number + k, False)
                for k, seen in enumerate((batch, other))
            ]
            joined(looks).write(path)
        return path

    def photographed(self, source: PhotographSource, number: int) -> Looks:
        """Looks at photographs, by every second batch in a bad crop or by a bad camera."""
        path = self._folder / f"photographs_{number:03d}.npz"
        if not path.exists():
            batch = source.batch(number)
            if number >= _PHOTOGRAPH_BATCHES // 2:
                batch = recut(batch, number)
            camera = _HARD if number % 2 else AugmentConfig()
            self._look(batch, camera, number, True).write(path)
        return Looks.read(path)

    def _drawn(self, number: int) -> Batch:
        studio = self._studios[_is_hard(number)]
        arrays = studio.moments(number) if _is_of_moments(number) else studio.batch(number)
        return Batch(*(torch.from_numpy(getattr(arrays, name)) for name in _FIELDS))

    @torch.no_grad()
    def _look(self, batch: Batch, camera: AugmentConfig, seed: int, real: bool) -> Looks:
        image, spoilt = augment(batch, seed, camera)
        visible = spoilt.visible[:, : len(self._network.first_log_sigma)]
        encoded = self._network.encoder(image)
        return looks_at(self._network, encoded, batch.position_px, visible, batch.iod_px, real)


def _is_hard(number: int) -> bool:
    return number % _HARD_EVERY == _HARD_EVERY - 1


def _is_of_moments(number: int) -> bool:
    return number % 5 in range(1, 1 + _MOMENTS_OF_FIVE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--batches", type=int, default=1300, help="of 32 pictures (default: %(default)s)"
    )
    parser.add_argument("--first", type=int, default=0, help="batch (default: %(default)s)")
    parser.add_argument("--only-draw", action="store_true", help="no fit")
    parser.add_argument("--epochs", type=int, default=6, help="(default: %(default)s)")
    parser.add_argument("--photographs", type=Path, metavar="FOLDER", help="of faces, optional")
    parser.add_argument("--looks", type=Path, metavar="FOLDER", required=True, help="kept here")
    parser.add_argument("--out", type=Path, required=True, help="ONNX file to write")
    args = parser.parse_args()
    model, config = load_builtin_head(), preset("light")
    network = new_network(config, head_constants(config, model)).eval()
    assert isinstance(network, LightNetwork)
    args.looks.mkdir(parents=True, exist_ok=True)
    gatherer = Gatherer(network, model, args.looks)
    numbers = tqdm(range(args.first, args.batches), "batches of pictures")
    paths = [gatherer.drawn(number) for number in numbers]
    if args.only_draw:
        return
    real = None
    if args.photographs is not None:
        source = PhotographSource(
            model, photographs(args.photographs), config.crop_px, config.grid, _PHOTOGRAPH_BATCH, 0
        )
        shots = tqdm(range(_PHOTOGRAPH_BATCHES), "batches of photographs")
        real = joined([gatherer.photographed(source, number) for number in shots])
    kept = joined([looks[:_BATCH] for looks in KeptLooks(paths[::_KEPT_EVERY])])
    del paths[::_KEPT_EVERY]
    drawn, moments = (
        KeptLooks([path for path in paths if path.name.startswith(kind)])
        for kind in ("drawn", "moments")
    )
    rows, state = gatherer.mirror_rows, args.out.with_suffix(".state.pt")
    fitted = fit(network, drawn, moments, real, rows, args.epochs, state)
    calibrate_light(fitted, model, kept)
    export_onnx(fitted, args.out)
    save_checkpoint(args.out.with_suffix(".pt"), fitted)


if __name__ == "__main__":
    main()
