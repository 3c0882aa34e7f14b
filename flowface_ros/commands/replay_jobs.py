"""Bags through the tracker: one after the other, side by side in processes, or on a cluster.

Every bag is a job of its own with a tracker of its own, so that results depend neither on how many
run at a time nor on where.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from flowface_ros.commands.eyes import make_eyes
from flowface_ros.error_text import error_text

if TYPE_CHECKING:
    from flowface_ros.align.aligner import Aligner
    from flowface_ros.bag.replay import ReplaySummary
    from flowface_ros.head.model import HeadModel
    from flowface_ros.track.view_aligner import Finder

_REPORT_IMAGES = 10
"""A process tells its progress after so many images."""
_CONNECT_S = 20
"""How long the scheduler of a cluster may take to answer."""

Advance = Callable[[int], None]
"""Told of so many images more."""
Item = TypeVar("Item")
_Connection: TypeAlias = "Connection[Any, Any]"


@dataclass(frozen=True, kw_only=True)
class ReplayOptions:
    """Everything that the results depend on beside the bag. Names and units as the parameters of
    the tracker node."""

    cameras: tuple[str, ...] = ()
    rig_frame: str = ""
    aligner: str = "network"
    weights: str = ""
    head_file: str = ""
    runtime: str = "onnx"
    grid: int = 48
    device: str = "auto"
    precision: str = "fp32"
    threads: int = 1
    looks: int = 8
    """The node's default is 1; nothing waits for a replay."""
    id_prefix: str = "p"
    max_faces: int = 4
    slop: float = 0.01
    max_wait: float = 0.05
    min_views: int = 1
    confirm_sets: int = 3
    coast_time: float = 0.5
    texture_memory: bool = True


@dataclass(frozen=True)
class ReplayJob:
    """A bag to be tracked, and the bag to be written."""

    bag: Path
    out: Path
    options: ReplayOptions


@dataclass(frozen=True)
class ReplayOutcome:
    """What became of a job. summary: None when it failed. error: names the bag; "" when it did
    not fail."""

    job: ReplayJob
    cameras: tuple[str, ...] = ()
    summary: ReplaySummary | None = None
    error: str = ""


def replay_bag(
    job: ReplayJob, advance: Advance | None = None, eyes: tuple[Aligner, Finder] | None = None
) -> ReplayOutcome:
    """Track one bag. Raises what the bag, the files or the options are to blame for.

    eyes: in the place of the options' aligner.
    """
    from flowface_ros.bag.camera_topics import find_cameras
    from flowface_ros.bag.reader import open_bag
    from flowface_ros.bag.replay import Replay
    from flowface_ros.bag.writer import BagWriter
    from flowface_ros.head.model_file import load_builtin_head, read_head
    from flowface_ros.ros.synchronizer import Synchronizer, SynchronizerConfig
    from flowface_ros.ros.transform_buffer import recording_buffer
    from flowface_ros.track.config import TrackerConfig
    from flowface_ros.track.pipeline import Tracker

    options = job.options
    with open_bag(job.bag) as bag:
        cameras = find_cameras(bag, options.cameras)
        model = read_head(Path(options.head_file)) if options.head_file else load_builtin_head()
        aligner, finder = eyes or _eyes(options, model)
        config = TrackerConfig(
            id_prefix=options.id_prefix,
            max_faces=options.max_faces,
            confirm_sets=options.confirm_sets,
            coast_time_s=options.coast_time,
            texture_memory=options.texture_memory,
        )
        tracker = Tracker(model, aligner, finder, config)
        names = tuple(camera.name for camera in cameras)
        sets: Synchronizer[Any] = Synchronizer(
            names, SynchronizerConfig(options.slop, options.max_wait, options.min_views)
        )
        transforms = recording_buffer()
        with BagWriter(job.out, "sqlite3" if job.out.suffix == ".db3" else "mcap") as out:
            replay = Replay(bag, cameras, model, tracker, transforms, sets, options.rig_frame)
            summary = replay.run(out, None if advance is None else _counted(advance))
    return ReplayOutcome(job, names, summary)


def _eyes(options: ReplayOptions, model: HeadModel) -> tuple[Aligner, Finder]:
    return make_eyes(
        model,
        options.aligner,
        device=options.device,
        threads=options.threads,
        grid=options.grid,
        weights=Path(options.weights) if options.weights else None,
        precision=options.precision,
        runtime=options.runtime,
        looks=options.looks,
    )


def attempt(job: ReplayJob, advance: Advance | None = None) -> ReplayOutcome:
    """As `replay_bag`, but what goes wrong is in the outcome: one bad bag stops no others."""
    try:
        return replay_bag(job, advance)
    except (ValueError, OSError) as error:
        return failure(job, error_text(error))
    except Exception as error:
        return failure(job, f"{type(error).__name__}: {error}")


def failure(job: ReplayJob, reason: str) -> ReplayOutcome:
    """The outcome of a job that failed; the error begins with the bag."""
    named = reason.startswith(str(job.bag))
    return ReplayOutcome(job, error=reason if named else f"{job.bag}: {reason}")


def image_count(job: ReplayJob) -> int:
    """Images that the job will look at; 0 for a bag that cannot be read, which the job reports."""
    from flowface_ros.bag.camera_topics import find_cameras
    from flowface_ros.bag.reader import open_bag

    try:
        with open_bag(job.bag) as bag:
            cameras = find_cameras(bag, job.options.cameras)
            return sum(bag.topics[camera.image_topic].count for camera in cameras)
    except (ValueError, OSError):
        return 0


def in_processes(
    jobs: Sequence[ReplayJob], count: int, advance: Advance
) -> Iterator[ReplayOutcome]:
    """The outcomes as they come, from at most `count` processes at a time, one for each job: one
    that dies takes no other job with it."""
    # Not forked: threads of OpenCV and numba do not survive it.
    context = multiprocessing.get_context("spawn")
    waiting = list(jobs)
    running: dict[_Connection, tuple[ReplayJob, BaseProcess]] = {}
    while waiting or running:
        while waiting and len(running) < count:
            job = waiting.pop(0)
            receiver, sender = context.Pipe(duplex=False)
            worker = context.Process(target=_work, args=(job, sender), daemon=True)
            worker.start()
            sender.close()
            running[receiver] = (job, worker)
        ready = wait(list(running))
        for receiver in [receiver for receiver in running if receiver in ready]:
            job, process = running[receiver]
            try:
                message = receiver.recv()
            except EOFError:
                process.join()
                message = failure(job, f"its process died, code {process.exitcode}")
            if isinstance(message, int):
                advance(message)
                continue
            del running[receiver]
            receiver.close()
            process.join()
            yield message


def on_cluster(jobs: Sequence[ReplayJob], scheduler: str) -> Iterator[ReplayOutcome]:
    """The outcomes as they come, from the workers of a Dask cluster, which need this package and
    the same paths.

    scheduler: address, e.g. tcp://host:8786. Raises ValueError when Dask is not installed, OSError
    when the scheduler does not answer.
    """
    try:
        from dask.distributed import Client, as_completed
    except ImportError as error:
        raise ValueError(
            f"--scheduler needs Dask ({error}): pip install 'flowface-ros[cluster]'"
        ) from error
    with Client(scheduler, timeout=_CONNECT_S) as client:
        # Not pure: a result of an earlier run says nothing of the file that is to be written.
        futures = {client.submit(attempt, job, pure=False, retries=0): job for job in jobs}
        for future in as_completed(futures):
            lost = future.exception()
            if lost is None:
                yield future.result()
            else:
                yield failure(futures[future], f"{type(lost).__name__}: {lost}")


def _counted(advance: Advance) -> Callable[[Iterable[Item], int], Iterable[Item]]:
    def follow(items: Iterable[Item], total: int) -> Iterator[Item]:
        for item in items:
            yield item
            advance(1)

    return follow


def _work(job: ReplayJob, sender: _Connection) -> None:
    """In a process of its own: progress, then the outcome."""
    done = 0

    def advance(images: int) -> None:
        nonlocal done
        done += images
        if done >= _REPORT_IMAGES:
            sender.send(done)
            done = 0

    try:
        outcome = attempt(job, advance)
        sender.send(done)
        sender.send(outcome)
    except KeyboardInterrupt:
        # The terminal interrupts the parent too, which says so.
        return
