"""Batches drawn by the CPU renderer in worker processes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, Dataset

from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.train.batch import Batch
from flowface_ros.train.studio import Studio, SynthConfig


class _Numbered(Dataset):
    """Batches by number, for torch's loader; the studio is made in the worker."""

    def __init__(self, config: SynthConfig) -> None:
        self._config = config
        self._studio: Studio | None = None

    def __getitem__(self, number: int) -> Batch:
        if self._studio is None:
            torch.set_num_threads(1)
            self._studio = Studio(load_builtin_head(), self._config)
        drawn = self._studio.batch(number)
        arrays = (drawn.light, drawn.position_px, drawn.visible, drawn.iod_px)
        return Batch(*(torch.from_numpy(array) for array in arrays))


class Numbers:
    """Batch numbers for one of several ranks: first, first + 1, ... as rank + world * number."""

    def __init__(self, first: int, rank: int, world: int) -> None:
        self._first, self._rank, self._world = first, rank, world

    def __iter__(self) -> Iterator[int]:
        number = self._first
        while True:
            yield number * self._world + self._rank
            number += 1


class CpuSource:
    """See `DataSource`. workers: processes that draw; 0 draws in this one."""

    def __init__(self, config: SynthConfig, workers: int, rank: int = 0, world: int = 1) -> None:
        self._dataset = _Numbered(config)
        self._workers, self._rank, self._world = workers, rank, world

    def batches(self, first: int) -> Iterator[Batch]:
        """See `DataSource`."""
        loader = DataLoader(
            self._dataset,
            batch_size=None,
            sampler=Numbers(first, self._rank, self._world),
            num_workers=self._workers,
            multiprocessing_context="forkserver" if self._workers else None,
        )
        yield from loader

    def close(self) -> None:
        """Workers end with the iterator."""
