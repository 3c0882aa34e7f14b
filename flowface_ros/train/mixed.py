"""Several data sources in one batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flowface_ros.train.batch import Batch, DataSource, joined


class MixedSource:
    """See `DataSource`. Batch k is the sources' batches k, one after the other; how many pictures
    each gives is set where it is made. They go to the first one's device."""

    def __init__(self, sources: Sequence[DataSource]) -> None:
        self._sources = sources

    def batches(self, first: int) -> Iterator[Batch]:
        """See `DataSource`."""
        for parts in zip(*(source.batches(first) for source in self._sources), strict=True):
            device = parts[0].light.device
            yield joined([part.to(device) for part in parts])

    def close(self) -> None:
        for source in self._sources:
            source.close()
