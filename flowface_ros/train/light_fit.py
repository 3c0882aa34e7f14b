"""Fits the light network's head, and its own copies of the trunk's stages, to looks that were kept.

Three things keep it honest on photographs: photographs, spoilt, with the landmark net's answer on
the clean picture are in every batch; features are left out at each step; and the landmark net
itself stays as it is. Most looks start from a flow that is off by a share of another look's error
besides, so that what a face is like says less about its error than what is seen there. Two looks at
one picture ought to err alike, and so ought two pictures of one person at two moments: what differs
between their errors is what moves a mesh that should lie still, and has losses of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from flowface_ros.align.network.light_network import LightNetwork
from flowface_ros.head.model import HeadModel
from flowface_ros.train.calibrate import calibrate, calibration
from flowface_ros.train.ema import WeightMean
from flowface_ros.train.looks import Looks, choose_projections, finest_level, joined
from flowface_ros.train.regions import REGIONS, texel_regions

RATE, WARM_UP_STEPS, WEIGHT_DECAY, LARGEST_GRADIENT = 8e-4, 200, 1.0, 0.05
PHOTOGRAPHS_A_STEP = 16
FEATURE_DROPOUT = 0.4
MOVED_SHARE, MOVED_SIZE = 0.65, 0.6
"""Of looks whose first flow is moved, and standard deviation of the share of another's error."""
_LARGEST_MOVE_MM = 60.0
HIDDEN_WEIGHT = 0.5
"""Of a point that is not seen."""
SIGMA_WEIGHT = 0.01
JITTER_WEIGHT, DRIFT_WEIGHT = 0.3, 0.5
_ROUNDED_MM = 0.2
"""Distances below this count as squares."""
_LEAST_ERROR_MM = 0.4
_TAIL = 20.0
"""Of squared normalised residuals: larger ones count by their log."""
_LEAST_SPREAD = 1e-3
_USUAL_ERROR = 0.12
"""Over the distance of the eyes: pictures with larger ones count less for the modes."""
_BATCHES_TO_START = 45
"""The features' means and the modes are those of the first batches."""
_FIRST_CODE = 0.1
"""Size of the first codes, so that answers start near none."""

_BATCH = 128
"""Looks at once where nothing is learned."""


class Pairs:
    """Which looks of a batch of B belong together: row i and row i + B/2 are of one picture, the
    second in a mirror. In batches of moments, rows i and i + B/4 of either half are of one scene.
    """

    def __init__(self, mirror_rows: Tensor) -> None:
        """mirror_rows: (N,) row of the point on the other side of the face."""
        self._mirror_rows = mirror_rows

    def jitter(self, said_mm: Tensor, looks: Looks) -> Tensor:
        """Mean distance between the errors of looks at one picture, over that of the eyes, of
        points seen in both."""
        half = len(looks) // 2
        error, seen = _error(said_mm, looks), _seen(looks, said_mm.shape[1])
        mirrored = error[half:][:, self._mirror_rows] * torch.tensor([-1.0, 1.0])
        both = seen[:half] & seen[half:][:, self._mirror_rows]
        return _mean_away(error[:half] - mirrored, both, looks.iod_mm[:half])

    @staticmethod
    def drift(said_mm: Tensor, looks: Looks) -> Tensor:
        """The same of looks at one scene at two moments."""
        error, seen = _error(said_mm, looks), _seen(looks, said_mm.shape[1])
        one, two = np.split(np.arange(len(looks)).reshape(2, -1), 2, axis=1)
        first, second = one.ravel(), two.ravel()
        both = seen[first] & seen[second]
        return _mean_away(error[first] - error[second], both, looks.iod_mm[first])


def fit(
    network: LightNetwork, drawn: Sequence[Looks], moments: Sequence[Looks],
    photographs: Looks | None, mirror_rows: Tensor, epochs: int, state: Path | None = None,
    rate: float = RATE,
) -> LightNetwork:  # fmt: skip
    """The network with what corrects set: the running mean of its weights. One that corrects
    something already goes on from there.

    drawn, moments: batches of looks, see `Pairs`. state: file that is written after each epoch;
    where it exists the fit goes on from there. rate: of learning, at first.
    """
    kept = state if state is not None and state.exists() else None
    if kept is None and not network.head.displacement.basis.any():
        _start(network, joined([drawn[k] for k in range(min(_BATCHES_TO_START, len(drawn)))]))
    run = _Run(network, mirror_rows, epochs * (len(drawn) + len(moments)), rate)
    if kept is not None:
        run.restore(kept)
    with tqdm(total=run.steps, initial=run.step, desc="steps") as bar:
        while run.step < run.steps:
            rng = np.random.default_rng(run.step)
            for number in rng.permutation(len(drawn) + len(moments)):
                few = _drawn_photographs(photographs, rng)
                later = number - len(drawn)
                looks = drawn[number] if later < 0 else moments[later]
                run.learn(looks, later >= 0, few)
                bar.update()
            if state is not None:
                run.save(state)
    applied = run.mean.applied(network)
    assert isinstance(applied, LightNetwork)
    return applied


class _Run:
    """Optimizer and schedule. step: how many have been taken."""

    def __init__(self, network: LightNetwork, mirror_rows: Tensor, steps: int, rate: float) -> None:
        self.network, self.steps, self.step = network, steps, 0
        self._rate = rate
        network.encoder.requires_grad_(False)
        stages = [*network.own_stages.parameters(), *network.project.parameters()]
        head = list(network.head.parameters())
        self._parts = (stages, head)
        matrices = [p for p in head if p.ndim == 2]
        rest = [*stages, *(p for p in head if p.ndim == 1)]
        self._optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": WEIGHT_DECAY},
                {"params": rest, "weight_decay": 0.0},
            ]
        )
        self.mean, self._pairs = WeightMean(network), Pairs(mirror_rows)

    def learn(self, looks: Looks, moments: bool, photographs: Looks | None) -> None:
        """One step."""
        torch.manual_seed(self.step)
        fall = 0.5 * (1 + math.cos(math.pi * self.step / self.steps))
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * fall * min(1.0, (self.step + 1) / WARM_UP_STEPS)
        loss = _step_loss(self.network, looks, moments, photographs, self._pairs)
        self._optimizer.zero_grad()
        loss.backward()
        for part in self._parts:
            nn.utils.clip_grad_norm_(part, LARGEST_GRADIENT)
        self._optimizer.step()
        self.step += 1
        self.mean.update(self.network, self.step)

    def save(self, path: Path) -> None:
        half = path.with_suffix(".part")
        saved = (self.step, self.network.state_dict(), self._optimizer.state_dict())
        torch.save((*saved, self.mean.values), half)
        half.rename(path)

    def restore(self, path: Path) -> None:
        self.step, weights, optimizer, mean = torch.load(path)
        self.network.load_state_dict(weights)
        self._optimizer.load_state_dict(optimizer)
        self.mean.load(mean)


@torch.no_grad()
def calibrate_light(network: LightNetwork, model: HeadModel, looks: Looks) -> None:
    """Honest sigma on looks that were not fitted, in place; see `calibrate`. Irises take the
    eyelids' factor."""
    parts = [
        network.believed(*network.corrections(*_inputs(network, looks[i : i + _BATCH]))[-1])
        for i in _starts(looks)
    ]
    texels = looks.visible.shape[1]
    position_m, log_sigma_m = (torch.cat(p)[:, :texels].numpy() for p in zip(*parts, strict=True))
    truth_m = 1e-3 * looks.missing[:, :texels].astype(np.float32)
    regions = texel_regions(model, network.config.grid)
    change = calibration(regions, position_m, log_sigma_m, truth_m, looks.visible)
    calibrate(network, change)
    network.log_factor[texels:] += float(change[regions == REGIONS.index("eyelids")].mean())


def _drawn_photographs(photographs: Looks | None, rng: np.random.Generator) -> Looks | None:
    if photographs is None:
        return None
    return photographs[rng.integers(len(photographs), size=PHOTOGRAPHS_A_STEP)]


def _step_loss(
    network: LightNetwork, drawn: Looks, moments: bool, photographs: Looks | None, pairs: Pairs
) -> Tensor:
    looks = drawn if photographs is None else joined([drawn, photographs])
    looks = moved(looks, len(drawn), np.random.default_rng(torch.initial_seed()))
    answers = network.corrections(*_inputs(network, looks), FEATURE_DROPOUT)
    losses = [_loss(network, said_mm, change, looks) for said_mm, change in answers]
    said_of_drawn, drawn = answers[-1][0][: len(drawn)], looks[: len(drawn)]
    loss = sum(losses) / len(losses) + JITTER_WEIGHT * pairs.jitter(said_of_drawn, drawn)
    return loss + DRIFT_WEIGHT * pairs.drift(said_of_drawn, drawn) if moments else loss


def moved(looks: Looks, drawn: int, rng: np.random.Generator) -> Looks:
    """First flows moved by shares of what other looks miss; what these miss then is of the new
    ones. The first so many looks are of drawn pictures, whose errors are known everywhere."""
    count = len(looks)
    share = rng.normal(0, MOVED_SIZE, count) * (looks.real | (rng.random(count) < MOVED_SHARE))
    shift = looks.missing[rng.integers(drawn, size=count)].astype(np.float32)
    shift *= share[:, None, None].astype(np.float32)
    length = np.sqrt(np.square(shift).sum(axis=2).mean(axis=1))
    shift *= (_LARGEST_MOVE_MM / np.maximum(length, _LARGEST_MOVE_MM))[:, None, None]
    shift_px = 1e-3 * shift @ looks.crop_px_per_m.transpose(0, 2, 1)
    missing = (looks.missing - shift).astype(np.float16)
    first = (looks.first_px + shift_px).astype(np.float32)
    return replace(looks, first_px=first, missing=missing)


def _loss(network: LightNetwork, said_mm: Tensor, change: Tensor, looks: Looks) -> Tensor:
    """Mean distance over that of the eyes, and the negative log likelihood, per axis, of what is
    believed, on drawn pictures."""
    real = torch.from_numpy(looks.real)
    missing = torch.from_numpy(looks.missing).float()
    weight = _weights(looks)
    iod = torch.from_numpy(looks.iod_mm)[:, None]
    log_sigma_m = network.log_sigma_constant() + change
    share = network.belief(log_sigma_m)[:, None, None]
    error = 1e-6 * (said_mm.detach() * share - missing).square().sum(dim=2)
    normalised = 0.5 * error.clamp(min=2e-6 * _LEAST_ERROR_MM**2) * torch.exp(-2 * log_sigma_m)
    surprise = (log_sigma_m + 0.5 * torch.log1p(normalised / _TAIL) * _TAIL) * ~real[:, None]
    distance = _distance(said_mm - missing) / iod
    return (weight * (distance + SIGMA_WEIGHT * surprise)).sum() / weight.sum()


def _error(said_mm: Tensor, looks: Looks) -> Tensor:
    return said_mm - torch.from_numpy(looks.missing).float()


def _mean_away(difference_mm: Tensor, judged: Tensor, iod_mm: NDArray[np.float32]) -> Tensor:
    away = _distance(difference_mm) / torch.from_numpy(iod_mm)[:, None]
    return (away * judged).sum() / judged.sum().clamp(min=1)


def _distance(difference_mm: Tensor) -> Tensor:
    """(..., 2) -> (...)."""
    return torch.sqrt(difference_mm.square().sum(dim=-1) + _ROUNDED_MM**2)


def _weights(looks: Looks) -> Tensor:
    """(B, N)."""
    weight = torch.ones(looks.missing.shape[:2])
    texels = looks.visible.shape[1]
    seen = np.where(looks.visible, 1.0, HIDDEN_WEIGHT) * looks.known
    weight[:, :texels] = torch.from_numpy(seen).float()
    weight[:, texels:] *= ~torch.from_numpy(looks.real)[:, None]
    return weight


def _seen(looks: Looks, count: int) -> Tensor:
    """(B, N) bool; irises count as seen."""
    seen = torch.ones(len(looks), count, dtype=torch.bool)
    seen[:, : looks.visible.shape[1]] = torch.from_numpy(looks.visible & looks.known)
    return seen


def _inputs(
    network: LightNetwork, looks: Looks
) -> tuple[tuple[Tensor, ...], Tensor, Tensor, Tensor]:
    """Arguments of `LightNetwork.corrections`."""
    rest = (looks.first_px, looks.crop_px_per_m, looks.clues)
    levels = network.own_levels(finest_level(looks))
    return levels, *(torch.from_numpy(array) for array in rest)  # type: ignore[return-value]


def _starts(looks: Looks) -> range:
    return range(0, len(looks), _BATCH)


@torch.no_grad()
def _start(network: LightNetwork, looks: Looks) -> None:
    choose_projections(network, looks[:_BATCH])
    inputs = [_inputs(network, looks[i : i + _BATCH]) for i in _starts(looks)]
    features = torch.cat(
        [network.features(network.projected(levels), at).double() for levels, at, *_ in inputs]
    )
    network.feature_mean.copy_(features.mean(dim=0))
    network.feature_scale.copy_(1 / (features.std(dim=0, correction=0) + _LEAST_SPREAD))
    _choose_modes(network, looks)


def _choose_modes(network: LightNetwork, looks: Looks) -> None:
    """The principal components of what is missing."""
    layer = network.head.displacement
    missing = torch.from_numpy(looks.missing).float()
    error = missing.norm(dim=2).median(dim=1).values / torch.from_numpy(looks.iod_mm)
    weight = torch.rsqrt(len(looks) * (1 + (error / _USUAL_ERROR).square()))
    rows = (missing * weight[:, None, None]).flatten(1)
    count = min(len(layer.basis), *rows.shape)
    _, spread, modes = torch.svd_lowrank(rows, count, niter=4)
    layer.basis[:count] = (modes * spread).T
    layer.code.weight.mul_(_FIRST_CODE)
    layer.code.bias.zero_()
