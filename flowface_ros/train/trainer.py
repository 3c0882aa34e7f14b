"""The training loop of one process: data, steps, curves, validation, files."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import Queue

import torch
from tqdm import tqdm

from flowface_ros.align.network.checkpoint import save_checkpoint
from flowface_ros.align.network.config import preset
from flowface_ros.align.network.export import export_onnx
from flowface_ros.align.network.networks import Network
from flowface_ros.head.model import HeadModel
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.train.augment import augment
from flowface_ros.train.batch import Batch, DataSource
from flowface_ros.train.cpu_source import CpuSource
from flowface_ros.train.curves import CurveWriter, draw_curves
from flowface_ros.train.datasets.parts import (
    ON_DISK,
    PICTURES,
    DataPart,
    batch_counts,
    open_captures,
    parse_data,
)
from flowface_ros.train.datasets.pictures import PictureSource
from flowface_ros.train.datasets.source import CaptureSource, query_points
from flowface_ros.train.learner import Learner, start_network
from flowface_ros.train.metrics import format_figures
from flowface_ros.train.mixed import MixedSource
from flowface_ros.train.model_card import licence_of, write_model_card
from flowface_ros.train.photographs import PhotographSource
from flowface_ros.train.processes import Processes
from flowface_ros.train.run_config import RunConfig
from flowface_ros.train.studio import SynthConfig
from flowface_ros.train.validation import (
    ValidationSet,
    calibrated,
    draw_sheet,
    draw_validation,
    validate,
)
from flowface_ros.train.verify import photographs

STATE_NAME, MEAN_NAME, CONFIG_NAME = "state.pt", "network.pt", "run.json"
CARD_NAME, ONNX_NAME = "model_card.md", "network.onnx"
_SAVE_EVERY_S = 180.0
_LOG_EVERY = 20
"""Steps; reading the loss waits for the GPU."""
_AHEAD = 2
"""Batches that are fetched before they are needed."""


def train(config: RunConfig, out: Path, minutes: float | None, processes: Processes) -> None:
    """Train, or go on training, the run in `out` until it is complete or the time is up.

    Every file of the run is in `out`: state.pt to resume from, network.pt and network.onnx (mean
    weights), model_card.md, log.jsonl, TensorBoard's files, pictures.
    Raises ValueError when `out` holds another run, or minutes is negative; ValueError or OSError
    for unusable data.
    """
    if minutes is not None and not minutes >= 0:
        raise ValueError(f"minutes is {minutes:g}, must be 0 or more")
    out.mkdir(parents=True, exist_ok=True)
    config.check_resumes(out / CONFIG_NAME)
    model = load_builtin_head()
    learner = Learner(start_network(config, model), config, processes)
    if (out / STATE_NAME).exists():
        learner.restore(out / STATE_NAME)
    trainer = _Trainer(config, out, processes, model, learner)
    trainer.run(None if minutes is None else time.monotonic() + 60 * minutes)


def synth_config(config: RunConfig) -> SynthConfig:
    """What the run's generator draws."""
    network = preset(config.preset)
    return SynthConfig(
        network.crop_px,
        network.output_grid,
        config.batch_size,
        config.seed,
        config.people,
        config.fresh_every,
    )


def open_source(config: RunConfig, model: HeadModel, processes: Processes) -> DataSource:
    """The run's data for this process. Raises ValueError or OSError for unusable files."""
    photographs_count, chosen = config.photograph_count, synth_config(config)
    parts = parse_data(config.data)
    counts = batch_counts(parts, chosen.batch_size - photographs_count)
    sources = [
        _open_part(part, config, replace(chosen, batch_size=count), model, processes)
        for part, count in zip(parts, counts, strict=True)
    ]
    if photographs_count:
        real = PhotographSource(
            model, photographs(Path(config.photographs)), chosen.crop_px, chosen.grid,
            photographs_count, config.seed, processes.rank, processes.world,
        )  # fmt: skip
        sources.append(real)
    return sources[0] if len(sources) == 1 else MixedSource(sources)


def _open_part(
    part: DataPart, config: RunConfig, chosen: SynthConfig, model: HeadModel, processes: Processes
) -> DataSource:
    if part.kind == "synth":
        return CpuSource(chosen, config.workers, processes.rank, processes.world)
    if part.kind == PICTURES:
        assert part.folder is not None
        return PictureSource(
            model, part.folder, chosen.crop_px, chosen.grid, chosen.batch_size, config.seed,
            processes.rank, processes.world,
        )  # fmt: skip
    if part.kind in ON_DISK:
        captures = open_captures(part, model, query_points(model, chosen.grid))
        return CaptureSource(
            model, captures, chosen.crop_px, chosen.batch_size, config.seed, config.workers,
            processes.rank, processes.world,
        )  # fmt: skip
    from flowface_ros.train.gpu.source import GpuSource

    return GpuSource(
        model, chosen, config.workers, processes.device, processes.rank, processes.world,
        config.compiled,
    )  # fmt: skip


class _Trainer:
    def __init__(
        self, config: RunConfig, out: Path, processes: Processes, model: HeadModel, learner: Learner
    ) -> None:
        self.config, self.out, self.processes = config, out, processes
        self.model, self.learner = model, learner
        self.curves = CurveWriter(out, learner.step) if processes.first else None
        self._stopped = False

    def run(self, deadline: float | None) -> None:
        config = self.config
        source = open_source(config, self.model, self.processes)
        self.processes.barrier()
        if self.processes.first:
            # Only now: a run whose data cannot be used has decided nothing.
            config.write(self.out / CONFIG_NAME)
        with ThreadPoolExecutor(1) as executor:
            # Drawn while the first steps are taken.
            count = config.validation_pictures if self.processes.first else 0
            pictures = executor.submit(draw_validation, synth_config(config), count, config.workers)
            before = signal.signal(signal.SIGTERM, self._stop)
            try:
                self._loop(source, deadline, pictures)
            finally:
                signal.signal(signal.SIGTERM, before)
                source.close()
            self._finish(pictures)

    def _stop(self, *_: object) -> None:
        """Ends the run after the present step, as when its time is up."""
        self._stopped = True

    def _loop(
        self, source: DataSource, deadline: float | None, pictures: Future[ValidationSet | None]
    ) -> None:
        learner, total = self.learner, self.config.steps
        batches = fetched_ahead(source.batches(learner.step), self.processes.device)
        saved = time.monotonic()
        bar = tqdm(total=total, initial=learner.step, unit="step", disable=not self.processes.first)
        while learner.step < total:
            self._step(next(batches), bar)
            now = time.monotonic()
            if learner.step % self.config.validate_every == 0 and learner.step < total:
                self._validate(pictures.result())
            if now - saved > _SAVE_EVERY_S:
                self._save()
                saved = now
            late = deadline is not None and now > deadline
            if self.processes.any_of(late or self._stopped):
                break
        bar.close()

    def _step(self, batch: Batch, bar: tqdm) -> None:
        learner = self.learner
        number = learner.step * self.processes.world + self.processes.rank
        image, batch = augment(batch, hash((self.config.seed, number)) % 2**31)
        values = learner.learn(image, batch.position_px, batch.visible)
        bar.update()
        if learner.step % _LOG_EVERY == 0 and self.curves is not None:
            read = {f"train/{name}": float(value) for name, value in values.items()}
            self.curves.add(learner.step, read)
            bar.set_postfix(loss=f"{read['train/loss']:.3f}")

    def _validate(self, pictures: ValidationSet | None) -> None:
        if self.curves is None or pictures is None:
            return
        mean = self._mean()
        figures = validate(mean, self.model, pictures)
        step = self.learner.step
        values = {f"validation/{n}": row["mean_iod_percent"] for n, row in figures.items()}
        if "visible" in figures:
            values["validation/sigma_rms"] = figures["visible"]["sigma_rms"]
        self.curves.add(step, values)
        draw_sheet(self.out / "overlay.png", mean, pictures)
        draw_curves(self.out)
        tqdm.write(f"step {step}\n{format_figures(figures)}")

    def _mean(self) -> Network:
        mean = self.learner.mean.applied(self.learner.network)
        assert isinstance(mean, Network)
        return mean

    def _save(self) -> None:
        if self.processes.first:
            self.learner.save(self.out / STATE_NAME)

    def _finish(self, pictures: Future[ValidationSet | None]) -> None:
        self._save()
        drawn = pictures.result()
        self._validate(drawn)
        if drawn is not None and self.curves is not None:
            self.curves.close()
            self._release(drawn)
        self.processes.barrier()

    def _release(self, pictures: ValidationSet) -> None:
        """Write what is used elsewhere. Sigma is calibrated on one half of the pictures, and the
        figures are of the other."""
        half = slice(0, None, 2), slice(1, None, 2)
        mean = calibrated(self._mean(), self.model, pictures[half[0]])
        figures = validate(mean, self.model, pictures[half[1]])
        step, world = self.learner.step, self.processes.world
        save_checkpoint(self.out / MEAN_NAME, mean, {"step": step})
        write_model_card(self.out / CARD_NAME, mean, self.config, step, world, figures)
        export_onnx(mean, self.out / ONNX_NAME, licence_of(self.config))


def fetched_ahead(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """Batches on the device; those of a GPU are copied by another thread, ahead of their use."""
    if device.type != "cuda":
        yield from batches
        return
    queue: Queue[Batch | BaseException] = Queue(_AHEAD)

    def fetch() -> None:
        torch.cuda.set_device(device)
        try:
            for batch in batches:
                queue.put(batch if batch.light.is_cuda else batch.pinned().to(device))
        except BaseException as error:
            queue.put(error)

    threading.Thread(target=fetch, daemon=True).start()
    while True:
        item = queue.get()
        if isinstance(item, BaseException):
            raise item
        yield item
