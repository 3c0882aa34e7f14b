"""What the light network sees of a picture, and what its answer should be: all that its fit needs,
so pictures are drawn once and never kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowface_ros.align.network.constants import IRIS_COUNT
from flowface_ros.align.network.light_network import (
    LEVEL_CHANNELS,
    LEVEL_STRIDES,
    FaceFrame,
    LightNetwork,
    face_clues,
)
from flowface_ros.align.network.mit_encoder import EncodedImage

Half = NDArray[np.float16]


@dataclass(frozen=True)
class Looks:
    """B looks at pictures, by N points of which the first Q are texels.

    features: (B, D), see `LightNetwork.features`. clues: (B, 8), see `face_clues`. missing:
    (B, N, 2), from the first flow to the truth, mm of an upright crop, 0 where nothing is known.
    known, visible: (B, Q). iod_mm: (B,) distance of the eyes. real: (B,) photographs.
    """

    features: Half
    clues: NDArray[np.float32]
    missing: Half
    known: NDArray[np.bool_]
    visible: NDArray[np.bool_]
    iod_mm: NDArray[np.float32]
    real: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.real)

    def __getitem__(self, rows: slice | NDArray) -> Looks:
        return Looks(*(getattr(self, field.name)[rows] for field in fields(self)))

    def write(self, path: Path) -> None:
        """All of it or nothing."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("known", "visible"):
            arrays[name] = np.packbits(arrays[name], axis=1)
        half = path.with_suffix(".part")
        with half.open("wb") as file:
            np.savez(file, **arrays)
        half.rename(path)

    @staticmethod
    def read(path: Path) -> Looks:
        """What was written."""
        with np.load(path) as file:
            arrays = {field.name: file[field.name] for field in fields(Looks)}
        texels = arrays["missing"].shape[1] - IRIS_COUNT
        for name in ("known", "visible"):
            arrays[name] = np.unpackbits(arrays[name], axis=1, count=texels).astype(bool)
        return Looks(**arrays)


def joined(parts: Sequence[Looks]) -> Looks:
    """All looks of some."""
    names = [field.name for field in fields(Looks)]
    return Looks(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


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
def looks_at(
    network: LightNetwork, encoded: EncodedImage, truth_px: Tensor, visible: Tensor,
    iod_px: Tensor, real: bool,
) -> Looks:  # fmt: skip
    """truth_px: (B, N or Q, 2), of the texels and, in drawn pictures, of the irises; NaN where it
    is not known. visible: (B, Q). iod_px: (B,)."""
    first, frame, presence = _first(network, encoded)
    count, texels = truth_px.shape[1], visible.shape[1]
    known = torch.isfinite(truth_px).all(dim=2)
    offset = torch.nan_to_num(truth_px) - first[:, :count]
    upright = torch.matmul(offset, frame.crop_from_upright) * (1e3 / frame.scale)[:, None, None]
    missing = torch.zeros_like(first)
    missing[:, :count] = upright * known[..., None]
    tensors = (
        network.features(encoded.levels, first).half(),
        face_clues(frame, presence, network.config),
        missing.clamp(-1e4, 1e4).half(),
        known[:, :texels],
        visible,
        iod_px * 1e3 / frame.scale,
        torch.full((len(first),), real),
    )
    return Looks(*(tensor.numpy() for tensor in tensors))


def _first(network: LightNetwork, encoded: EncodedImage) -> tuple[Tensor, FaceFrame, Tensor]:
    assert encoded.landmarks is not None and encoded.presence is not None
    points = encoded.landmarks[..., :2] + network.landmark_offset_px
    frame = FaceFrame(points, network.pose_solve)
    return network.first_flow(points, frame), frame, encoded.presence
