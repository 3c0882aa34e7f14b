"""Pictures that a run is judged by."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from flowface_ros.train import validation
from flowface_ros.train.batch import Batch
from flowface_ros.train.studio import SynthConfig

torch.set_num_threads(1)


class Flat:
    """Batches of pictures as bright as their number."""

    def __init__(self, config: SynthConfig, workers: int) -> None:
        self._size = config.batch_size

    def batches(self, first: int) -> Iterator[Batch]:
        number = first
        while True:
            light = torch.full((self._size, 3, 32, 32), 0.1 * (number + 1), dtype=torch.float16)
            place = torch.full((self._size, 5, 2), float(number))
            yield Batch(light, place, place[..., 0] >= 0, place[:, 0, 0])
            number += 1


@pytest.mark.parametrize("count", [2, 5, 6])
def test_as_many_pictures_as_asked_for(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(validation, "CpuSource", Flat)
    monkeypatch.setattr(validation, "_CHUNK", 2)
    pictures = validation.draw_validation(SynthConfig(), count, 0)
    assert pictures is not None
    assert len(pictures) == len(pictures.truth.position_px) == count
    good = pictures.image[pictures.truth.iod_px % 2 == 0]
    # A good camera shows flat pictures flat; the bad one has its noise, patches or borders.
    assert (good.flatten(1).float().std(dim=1) == 0).all()
    assert pictures.image.dtype == torch.uint8 and len(good) >= count // 2
    assert validation.draw_validation(SynthConfig(), 0, 0) is None
