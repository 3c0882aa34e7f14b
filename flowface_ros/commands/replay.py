"""`flowface replay`: a recording through the tracker, equal in every run."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowface_ros.bag.replay import ReplaySummary

NAME = "replay"
HELP = "Tracks the heads in a rosbag2, as fast as it goes, and writes them to another."

_ALL_S = 1e8
"""How much of moving transforms is kept: all, three years."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, help="images, CameraInfo and TF: directory, .mcap, .db3")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="bag of the results: NAME.mcap or NAME.db3 for one file, NAME for a bag directory",
    )
    parser.add_argument(
        "--cameras", nargs="+", metavar="NAME", default=[], help="primary first (default: all)"
    )
    parser.add_argument(
        "--rig-frame", default="", help="of the results (default: the first camera's optical frame)"
    )
    parser.add_argument(
        "--aligner",
        default="landmarks",
        choices=("landmarks", "network"),
        help="default: landmarks",
    )
    parser.add_argument("--weights", type=Path, help="ONNX file of the network aligner")
    parser.add_argument("--head", type=Path, help="head model (default: the built-in one)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda:N or tensorrt:N")
    parser.add_argument("--threads", type=int, default=1, help="of a network on the CPU")
    parser.add_argument("--max-faces", type=int, default=4, help="most heads at a time")
    parser.add_argument(
        "--slop-ms", type=float, default=10.0, help="largest difference of stamps within a set"
    )


def run(args: argparse.Namespace) -> int:
    from flowface_ros.align.aligner import make_aligner
    from flowface_ros.align.landmark_net import FaceFinder
    from flowface_ros.bag.reader import open_bag
    from flowface_ros.bag.replay import Replay, find_cameras
    from flowface_ros.bag.writer import BagWriter
    from flowface_ros.head.model_file import load_builtin_head, read_head
    from flowface_ros.ros.synchronizer import Synchronizer, SynchronizerConfig
    from flowface_ros.ros.transform_buffer import TransformBuffer
    from flowface_ros.track.config import TrackerConfig
    from flowface_ros.track.pipeline import Tracker

    model = read_head(args.head) if args.head else load_builtin_head()
    aligner = make_aligner(
        args.aligner, model, device=args.device, threads=args.threads, weights=args.weights
    )
    finder = FaceFinder(args.device, args.threads)
    tracker = Tracker(model, aligner, finder, TrackerConfig(max_faces=args.max_faces))
    storage = "sqlite3" if args.out.suffix == ".db3" else "mcap"
    with open_bag(args.bag) as bag, BagWriter(args.out, storage) as out:
        cameras = find_cameras(bag, args.cameras)
        names = [camera.name for camera in cameras]
        sets: Synchronizer[Any] = Synchronizer(
            names, SynchronizerConfig(slop_s=args.slop_ms * 1e-3)
        )
        transforms = TransformBuffer(keep_s=_ALL_S)
        replay = Replay(bag, cameras, model, tracker, transforms, sets, args.rig_frame)
        summary = replay.run(out, progress_bar)
    print(f"wrote {args.out}: {', '.join(names)}; {described(summary)}")
    return 0


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
        text += f"\nnot used: {count} images of {camera}: {cause}"
    return text


def progress_bar(items: Iterable[Any], total: int) -> Iterable[Any]:
    """The items, with a progress bar on the terminal."""
    from tqdm import tqdm

    return tqdm(items, total=total, unit="image", desc="tracking", dynamic_ncols=True)
