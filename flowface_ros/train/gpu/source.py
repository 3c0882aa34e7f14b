"""Batches drawn on the device that trains, of people that CPU cores go on making.

A person is made once, in a worker process, and then drawn in many poses, lights and places. Which
ones there are at a batch depends on its number alone (`SynthConfig.person_of`), so a resumed run
sees what an uninterrupted one would.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from flowface_ros.head.model import HeadModel
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.synth.render.light import sample_light
from flowface_ros.synth.scene.background import sample_background
from flowface_ros.train.batch import Batch, Numbers, joined, numbered
from flowface_ros.train.gpu.asset import Asset, occluder_asset, person_asset
from flowface_ros.train.gpu.bank import (
    PERSON_TEXELS,
    THING_TEXELS,
    AssetBank,
    DeviceAsset,
    stack_lights,
    texel_store,
)
from flowface_ros.train.gpu.studio import Cast, GpuStudio
from flowface_ros.train.shots import sample_shots
from flowface_ros.train.studio import OCCLUDER_SHARE, SHOTS, SynthConfig, make_person

THINGS, LIGHTS, BACKGROUNDS = 2, 3, 4
"""Streams of random numbers, beside those of `studio`."""
_THING_COUNT, _LIGHT_COUNT, _BACKGROUND_COUNT = 192, 2048, 768
_BACKGROUND_PX = 320
_DRAWN_AT_ONCE = 64
"""Pictures, for which the GPU needs some 10 GB."""
_THING_TURN = 0.6
"""Radians that things are turned at most, beyond how they were made."""
_AHEAD = 16
"""People asked for before they are needed, times the number of workers."""


class GpuSource:
    """See `DataSource`. Batches are on `device`. compiled: see `GpuStudio`."""

    def __init__(
        self, model: HeadModel, config: SynthConfig, workers: int, device: torch.device,
        rank: int = 0, world: int = 1, compiled: bool = False,
    ) -> None:  # fmt: skip
        self._model, self._config, self._device = model, config, device
        self._rank, self._world = rank, world
        self._studio = GpuStudio(model, config.crop_px, config.grid, device, compiled)
        self._texels = texel_store(config.people, _THING_COUNT, device)
        first_thing = config.people * PERSON_TEXELS
        self._people = AssetBank(self._texels, 0, config.people, PERSON_TEXELS)
        self._things = AssetBank(self._texels, first_thing, _THING_COUNT, THING_TEXELS)
        self._makers = _Makers(config, workers)
        self._held = np.full(config.people, -1, np.int64)
        self._fill_props()

    def _fill_props(self) -> None:
        config = self._config
        things = self._makers.all_of(_make_thing, _THING_COUNT, "things")
        for place, asset in enumerate(things):
            self._things.put(place, asset)
        lights = self._makers.all_of(_make_light, _LIGHT_COUNT, "lights")
        self._lights = stack_lights(lights, self._device)
        backgrounds = self._makers.all_of(_make_background, _BACKGROUND_COUNT, "backgrounds")
        stacked = torch.from_numpy(np.stack(backgrounds)).permute(0, 3, 1, 2)
        self._backgrounds = stacked.contiguous().to(self._device)
        assert config.crop_px <= _BACKGROUND_PX

    def batches(self, first: int) -> Iterator[Batch]:
        """See `DataSource`."""
        numbers = Numbers(first, self._rank, self._world)
        self._fill_people(next(iter(numbers)))
        yield from numbered(self.batch, numbers)

    def close(self) -> None:
        """Ends the workers."""
        self._makers.close()

    def _window(self, number: int) -> range:
        """Numbers of the people there are at a batch."""
        start = number // self._config.fresh_every
        return range(start, start + self._config.people)

    def _fill_people(self, number: int) -> None:
        window = self._window(number)
        for person in tqdm(window, "people", leave=False):
            self._makers.ask(range(person, min(person + self._makers.ahead, window.stop)))
            self._put(person)

    def _put(self, person: int) -> None:
        place = person % self._config.people
        if self._held[place] != person:
            self._people.put(place, self._makers.take(person))
            self._held[place] = person

    def batch(self, number: int) -> Batch:
        """Batch `number`."""
        config = self._config
        window = self._window(number)
        newest = window.stop - 1
        self._makers.ask(range(window.stop, window.stop + self._makers.ahead))
        for person in range(max(window.start, newest - self._world), window.stop):
            self._put(person)
        rng = config.rng(SHOTS, number)
        shots = sample_shots(self._model, rng, config.batch_size)
        draws = rng.integers(config.people, size=config.batch_size)
        turns = torch.from_numpy(rng.uniform(-_THING_TURN, _THING_TURN, config.batch_size))
        cast = Cast(
            [self._people[int(draw)] for draw in draws],
            self._some_things(rng),
            turns.float().to(self._device),
            self._lights[self._rows(rng, _LIGHT_COUNT)],
            self._some_backgrounds(rng),
        )
        parts = [
            self._studio.batch(shots[rows], cast[rows], self._texels)
            for rows in _slices(config.batch_size, _DRAWN_AT_ONCE)
        ]
        return joined(parts)

    def _rows(self, rng: np.random.Generator, count: int) -> Tensor:
        rows = rng.integers(count, size=self._config.batch_size)
        return torch.from_numpy(rows).to(self._device)

    def _some_things(self, rng: np.random.Generator) -> list[DeviceAsset | None]:
        count = self._config.batch_size
        chosen, rows = rng.random(count) < OCCLUDER_SHARE, rng.integers(_THING_COUNT, size=count)
        return [self._things[int(r)] if yes else None for yes, r in zip(chosen, rows, strict=True)]

    def _some_backgrounds(self, rng: np.random.Generator) -> Tensor:
        """(B, S, S, 3) linear: pieces of the backgrounds, some mirrored, each at its brightness."""
        size, count = self._config.crop_px, self._config.batch_size
        rows = self._rows(rng, _BACKGROUND_COUNT)
        left, top = rng.integers(_BACKGROUND_PX - size + 1, size=2)
        piece = self._backgrounds[rows, :, top : top + size, left : left + size]
        mirrored = torch.from_numpy(rng.random(count) < 0.5).to(self._device)
        piece = torch.where(mirrored[:, None, None, None], piece.flip(3), piece)
        level = torch.from_numpy(np.exp(rng.normal(0, 0.25, count))).float().to(self._device)
        linear = (piece.float() / 255) ** 2 * _BRIGHTEST
        return (linear * level[:, None, None, None]).permute(0, 2, 3, 1)


_BRIGHTEST = 2.0
"""Linear light that a background's byte of 255 stands for."""


def _slices(count: int, most: int) -> list[slice]:
    return [slice(start, min(start + most, count)) for start in range(0, count, most)]


class _Makers:
    """Worker processes that make assets by number; without workers this process does."""

    def __init__(self, config: SynthConfig, workers: int) -> None:
        self._config = config
        self.ahead = _AHEAD * max(workers, 1) if workers else 1
        self._pool: ProcessPoolExecutor | None = None
        if workers:
            context = multiprocessing.get_context("forkserver")
            self._pool = ProcessPoolExecutor(workers, context, _start_worker, (config,))
            # The first worker compiles what the others then read from numba's cache.
            self._pool.submit(_make_person, 0).result()
        else:
            _start_worker(config)
        self._asked: dict[int, Future[Asset]] = {}
        self._next = 0

    def all_of(self, make: Any, count: int, name: str) -> list[Any]:
        """What `make` gives for the numbers below count."""
        run = (
            self._pool.map(make, range(count), chunksize=8)
            if self._pool
            else map(make, range(count))
        )
        return list(tqdm(run, name, count, leave=False))

    def ask(self, people: range) -> None:
        """Have these people made, where they have not been asked for."""
        if self._pool is None:
            return
        for number in range(max(people.start, self._next), people.stop):
            self._asked[number] = self._pool.submit(_make_person, number)
        self._next = max(self._next, people.stop)

    def take(self, number: int) -> Asset:
        """A person; waits for it."""
        if number in self._asked:
            return self._asked.pop(number).result()
        if self._pool is not None:
            return self._pool.submit(_make_person, number).result()
        return _make_person(number)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


_worker: tuple[HeadModel, SynthConfig]
"""Head and configuration of a worker process."""


def _start_worker(config: SynthConfig) -> None:
    global _worker
    torch.set_num_threads(1)
    _worker = load_builtin_head(), config


def _make_person(number: int) -> Asset:
    return person_asset(make_person(*_worker, number))


def _make_thing(number: int) -> Asset:
    return occluder_asset(_worker[1].rng(THINGS, number))


def _make_light(number: int) -> Any:
    return sample_light(_worker[1].rng(LIGHTS, number))


def _make_background(number: int) -> NDArray[np.uint8]:
    """(S, S, 3) uint8: square root of linear light over `_BRIGHTEST`."""
    linear = sample_background(_worker[1].rng(BACKGROUNDS, number), _BACKGROUND_PX, _BACKGROUND_PX)
    return (np.sqrt(np.clip(linear / _BRIGHTEST, 0, 1)) * 255 + 0.5).astype(np.uint8)
