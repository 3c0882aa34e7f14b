"""The light network's weights in closed form: ridge regressions from what a face shows to where the
landmark net's points are wrong, and to the log of how wrong.

Some thousand pictures are enough, and minutes on a CPU. Three things keep it honest on photographs:
they have a constant of their own, which is the one that ships; photographs, spoilt, with the
landmark net's answer on the clean picture are in the regression; and features count at most three
standard deviations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowface_ros.align.network.light_network import (
    LEVEL_CHANNELS,
    LEVEL_STRIDES,
    FaceFrame,
    LightNetwork,
    LowRank,
    displacement_clues,
    sigma_clues,
)
from flowface_ros.align.network.mit_encoder import EncodedImage

Array = NDArray[np.float32]

RIDGE, SIGMA_RIDGE = 3.0, 12.0
"""Penalty on standardised features, over their number."""
PHOTOGRAPH_WEIGHT = 2.0
_USUAL_ERROR = 0.12
"""Over the distance between the eyes: pictures whose median error is larger count less."""
_SMALLEST_ERROR_M = 4e-4
_LEAST_SPREAD = 1e-3
_ROWS_FOR_MODES = 3000


@dataclass(frozen=True)
class Rows:
    """B pictures for the regressions.

    features: (B, D) float16. clues, sigma_clues: (B, 6), (B, 9). missing: (B, N, 2), from the
    first flow to the truth, metres of an upright crop, 0 where nothing is known. error: (B,) median
    error of the face's skin over the eyes' distance. real: (B,) photographs.
    """

    features: NDArray[np.float16]
    clues: Array
    sigma_clues: Array
    missing: Array
    error: Array
    real: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.real)


def joined(parts: Sequence[Rows]) -> Rows:
    """All rows of some."""
    names = [field.name for field in fields(Rows)]
    return Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@torch.no_grad()
def choose_projections(network: LightNetwork, encoded: EncodedImage) -> None:
    """Make the projections the principal components of what the trunk's maps show on faces."""
    position, _, _ = _first(network, encoded)
    channels = zip(LEVEL_STRIDES, LEVEL_CHANNELS, encoded.levels, strict=False)
    for projection, (stride, count, level) in zip(network.project, channels, strict=True):
        assert isinstance(projection, torch.nn.Conv2d)
        at = (position + 0.5) * (2.0 / network.config.crop_px) - 1.0
        rows = getattr(network, f"sampled_{stride}")
        seen = torch.nn.functional.grid_sample(level, at[:, None, rows], align_corners=False)
        seen = seen[:, :, 0].transpose(1, 2).flatten(0, 1)
        _, vectors = torch.linalg.eigh(torch.cov(seen.T))
        projection.weight.copy_(vectors[:, -count:].T[..., None, None])


@torch.no_grad()
def rows_of(
    network: LightNetwork, encoded: EncodedImage, truth_px: Tensor, known: Tensor, iod_px: Tensor,
    real: bool,
) -> Rows:  # fmt: skip
    """truth_px: (B, N or Q, 2), of the texels and, in drawn pictures, of the irises. known: (B, Q)
    texels whose truth counts, all in drawn pictures."""
    first, frame, presence = _first(network, encoded)
    count = truth_px.shape[1]
    offset = torch.nan_to_num(truth_px) - first[:, :count]
    upright = torch.matmul(offset, frame.crop_from_upright) / frame.scale[:, None, None]
    missing = torch.zeros_like(first)
    missing[:, :count] = upright
    texels = known.shape[1]
    missing[:, :texels] *= known[..., None]
    skin = network.skin_share > 0
    error = offset[:, :texels][:, skin].norm(dim=2).median(dim=1).values / iod_px
    tensors = (
        network.features(encoded.levels, first).half(),
        displacement_clues(frame),
        sigma_clues(frame, presence, torch.log(frame.scale), network.config),
        missing,
        error,
        torch.full((len(first),), real),
    )
    return Rows(*(tensor.numpy() for tensor in tensors))


@torch.no_grad()
def solve(network: LightNetwork, rows: Rows) -> None:
    """Set the network's weights, in place."""
    features = rows.features.astype(np.float32)
    mean = features.mean(axis=0)
    scale = 1 / (features.std(axis=0) + _LEAST_SPREAD)
    network.feature_mean.copy_(torch.from_numpy(mean))
    network.feature_scale.copy_(torch.from_numpy(scale))
    features = network.standardised(torch.from_numpy(features)).numpy()
    weight = np.where(rows.real, PHOTOGRAPH_WEIGHT, 1 / (1 + (rows.error / _USUAL_ERROR) ** 2))
    # Drawn pictures have a constant of their own, which is thrown away.
    clues = np.column_stack([~rows.real, rows.clues[:, :-1], rows.real]).astype(np.float32)
    target = rows.missing.reshape(len(rows), -1)
    taught = _ridge(features, clues, target, weight.astype(np.float32), RIDGE)
    _set(network.displacement, (taught[0], taught[1][1:]), features, rows.clues)
    drawn = ~rows.real
    error = np.sqrt(0.5 * (rows.missing[drawn] ** 2).sum(axis=2))
    target = np.log(np.maximum(error, _SMALLEST_ERROR_M)) - network.log_sigma_constant().numpy()
    even = np.ones(int(drawn.sum()), np.float32)
    features, clues = features[drawn], rows.sigma_clues[drawn]
    taught = _ridge(features, clues, target.astype(np.float32), even, SIGMA_RIDGE)
    _set(network.log_sigma, taught, features, clues)


def _first(network: LightNetwork, encoded: EncodedImage) -> tuple[Tensor, FaceFrame, Tensor]:
    assert encoded.landmarks is not None and encoded.presence is not None
    points = encoded.landmarks[..., :2] + network.landmark_offset_px
    frame = FaceFrame(points, network.pose_solve)
    return network.first_flow(points, frame), frame, encoded.presence


def _ridge(
    features: Array, clues: Array, target: Array, weight: Array, penalty: float
) -> tuple[Array, Array]:
    """Coefficients of features, penalised, and of clues, not. As many unknowns as pictures."""
    root = np.sqrt(weight)[:, None]
    inner = (clues.T @ (weight[:, None] * clues)).astype(np.float64)
    inverse = np.linalg.inv(inner + 1e-3 * np.eye(len(inner)))
    of_clues = (inverse @ (clues.T @ (weight[:, None] * target))).astype(np.float32)
    shared = (inverse @ (clues.T @ (weight[:, None] * features))).astype(np.float32)
    own = root * (features - clues @ shared)
    kernel = own @ own.T / own.shape[1]
    kernel[np.diag_indices_from(kernel)] += penalty
    duals = np.linalg.solve(kernel, root * (target - clues @ of_clues))
    weights = own.T @ duals / own.shape[1]
    return weights, of_clues - shared @ weights


def _set(layer: LowRank, taught: tuple[Array, Array], features: Array, clues: Array) -> None:
    """The map by its first modes, in the mean over the pictures."""
    whole = np.concatenate(taught)
    step = max(1, len(features) // _ROWS_FOR_MODES)
    answers = np.concatenate([features[::step], clues[::step]], axis=1) @ whole
    _, vectors = np.linalg.eigh((answers.T @ answers).astype(np.float64))
    modes = vectors[:, -layer.code.shape[1] :].astype(np.float32)
    layer.code.copy_(torch.from_numpy(whole @ modes))
    layer.basis.copy_(torch.from_numpy(modes.T.copy()))
