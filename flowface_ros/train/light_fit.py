"""Fits the light network's head to looks that were kept, while its trunk stays as it is.

An epoch over some thousand looks takes seconds on a CPU. Two things keep the head honest on
photographs: photographs, spoilt, with the landmark net's answer on the clean picture are among the
looks; and half of the features are left out at each step.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from flowface_ros.align.network.light_network import LightNetwork
from flowface_ros.head.model import HeadModel
from flowface_ros.train.calibrate import calibrate, calibration
from flowface_ros.train.looks import Looks
from flowface_ros.train.regions import REGIONS, texel_regions

EPOCHS, BATCH = 12, 128
RATE, WEIGHT_DECAY, LARGEST_GRADIENT = 1e-3, 0.05, 0.05
FEATURE_DROPOUT = 0.5
HIDDEN_WEIGHT = 0.5
"""Of a point that is not seen."""
SIGMA_WEIGHT = 0.01
_ROUNDED_MM = 0.2
"""Distances below this count as squares."""
_LEAST_ERROR_MM = 0.4
_TAIL = 20.0
"""Of squared normalised residuals: larger ones count by their log."""
_LEAST_SPREAD = 1e-3
_USUAL_ERROR = 0.12
"""Over the distance of the eyes: pictures with larger ones count less for the modes."""
_LOOKS_FOR_MODES = 3000
_FIRST_CODE = 0.1
"""Size of the first codes, so that answers start near none."""


def fit(network: LightNetwork, looks: Looks, epochs: int = EPOCHS, seed: int = 0) -> None:
    """Set the head's weights, in place."""
    torch.manual_seed(seed)
    _standardise(network, looks)
    _choose_modes(network, looks)
    weights = [p for p in network.head.parameters() if p.ndim == 2]
    vectors = [p for p in network.head.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [
            {"params": weights, "weight_decay": WEIGHT_DECAY},
            {"params": vectors, "weight_decay": 0.0},
        ]
    )
    steps = epochs * -(-len(looks) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps, pct_start=0.1)
    with tqdm(total=steps, desc="steps") as bar:
        for _ in range(epochs):
            for rows in torch.randperm(len(looks)).split(BATCH):
                loss = _loss(network, looks[np.sort(rows.numpy())])
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_([*weights, *vectors], LARGEST_GRADIENT)
                optimizer.step()
                schedule.step()
                bar.update()


@torch.no_grad()
def calibrate_light(network: LightNetwork, model: HeadModel, looks: Looks) -> None:
    """Honest sigma on looks that were not fitted, in place; see `calibrate`. Irises take the
    eyelids' factor."""
    parts = [network.correct(*_inputs(network, looks[i : i + BATCH])) for i in _starts(looks)]
    texels = looks.visible.shape[1]
    position_m, log_sigma_m = (torch.cat(p)[:, :texels].numpy() for p in zip(*parts, strict=True))
    truth_m = 1e-3 * looks.missing[:, :texels].astype(np.float32)
    regions = texel_regions(model, network.config.grid)
    change = calibration(regions, position_m, log_sigma_m, truth_m, looks.visible)
    calibrate(network, change)
    network.log_factor[texels:] += float(change[regions == REGIONS.index("eyelids")].mean())


def _loss(network: LightNetwork, looks: Looks) -> Tensor:
    """Mean distance over that of the eyes, and the negative log likelihood, per axis, of what is
    believed, on drawn pictures."""
    features, clues = _inputs(network, looks)
    features = functional.dropout(features, FEATURE_DROPOUT)
    said, change = network.head(torch.cat([features, clues], dim=1))
    real = torch.from_numpy(looks.real)
    missing = torch.from_numpy(looks.missing).float()
    weight = _weights(looks)
    distance = torch.sqrt((said - missing).square().sum(dim=2) + _ROUNDED_MM**2)
    iod = torch.from_numpy(looks.iod_mm)[:, None]
    log_sigma_m = network.log_sigma_constant() + change
    share = network.belief(log_sigma_m)[:, None, None]
    error = 1e-6 * (said.detach() * share - missing).square().sum(dim=2)
    normalised = 0.5 * error.clamp(min=2e-6 * _LEAST_ERROR_MM**2) * torch.exp(-2 * log_sigma_m)
    surprise = (log_sigma_m + 0.5 * torch.log1p(normalised / _TAIL) * _TAIL) * ~real[:, None]
    return (weight * (distance / iod + SIGMA_WEIGHT * surprise)).sum() / weight.sum()


def _weights(looks: Looks) -> Tensor:
    """(B, N)."""
    weight = torch.ones(looks.missing.shape[:2])
    texels = looks.visible.shape[1]
    seen = np.where(looks.visible, 1.0, HIDDEN_WEIGHT) * looks.known
    weight[:, :texels] = torch.from_numpy(seen).float()
    weight[:, texels:] *= ~torch.from_numpy(looks.real)[:, None]
    return weight


def _inputs(network: LightNetwork, looks: Looks) -> tuple[Tensor, Tensor]:
    features = network.standardised(torch.from_numpy(looks.features).float())
    return features, torch.from_numpy(looks.clues)


def _starts(looks: Looks) -> range:
    return range(0, len(looks), BATCH)


@torch.no_grad()
def _standardise(network: LightNetwork, looks: Looks) -> None:
    parts = [looks.features[i : i + BATCH].astype(np.float64) for i in _starts(looks)]
    count = len(looks)
    mean = sum(part.sum(axis=0) for part in parts) / count
    variance = sum(((part - mean) ** 2).sum(axis=0) for part in parts) / count
    network.feature_mean.copy_(torch.from_numpy(mean))
    network.feature_scale.copy_(torch.from_numpy(1 / (np.sqrt(variance) + _LEAST_SPREAD)))


@torch.no_grad()
def _choose_modes(network: LightNetwork, looks: Looks) -> None:
    """The principal components of what is missing on drawn pictures."""
    layer = network.head.displacement
    drawn = np.flatnonzero(~looks.real)
    few = looks[drawn[:: max(1, len(drawn) // _LOOKS_FOR_MODES)]]
    missing = torch.from_numpy(few.missing).float()
    error = missing.norm(dim=2).median(dim=1).values / torch.from_numpy(few.iod_mm)
    weight = torch.rsqrt(len(few) * (1 + (error / _USUAL_ERROR).square()))
    rows = (missing * weight[:, None, None]).flatten(1)
    count = min(len(layer.basis), *rows.shape)
    _, spread, modes = torch.svd_lowrank(rows, count, niter=4)
    layer.basis[:count] = (modes * spread).T
    layer.code.weight.mul_(_FIRST_CODE)
    layer.code.bias.zero_()
