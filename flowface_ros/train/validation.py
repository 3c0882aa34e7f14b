"""Validation: pictures of unseen people, figures, and a sheet to look at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowface_ros.align.network.networks import Network
from flowface_ros.head.model import HeadModel
from flowface_ros.train.augment import augment, developed
from flowface_ros.train.batch import Batch, joined
from flowface_ros.train.calibrate import calibrate, calibration
from flowface_ros.train.cpu_source import CpuSource
from flowface_ros.train.metrics import AlignmentMetrics
from flowface_ros.train.regions import texel_regions
from flowface_ros.train.studio import SynthConfig

VALIDATION_SEED = 1_000_003
"""Added to a run's seed: other people, views, lights and backgrounds."""

_CHUNK = 16
_SHEET_ROWS, _SHEET_COLUMNS = 3, 6
_TILE_PX = 256


class ValidationSet:
    """Pictures with truth. image: (N, 3, S, S) uint8; the rest as in `Batch`."""

    def __init__(self, image: Tensor, truth: Batch) -> None:
        self.image, self.truth = image, truth

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, rows: slice) -> ValidationSet:
        return ValidationSet(self.image[rows], Batch(*(t[rows] for t in self.truth.tensors())))


def draw_validation(config: SynthConfig, count: int, workers: int) -> ValidationSet | None:
    """`count` pictures of people that no run with this seed has seen; every second batch of them
    by a bad camera. None of none."""
    if count == 0:
        return None
    size = min(_CHUNK, max(1, count // 2))
    chosen = replace(
        config, seed=config.seed + VALIDATION_SEED, batch_size=size, people=10**6, fresh_every=10**6
    )
    source = CpuSource(chosen, workers)
    images, truths = [], []
    for number, batch in enumerate(source.batches(0)):
        if number % 2:
            image, batch = augment(batch, number)
        else:
            image = developed(batch)
        images.append((image * 255).byte())
        truths.append(replace(batch, light=torch.zeros(len(batch), 0)))
        if sum(map(len, images)) >= count:
            break
    return ValidationSet(torch.cat(images), joined(truths))[:count]


@torch.no_grad()
def answers(network: Network, image: Tensor) -> tuple[NDArray, NDArray]:
    """Positions (N, Q, 2) and log sigma (N, Q) for pictures (N, 3, S, S) uint8."""
    device = next(network.parameters()).device
    positions, sigmas = [], []
    for chunk in image.split(_CHUNK):
        output = network(chunk.to(device).float() / 255, every_iteration=False)
        positions.append(output.position_px[-1].float().cpu().numpy())
        sigmas.append(output.log_sigma[-1].float().cpu().numpy())
    return np.concatenate(positions), np.concatenate(sigmas)


def validate(
    network: Network, model: HeadModel, pictures: ValidationSet
) -> dict[str, dict[str, float]]:
    """Figures by set of points, see `AlignmentMetrics`."""
    config = network.config
    metrics = AlignmentMetrics(texel_regions(model, config.output_grid), config.crop_px)
    position, log_sigma = answers(network, pictures.image)
    truth = pictures.truth
    metrics.add(
        position, log_sigma, truth.position_px.numpy(), truth.visible.numpy(), truth.iod_px.numpy()
    )
    return metrics.figures()


def calibrated(network: Network, model: HeadModel, pictures: ValidationSet) -> Network:
    """The network, in place, with sigma made honest on these pictures."""
    position, log_sigma = answers(network, pictures.image)
    truth = pictures.truth
    regions = texel_regions(model, network.config.output_grid)
    change = calibration(
        regions, position, log_sigma, truth.position_px.numpy(), truth.visible.numpy()
    )
    calibrate(network, change)
    return network


def draw_sheet(path: Path, network: Network, pictures: ValidationSet) -> None:
    """Pictures with every third texel: from truth (white) to answer, coloured by sigma from green
    (1 % of the crop or less) to red (10 % or more)."""
    count = min(_SHEET_ROWS * _SHEET_COLUMNS, len(pictures))
    rows = np.linspace(0, len(pictures) - 1, count).astype(int)
    position, log_sigma = answers(network, pictures.image[rows])
    tiles = []
    for k, row in enumerate(rows):
        image = pictures.image[row].permute(1, 2, 0).numpy()
        truth = pictures.truth.position_px[row].numpy()
        visible = pictures.truth.visible[row].numpy()
        tiles.append(_tile(image, truth, visible, position[k], np.exp(log_sigma[k])))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % _SHEET_COLUMNS)
    lines = [np.hstack(tiles[i : i + _SHEET_COLUMNS]) for i in range(0, len(tiles), _SHEET_COLUMNS)]
    if not cv2.imwrite(str(path), np.vstack(lines)[..., ::-1]):
        raise OSError(f"{path}: could not be written")


def _tile(
    image: NDArray, truth: NDArray, visible: NDArray, position: NDArray, sigma: NDArray
) -> NDArray:
    scale = _TILE_PX / image.shape[0]
    tile = cv2.resize(np.ascontiguousarray(image), (_TILE_PX, _TILE_PX))
    doubt = np.clip(np.log10(100 * sigma / image.shape[0]), 0, 1)
    order = np.flatnonzero(visible)[::3]
    for i in order:
        start, end = (tuple(int(v) for v in np.rint(scale * p)) for p in (truth[i], position[i]))
        color = (int(255 * doubt[i]), int(255 * (1 - doubt[i])), 60)
        cv2.line(tile, start, end, (255, 255, 255), 1, cv2.LINE_AA)
        cv2.circle(tile, end, 1, color, -1, cv2.LINE_AA)
    return tile
