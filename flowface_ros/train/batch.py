"""What a data source gives the trainer: pictures in linear light and the truth of every texel."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

Example = tuple[NDArray, NDArray, NDArray, NDArray]
"""The arrays of a `Batch` for one crop, without their first axis."""


@dataclass(frozen=True)
class Batch:
    """B crops of side S with Q texels.

    light: (B, 3, S, S) float16 or float32, linear RGB, before any camera (see `augment`).
    position_px: (B, Q, 2) float32, pixel centres at integers; outside of the crop, too. NaN where
        it is not known.
    visible: (B, Q) bool, what nothing hides and lies inside of the crop.
    iod_px: (B,) float32, distance of the outer eye corners in space, at the scale of the crop; NaN
        where these are not known.
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


def stacked(examples: Iterable[Example]) -> Batch:
    """One batch of crops."""
    columns = zip(*examples, strict=True)
    return Batch(*(torch.from_numpy(np.stack(column)) for column in columns))


class DataSource(Protocol):
    """Batches by number: batch k is the same whenever and however often it is asked for."""

    def batches(self, first: int) -> Iterator[Batch]:
        """Batch `first`, `first + 1`, ... without end, see `Numbers`."""
        ...

    def close(self) -> None:
        """Ends worker processes."""
        ...


class Numbers:
    """Numbers from `first` on, without end, for process `rank` of a `world` that shares them: every
    process takes one of each `world` numbers."""

    def __init__(self, first: int, rank: int, world: int) -> None:
        self._first, self._rank, self._world = first, rank, world

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self._first * self._world + self._rank, self._world)


def numbered(make: Callable[[int], Batch], numbers: Numbers) -> Iterator[Batch]:
    """The batches of these numbers, made when they are asked for."""
    return map(make, numbers)


def loaded(batches: Dataset, numbers: Numbers, workers: int) -> Iterator[Batch]:
    """The batches of these numbers, made ahead by so many processes; by this one without any.

    The processes end with the iterator.
    """
    loader = DataLoader(
        batches,
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        multiprocessing_context="forkserver" if workers else None,
    )
    yield from loader


def inside_crop(position_px: Tensor, size: int) -> Tensor:
    """(..., 2) -> (...) bool: within the crop's area, whose pixels are `size` a side."""
    return ((position_px > -0.5) & (position_px < size - 0.5)).all(dim=-1)
