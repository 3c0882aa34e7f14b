"""Training batches from pictures with truth on disk, such as tools/blender_set.py makes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from flowface_ros.align.landmark_errors import query_points
from flowface_ros.head.atlas import texel_grid
from flowface_ros.head.model import HeadModel
from flowface_ros.train.batch import Batch, Example, Numbers, numbered, stacked
from flowface_ros.train.picture_set import picture_files, read_light, read_picture

_STREAM = 11


class PictureSource:
    """See `DataSource`. Raises ValueError for an empty folder and for pictures of another size or
    of another grid."""

    def __init__(
        self, model: HeadModel, folder: Path, crop_px: int, grid: int, batch_size: int, seed: int,
        rank: int = 0, world: int = 1, irises: bool = False,
    ) -> None:  # fmt: skip
        """irises: their points follow the grid's texels."""
        self._files = picture_files(folder)
        texels = texel_grid(model, grid)
        self._points = len(query_points(model, texels) if irises else texels.points)
        self._crop_px, self._size, self._seed = crop_px, batch_size, seed
        self._rank, self._world = rank, world
        self.batch(0)

    def batches(self, first: int) -> Iterator[Batch]:
        """See `DataSource`."""
        return numbered(self.batch, Numbers(first, self._rank, self._world))

    def close(self) -> None:
        """Nothing to end."""

    def batch(self, number: int) -> Batch:
        """Batch `number`."""
        rng = np.random.default_rng([self._seed, _STREAM, number])
        return stacked(self._row(k) for k in rng.integers(len(self._files), size=self._size))

    def _row(self, index: int) -> Example:
        path = self._files[index]
        picture, light = read_picture(path), read_light(path)
        missing = self._points - len(picture.position_px)
        if missing > 0 or light.shape != (self._crop_px, self._crop_px, 3):
            raise ValueError(
                f"{path}: is {light.shape} with {len(picture.position_px)} points, must be"
                f" {(self._crop_px, self._crop_px, 3)} with at least {self._points}"
            )
        return (
            light.transpose(2, 0, 1),
            picture.position_px[: self._points],
            picture.visible[: self._points],
            np.asarray(picture.iod_px, np.float32),
        )
