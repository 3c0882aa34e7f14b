"""`flowface replay`: recordings through the tracker, equal in every run."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowface_ros.bag.replay import ReplaySummary
    from flowface_ros.commands.replay_jobs import ReplayJob, ReplayOptions, ReplayOutcome

NAME = "replay"
HELP = "Tracks the heads in rosbag2 recordings, as fast as it goes, and writes them to others."

_SUFFIXES = (".mcap", ".db3")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "bags",
        type=Path,
        nargs="+",
        metavar="BAG",
        help="images, CameraInfo and TF: directory, .mcap, .db3",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="bag of the results: NAME.mcap or NAME.db3 for one file, NAME for a bag directory; "
        "for several bags a folder, which gets a .mcap of each one's name",
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="bags at a time")
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="run on a Dask cluster, e.g. tcp://host:8786; its workers need this package and the "
        "same paths",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="YAML",
        help="parameter file of the tracker node; it sets also what has no option here",
    )
    add_option = parser.add_argument_group("in the place of the parameter file's").add_argument
    add_option("--cameras", nargs="+", metavar="NAME", help="primary first (default: all)")
    add_option("--rig-frame", help="of the results (default: the first camera's optical frame)")
    add_option("--aligner", choices=("network", "landmarks"), help="default: network")
    add_option("--weights", help="ONNX file of the network aligner")
    add_option("--head", dest="head_file", help="head model (default: the built-in one)")
    add_option("--device", help="auto (default), cpu, cuda:N or tensorrt:N")
    add_option("--threads", type=int, help="of a network on the CPU (default: 1)")
    add_option(
        "--looks",
        type=int,
        metavar="N",
        help="crops of each face in an image that the aligner takes the mean of: 1, 2, 4 or 8 "
        "(default); fewer are faster and less exact",
    )
    add_option("--id-prefix", help="ids are this and a number (default: p)")
    add_option("--max-faces", type=int, help="most heads at a time (default: 4)")
    add_option(
        "--slop-ms", type=float, help="largest difference of stamps within a set (default: 10)"
    )


def run(args: argparse.Namespace) -> int:
    from flowface_ros.commands import replay_jobs

    if args.jobs < 1:
        raise ValueError(f"--jobs is {args.jobs}, must be 1 or more")
    jobs = make_jobs(args.bags, args.out, options_of(args))
    if len(jobs) == 1 and args.scheduler is None:
        with _bar(replay_jobs.image_count(jobs[0]), "image") as bar:
            outcome = replay_jobs.replay_bag(jobs[0], bar.update)
        print(_outcome_text(outcome))
        return 0
    failed = [outcome for outcome in _outcomes(jobs, args) if outcome.error]
    print(f"{len(jobs) - len(failed)} of {len(jobs)} bags tracked")
    for outcome in failed:
        print(f"failed: {outcome.error}")
    return 1 if failed else 0


def options_of(args: argparse.Namespace) -> ReplayOptions:
    """The parameter file's values, and in their place what the command line says."""
    from flowface_ros.commands.replay_jobs import ReplayOptions
    from flowface_ros.commands.replay_params import read_params

    values = read_params(args.config) if args.config else {}
    names = ("rig_frame", "aligner", "weights", "head_file", "device", "threads", "looks")
    given = {name: getattr(args, name) for name in (*names, "id_prefix", "max_faces")}
    given["cameras"] = None if args.cameras is None else tuple(args.cameras)
    given["slop"] = None if args.slop_ms is None else args.slop_ms * 1e-3
    values |= {name: value for name, value in given.items() if value is not None}
    for name in ("weights", "head_file"):
        if values.get(name):
            values[name] = str(Path(values[name]).expanduser().absolute())
    return ReplayOptions(**values)


def make_jobs(bags: Sequence[Path], out: Path, options: ReplayOptions) -> list[ReplayJob]:
    """One job for each bag; nothing is overwritten, least of all an input.

    Raises ValueError for bags of one name, for a file as the folder of several results, and for
    results that would lie in a bag; FileExistsError for a result that is there already.
    """
    from flowface_ros.commands.replay_jobs import ReplayJob

    if len(bags) == 1:
        outs = [out]
    elif out.suffix in _SUFFIXES:
        raise ValueError(f"--out is {out}; for {len(bags)} bags it must be a folder")
    else:
        outs = [out / f"{bag.name.removesuffix(bag.suffix)}.mcap" for bag in bags]
    jobs = []
    taken: dict[Path, Path] = {}
    for bag, result in zip(bags, outs, strict=True):
        if other := taken.get(result):
            raise ValueError(f"{other} and {bag} would both be written to {result}")
        taken[result] = bag
        jobs.append(ReplayJob(bag.absolute(), result.absolute(), options))
    inputs = {bag.resolve() for bag in bags}
    for result in outs:
        for place in (result.resolve(), *result.resolve().parents):
            if place in inputs:
                raise ValueError(f"{result} would overwrite the input {place}, or lie in it")
        if result.exists():
            raise FileExistsError(f"{result}: exists already, not overwritten")
    return jobs


def _outcomes(jobs: Sequence[ReplayJob], args: argparse.Namespace) -> Iterator[ReplayOutcome]:
    """Run all jobs; tells of each when it is done."""
    from flowface_ros.commands import replay_jobs

    clustered = args.scheduler is not None
    total = len(jobs) if clustered else sum(map(replay_jobs.image_count, jobs))
    with _bar(total, "bag" if clustered else "image") as bar:
        if clustered:
            outcomes = replay_jobs.on_cluster(jobs, args.scheduler)
        elif args.jobs == 1:
            outcomes = (replay_jobs.attempt(job, bar.update) for job in jobs)
        else:
            outcomes = replay_jobs.in_processes(jobs, args.jobs, bar.update)
        for outcome in outcomes:
            if clustered:
                bar.update()
            bar.write(_outcome_text(outcome))
            yield outcome


def _outcome_text(outcome: ReplayOutcome) -> str:
    if outcome.summary is None:
        return outcome.error
    cameras = ", ".join(outcome.cameras)
    return f"wrote {outcome.job.out}: {cameras}; {described(outcome.summary)}"


def described(summary: ReplaySummary) -> str:
    """What a replay did, in lines."""
    import numpy as np

    people = (
        f"{len(summary.ids)} heads ({', '.join(sorted(summary.ids))})" if summary.ids else "nobody"
    )
    text = f"{summary.sets} sets, {people}, {summary.tracked} of {summary.heads} tracked"
    if summary.stage_ms:
        stages = (f"{name} {np.median(ms):.1f}" for name, ms in summary.stage_ms.items())
        text += f"\nms a set (median): {', '.join(stages)}"
    for (camera, cause), count in sorted(summary.drops.items()):
        reason = summary.reasons.get((camera, cause))
        text += f"\nnot used: {count} images of {camera}: {cause}{(reason and f', {reason}') or ''}"
    return text


def _bar(total: int, unit: str) -> Any:
    """A progress bar on the terminal."""
    from tqdm import tqdm

    return tqdm(total=total, unit=unit, desc="tracking", dynamic_ncols=True)
