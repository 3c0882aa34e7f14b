"""Real faces in training, and several sources in one batch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.train.batch import Batch
from flowface_ros.train.mixed import MixedSource
from flowface_ros.train.model_card import data_of
from flowface_ros.train.photographs import PhotographSource
from flowface_ros.train.run_config import RunConfig

torch.set_num_threads(1)


class Numbers:
    """Batches full of their own number."""

    def __init__(self, count: int, factor: float, dtype: torch.dtype) -> None:
        self._count, self._factor, self._dtype = count, factor, dtype
        self.closed = False

    def batches(self, first: int) -> Iterator[Batch]:
        number = first
        while True:
            value = self._factor * number
            light = torch.full((self._count, 3, 4, 4), value, dtype=self._dtype)
            place = torch.full((self._count, 5, 2), value)
            yield Batch(light, place, place[..., 0] > 0, place[:, 0, 0])
            number += 1

    def close(self) -> None:
        self.closed = True


def test_sources_are_mixed_by_number() -> None:
    sources = [Numbers(3, 1.0, torch.float32), Numbers(1, 10.0, torch.float16)]
    mixed = MixedSource(sources)
    batches = mixed.batches(4)
    next(batches)
    batch = next(batches)
    assert batch.light.dtype == torch.float32
    assert batch.iod_px.tolist() == [5, 5, 5, 50] and len(batch) == 4
    mixed.close()
    assert all(source.closed for source in sources)


def test_share_of_photographs() -> None:
    assert RunConfig().photograph_count == 0
    assert RunConfig(photographs="faces", batch_size=32).photograph_count == 3
    assert RunConfig(photographs="faces", batch_size=4).photograph_count == 1
    card = data_of(RunConfig(photographs="faces", batch_size=4))
    assert card.startswith("75% pictures drawn by") and "; 25% the user's photographs" in card
    assert data_of(RunConfig()).endswith("; no picture of a real person")
    with pytest.raises(ValueError, match=r"batch_size: 1 is not allowed, .* 1 parts and 1 photo"):
        RunConfig(photographs="faces", batch_size=1)
    with pytest.raises(ValueError, match="photograph_share"):
        RunConfig(photograph_share=1.5)


def test_pictures_without_a_face_are_refused() -> None:
    grey = np.full((80, 80, 3), 90, np.uint8)
    with pytest.raises(ValueError, match="none of 1 shows a face"):
        PhotographSource(load_builtin_head(), [grey], 64, 16, 2, 0)


def test_truth_moves_with_the_crop() -> None:
    data = pytest.importorskip("skimage.data")
    image = np.ascontiguousarray(data.astronaut())
    source = PhotographSource(load_builtin_head(), [image], 128, 16, 4, 0)
    assert len(source) == 1
    first, again, other = (source.batch(k) for k in (2, 2, 3))
    assert torch.equal(first.light, again.light) and not torch.equal(first.light, other.light)
    known = torch.isfinite(first.position_px).all(dim=2)
    assert 0.2 < known.float().mean() < 0.9
    assert not (first.visible & ~known).any()
    # The same texel shows the same spot of the same face in every crop.
    colors = []
    for light, place, seen in zip(first.light, first.position_px, first.visible, strict=True):
        column, row = torch.round(place.nan_to_num()).long().clamp(0, 127).unbind(dim=1)
        value = light.float()[:, row, column]
        colors.append(torch.where(seen, value, torch.nan))
    spread = torch.stack(colors).std(dim=0).nanmean()
    across = torch.stack(colors).nanmean(dim=0)
    across = across[:, torch.isfinite(across).all(dim=0)].std(dim=1).mean()
    assert spread < 0.4 * across
