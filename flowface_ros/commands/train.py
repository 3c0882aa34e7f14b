"""`flowface train`: trains the alignment network on synthetic people."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

NAME = "train"
HELP = "Trains the alignment network on synthetic people; goes on where a run was stopped."

_BATCH = {"light": 32, "base": 24, "paper": 8}
_RATE = {"light": 4e-4, "base": 3e-4, "paper": 2e-4}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preset",
        choices=("light", "base", "paper"),
        default="light",
        help="the network (default: light)",
    )
    parser.add_argument(
        "--data",
        default="synth",
        metavar="PART[,PART...]",
        help="synth: drawn on CPU cores; synth-gpu: on the device that trains; facescape:FOLDER, "
        "stirling:FOLDER, famos:FOLDER: your own copy; pictures:FOLDER: of tools/blender_set.py. "
        "With weights, in one batch: synth:0.7,famos:FOLDER:0.3 (default: synth)",
    )
    parser.add_argument(
        "--photographs",
        type=Path,
        metavar="FOLDER",
        help="real faces to mix in, with the landmark network's answer on the clean picture",
    )
    parser.add_argument(
        "--photograph-share", type=float, default=0.1, help="of each batch (default: 0.1)"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the run; resumed when it holds one"
    )
    parser.add_argument(
        "--minutes", type=float, help="stop after this time, to be resumed; 0 takes one step"
    )
    parser.add_argument(
        "--steps", type=int, default=40_000, help="of the whole run (default: 40000)"
    )
    parser.add_argument(
        "--batch", type=int, help=f"crops per step and process (default: {_by_preset(_BATCH)})"
    )
    parser.add_argument(
        "--rate", type=float, help=f"highest learning rate (default: {_by_preset(_RATE)})"
    )
    parser.add_argument(
        "--people", type=int, default=512, help="different people at a time (default: 512)"
    )
    parser.add_argument(
        "--fresh-every",
        type=int,
        default=2,
        metavar="STEPS",
        help="one new person after so many (default: 2)",
    )
    parser.add_argument("--workers", type=int, help="processes (default: one per core, less one)")
    parser.add_argument("--seed", type=int, default=0, help="of data and weights (default: 0)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:N (default: auto)")
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile: a slow start, then faster steps"
    )
    parser.add_argument(
        "--validate-every",
        type=int,
        default=2000,
        metavar="STEPS",
        help="between two validations (default: 2000)",
    )
    parser.add_argument(
        "--validation-pictures",
        type=int,
        default=256,
        metavar="N",
        help="of a validation (default: 256)",
    )


def _by_preset(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in values.items())


def run(args: argparse.Namespace) -> int:
    try:
        import torch  # noqa: F401
    except ImportError:
        raise ValueError("training needs torch: pip install flowface-ros[train]") from None
    from flowface_ros.threads import available_cores
    from flowface_ros.train.processes import start_processes
    from flowface_ros.train.run_config import RunConfig
    from flowface_ros.train.trainer import train

    workers = max(1, available_cores() - 1) if args.workers is None else args.workers
    config = RunConfig(
        preset=args.preset,
        data=args.data,
        photographs=str(args.photographs or ""),
        photograph_share=args.photograph_share,
        steps=args.steps,
        batch_size=_BATCH[args.preset] if args.batch is None else args.batch,
        learning_rate=_RATE[args.preset] if args.rate is None else args.rate,
        seed=args.seed,
        people=args.people,
        fresh_every=args.fresh_every,
        workers=workers,
        compiled=args.compile,
        validate_every=args.validate_every,
        validation_pictures=args.validation_pictures,
    )
    processes = start_processes(args.device)
    try:
        train(config, args.out, args.minutes, processes)
    finally:
        processes.close()
    return 0
