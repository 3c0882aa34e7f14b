"""What the light network sees of a picture, and what its answer should be: all that its fit needs.

The landmark net and its finest map stay as they are, so they run once a picture, which is not kept.
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

Single = NDArray[np.float32]
_LARGEST = 127


@dataclass(frozen=True)
class Looks:
    """B looks at pictures, by N points of which the first Q are texels.

    finest: (B, C, H, W) the trunk's map at stride 4, over finest_step (B, C). first_px: (B, N, 2)
    first flow. crop_px_per_m: (B, 2, 2), see `FaceFrame`. clues: (B, 8), see `face_clues`.
    missing: (B, N, 2), from the first flow to the truth, mm of an upright crop, 0 where nothing is
    known. known, visible: (B, Q). iod_mm: (B,) distance of the eyes. real: (B,) photographs.
    """

    finest: NDArray[np.int8]
    finest_step: Single
    first_px: Single
    crop_px_per_m: Single
    clues: Single
    missing: NDArray[np.float16]
    known: NDArray[np.bool_]
    visible: NDArray[np.bool_]
    iod_mm: Single
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


class KeptLooks(Sequence[Looks]):
    """Files of looks, each read when it is asked for."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = list(paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, number: int) -> Looks:  # type: ignore[override]  # one at a time
        return Looks.read(self._paths[number])


def joined(parts: Sequence[Looks]) -> Looks:
    """All looks of some."""
    names = [field.name for field in fields(Looks)]
    return Looks(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def finest_level(looks: Looks) -> Tensor:
    """(B, C, H, W) the trunk's map at stride 4."""
    return torch.from_numpy(looks.finest) * torch.from_numpy(looks.finest_step)[..., None, None]


@torch.no_grad()
def choose_projections(network: LightNetwork, looks: Looks) -> None:
    """Make the projections the principal components of what the maps show on faces."""
    levels = network.own_levels(finest_level(looks))
    at = torch.from_numpy(looks.first_px + 0.5) * (2.0 / network.config.crop_px) - 1.0
    channels = zip(LEVEL_STRIDES, LEVEL_CHANNELS, levels, strict=True)
    for projection, (stride, count, level) in zip(network.project, channels, strict=True):
        assert isinstance(projection, torch.nn.Conv2d)
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
    assert encoded.landmarks is not None and encoded.presence is not None
    points = encoded.landmarks[..., :2] + network.landmark_offset_px
    frame = FaceFrame(points, network.pose_solve)
    first = network.first_flow(points, frame)
    count, texels = truth_px.shape[1], visible.shape[1]
    known = torch.isfinite(truth_px).all(dim=2)
    offset = torch.nan_to_num(truth_px) - first[:, :count]
    back = frame.crop_px_per_m * (1e3 / frame.scale.square())[:, None, None]
    upright = torch.matmul(offset, back)
    missing = torch.zeros_like(first)
    missing[:, :count] = upright * known[..., None]
    finest = encoded.levels[0]
    step = finest.abs().amax(dim=(2, 3)).clamp(min=1e-6) / _LARGEST
    tensors = (
        torch.round(finest / step[..., None, None]).to(torch.int8),
        step,
        first,
        frame.crop_px_per_m,
        face_clues(frame, encoded.presence, network.config),
        missing.clamp(-1e4, 1e4).half(),
        known[:, :texels],
        visible,
        iod_px * 1e3 / frame.scale,
        torch.full((len(first),), real),
    )
    return Looks(*(tensor.numpy() for tensor in tensors))
