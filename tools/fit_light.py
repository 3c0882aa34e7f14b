"""Fits the light network on drawn pictures and, if given, photographs; writes its ONNX file.

    python tools/fit_light.py --pictures 4000 --photographs FOLDER --out flow_light.onnx

Drawing takes some 0.06 s a picture and core. Each is looked at twice, by two bad cameras, once
mirrored. One in sixteen is kept for sigma's calibration and shown to no regression.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
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
from flowface_ros.train.augment import augment
from flowface_ros.train.batch import Batch
from flowface_ros.train.calibrate import calibrate, calibration
from flowface_ros.train.least_squares import Rows, choose_projections, joined, rows_of, solve
from flowface_ros.train.photographs import PhotographSource
from flowface_ros.train.regions import texel_regions
from flowface_ros.train.studio import Studio, SynthConfig
from flowface_ros.train.verify import photographs

_BATCH = 32
_PHOTOGRAPH_LOOKS = 240
_CALIBRATED_EVERY = 16


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


def drawn(model: HeadModel, config: SynthConfig, batches: int) -> Iterator[tuple[bool, Batch]]:
    """Whether it is kept for calibration, and a spoilt batch whose `light` is the picture."""
    studio = Studio(model, config, query_points(model, texel_grid(model, config.grid)))
    rows = mirror_rows(model, config.grid)
    for number in tqdm(range(batches), "pictures"):
        arrays = studio.batch(number)
        batch = Batch(*(torch.from_numpy(getattr(arrays, n)) for n in _FIELDS))
        for look, seen in enumerate((batch, mirrored(batch, rows))):
            image, spoilt = augment(seen, 2 * number + look)
            yield number % _CALIBRATED_EVERY == 0, replace(spoilt, light=image)


_FIELDS = ("light", "position_px", "visible", "iod_px")


@torch.no_grad()
def row_of(network: LightNetwork, batch: Batch, known: torch.Tensor, real: bool) -> Rows:
    encoded = network.encoder(batch.light)
    return rows_of(network, encoded, batch.position_px, known, batch.iod_px, real)


def fit(
    network: LightNetwork, model: HeadModel, config: SynthConfig, pictures: int, folder: Path | None
) -> None:
    """In place."""
    texels = len(network.first_log_sigma)
    parts, kept = [], []
    for number, (calibrates, batch) in enumerate(drawn(model, config, -(-pictures // _BATCH))):
        if number == 0:
            with torch.no_grad():
                choose_projections(network, network.encoder(batch.light))
        if calibrates:
            kept.append(batch)
        else:
            every = torch.ones(len(batch), texels, dtype=torch.bool)
            parts.append(row_of(network, batch, every, False))
    if folder is not None:
        source = PhotographSource(
            model, photographs(folder), config.crop_px, config.grid, 8, config.seed
        )
        for number in range(_PHOTOGRAPH_LOOKS // 8):
            batch = source.batch(number)
            image, spoilt = augment(batch, number)
            known = torch.isfinite(batch.position_px).all(dim=2)
            parts.append(row_of(network, replace(spoilt, light=image), known, True))
    solve(network, joined(parts))
    with torch.no_grad():
        outputs = [network(batch.light, every_iteration=False) for batch in kept]
    change = calibration(
        texel_regions(model, config.grid),
        np.concatenate([o.position_px[-1].numpy() for o in outputs]),
        np.concatenate([o.log_sigma[-1].numpy() for o in outputs]),
        np.concatenate([b.position_px[:, :texels].numpy() for b in kept]),
        np.concatenate([b.visible[:, :texels].numpy() for b in kept]),
    )
    calibrate(network, change)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=4000, help="drawn (default: %(default)s)")
    parser.add_argument("--photographs", type=Path, metavar="FOLDER", help="of faces, optional")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="ONNX file to write")
    args = parser.parse_args()
    model, config = load_builtin_head(), preset("light")
    torch.manual_seed(args.seed)
    network = new_network(config, head_constants(config, model)).eval()
    assert isinstance(network, LightNetwork)
    data = SynthConfig(config.crop_px, config.grid, _BATCH, args.seed, people=10**6)
    fit(network, model, data, args.pictures, args.photographs)
    export_onnx(network, args.out)
    save_checkpoint(args.out.with_suffix(".pt"), network)


if __name__ == "__main__":
    main()
