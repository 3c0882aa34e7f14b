"""`flowface demo`: a synthetic recording, and pictures of what is in it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from flowface_ros.commands.synth import progress_bar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from flowface_ros.synth.scene import Scene

NAME = "demo"
HELP = "Makes a synthetic recording of three cameras, and pictures of it and of the head."

_MOMENTS = 4
"""Rows of the contact sheet."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder to write into")
    parser.add_argument("--seed", type=int, default=10, help="of the scene (default: 10)")
    parser.add_argument("--jobs", type=int, help="processes that render (default: one per core)")


def run(args: argparse.Namespace) -> int:
    from flowface_ros.bag.recording import record_scene
    from flowface_ros.synth.head_sheet import draw_head_sheet
    from flowface_ros.synth.scene import SceneConfig

    args.out.mkdir(parents=True, exist_ok=True)
    bag = args.out / "demo.mcap"
    # The demo's own output of an earlier run; anything else in the folder stays.
    bag.unlink(missing_ok=True)
    scene = record_scene(
        SceneConfig(seed=args.seed, cameras=3), bag, jobs=args.jobs, progress=progress_bar
    )
    sheet, head = args.out / "contact_sheet.png", args.out / "head.png"
    _write(sheet, sheet_of_bag(scene, bag))
    _write(head, draw_head_sheet(scene.model))
    print(f"{bag}: images of 3 cameras, calibration, TF and the true heads")
    print(f"{sheet}: each camera at {_MOMENTS} moments, plain and with the true mesh on it")
    print(f"{head}: the head model, its identities and expressions")
    return 0


def sheet_of_bag(scene: Scene, bag: Path) -> NDArray[np.uint8]:
    """Contact sheet (H, W, 3) uint8 RGB of images read back from a scene's bag."""
    from flowface_ros.bag.face_messages import stamp_ns
    from flowface_ros.bag.images import decode_any_image
    from flowface_ros.bag.reader import open_bag
    from flowface_ros.head.skinning import pose_vertices
    from flowface_ros.synth.contact_sheet import View, contact_sheet
    from flowface_ros.synth.scene import seconds

    count = scene.config.frames
    frames = sorted(
        {round((i + 0.5) * count / _MOMENTS) for i in range(_MOMENTS)} & {*range(count)}
    )
    stamps = {name: scene.stamps_ns(i) for i, name in enumerate(scene.camera_names)}
    wanted = {(name, int(stamps[name][frame])): frame for name in stamps for frame in frames}
    rows: dict[int, list[View]] = {frame: [] for frame in frames}
    with open_bag(bag) as reader:
        topics = {t: t.split("/")[1] for t in reader.topics if "/image_raw" in t}
        for topic, _, message in reader.messages(topics=list(topics)):
            stamp, name = stamp_ns(message), topics[topic]
            frame = wanted.get((name, stamp))
            if frame is None:
                continue
            t = seconds(stamp)
            heads = [pose_vertices(scene.model, state) for state in scene.head_states(t)]
            rows[frame].append(View(decode_any_image(message), scene.cameras(t)[name], heads))
    ordered = [sorted(rows[f], key=lambda v: scene.camera_names.index(v.camera.name)) for f in rows]
    titles = [f"{frame / scene.config.fps:.2f} s" for frame in rows]
    return contact_sheet(scene.model, ordered, titles)


def _write(path: Path, picture: NDArray[np.uint8]) -> None:
    from flowface_ros.bag.images import encode_png

    path.write_bytes(encode_png(picture))
