"""What a data source gives the trainer: pictures in linear light and the truth of every texel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """B crops of side S with Q texels.

    light: (B, 3, S, S) float16 or float32, linear RGB, before any camera (see `augment`).
    position_px: (B, Q, 2) float32, pixel centres at integers; outside of the crop, too. NaN where
        it is not known.
    visible: (B, Q) bool, what nothing hides and lies inside of the crop.
    iod_px: (B,) float32, distance of the outer eye corners in space, at the scale of the crop.
    """

    light: Tensor
    position_px: Tensor
    visible: Tensor
    iod_px: Tensor

    def __len__(self) -> int:
        return len(self.light)

    def to(self, device: torch.device | str) -> Batch:
        return Batch(*(t.to(device, non_blocking=True) for t in self.tensors()))

    def pinned(self) -> Batch:
        """In memory that a GPU copies from without waiting."""
        return Batch(*(t.pin_memory() for t in self.tensors()))

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.light, self.position_px, self.visible, self.iod_px


def joined(batches: list[Batch]) -> Batch:
    """One batch of several."""
    light = torch.cat([batch.light.to(batches[0].light.dtype) for batch in batches])
    columns = zip(*(batch.tensors()[1:] for batch in batches), strict=True)
    return Batch(light, *(torch.cat(tensors) for tensors in columns))


class DataSource(Protocol):
    """Batches by number: batch k is the same whenever and however often it is asked for."""

    def batches(self, first: int) -> Iterator[Batch]:
        """Batch `first`, `first + 1`, ... without end."""
        ...

    def close(self) -> None:
        """Ends worker processes."""
        ...


def inside_crop(position_px: Tensor, size: int) -> Tensor:
    """(..., 2) -> (...) bool: within the crop's area, whose pixels are `size` a side."""
    return ((position_px > -0.5) & (position_px < size - 0.5)).all(dim=-1)
