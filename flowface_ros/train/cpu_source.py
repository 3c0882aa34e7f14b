"""Batches drawn by the CPU renderer in worker processes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Dataset

from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.train.batch import Batch, Numbers, loaded
from flowface_ros.train.studio import Studio, SynthConfig


class _Numbered(Dataset):
    """Batches by number, for torch's loader; the studio is made in the worker."""

    def __init__(self, config: SynthConfig) -> None:
        self._config = config
        self._studio: Studio | None = None

    def __getitem__(self, number: int) -> Batch:
        if self._studio is None:
            self._studio = Studio(load_builtin_head(), self._config)
        drawn = self._studio.batch(number)
        arrays = (drawn.light, drawn.position_px, drawn.visible, drawn.iod_px)
        return Batch(*(torch.from_numpy(array) for array in arrays))


class CpuSource:
    """See `DataSource`. workers: processes that draw; 0 draws in this one."""

    def __init__(self, config: SynthConfig, workers: int, rank: int = 0, world: int = 1) -> None:
        self._dataset = _Numbered(config)
        self._workers, self._rank, self._world = workers, rank, world

    def batches(self, first: int) -> Iterator[Batch]:
        """See `DataSource`."""
        return loaded(self._dataset, Numbers(first, self._rank, self._world), self._workers)

    def close(self) -> None:
        """Workers end with the iterator."""
