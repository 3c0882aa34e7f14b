"""`flowface synth`: a synthetic recording with its truth."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

NAME = "synth"
HELP = "Makes a rosbag2 of synthetic people before calibrated cameras, with the truth."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="bag to write: NAME.mcap or NAME.db3 for one file, NAME for a bag directory",
    )
    parser.add_argument("--cameras", type=int, default=3, help="1 to 8 (default: 3)")
    parser.add_argument("--faces", type=int, default=1, help="people, 0 to 6 (default: 1)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length (default: 4)")
    parser.add_argument(
        "--size",
        type=image_size,
        default=(640, 480),
        metavar="WxH",
        help="of the images, pixels (default: 640x480)",
    )
    parser.add_argument("--fps", type=float, default=30.0, help="images a second (default: 30)")
    parser.add_argument("--seed", type=int, default=0, help="decides everything (default: 0)")
    parser.add_argument(
        "--lens",
        default="plumb_bob",
        help="plumb_bob, rational_polynomial, equidistant or none (default: plumb_bob)",
    )
    parser.add_argument(
        "--moving-rig", action="store_true", help="cameras on a carrier that pans and sways"
    )
    parser.add_argument(
        "--stamp-jitter-ms",
        type=float,
        default=2.0,
        help="how far a stamp may be off its regular time (default: 2)",
    )
    parser.add_argument("--raw", action="store_true", help="write uncompressed images")
    parser.add_argument(
        "--storage",
        choices=("mcap", "sqlite3"),
        help="of the bag (default: sqlite3 for NAME.db3, else mcap)",
    )
    parser.add_argument("--jobs", type=int, help="processes that render (default: one per core)")


def run(args: argparse.Namespace) -> int:
    from flowface_ros.bag.recording import record_scene
    from flowface_ros.synth.scene.scene import SceneConfig

    width, height = args.size
    config = SceneConfig(
        seed=args.seed,
        cameras=args.cameras,
        faces=args.faces,
        width=width,
        height=height,
        fps=args.fps,
        duration_s=args.seconds,
        lens=args.lens,
        moving_rig=args.moving_rig,
        stamp_jitter_s=args.stamp_jitter_ms / 1e3,
    )
    storage = args.storage or ("sqlite3" if args.out.suffix == ".db3" else "mcap")
    scene = record_scene(config, args.out, storage, args.raw, args.jobs, progress_bar)
    print(
        f"wrote {args.out}: {config.cameras} cameras ({', '.join(scene.camera_names)}), "
        f"{config.frames} images each, {config.faces} faces"
    )
    return 0


def image_size(text: str) -> tuple[int, int]:
    """Width and height of e.g. "640x480"."""
    width, separator, height = text.lower().partition("x")
    if not (separator and width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size, such as 640x480")
    return int(width), int(height)


def progress_bar(items: Iterable[Any], total: int) -> Iterable[Any]:
    """The items, with a progress bar of images on the terminal."""
    from tqdm import tqdm

    return tqdm(items, total=total, unit="image", desc="rendering", dynamic_ncols=True)
