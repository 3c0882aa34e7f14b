"""`flowface evaluate`: how good a tracker's recording is, against the truth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowface_ros.bag.evaluation_input import Transforms

NAME = "evaluate"
HELP = "Judges a tracker's recording against the truth; writes a report and metrics.json."

_ALL_S = 1e8
"""How much of moving transforms is kept: all, three years."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "prediction", type=Path, help="bag with FaceArray, FaceMesh and HeadModel of a tracker"
    )
    parser.add_argument(
        "--truth",
        type=Path,
        help="bag with the truth, CameraInfo, TF and images (default: the prediction's)",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the report")
    parser.add_argument(
        "--namespace", help="of the tracker's topics, when the bag has several trackers"
    )
    parser.add_argument(
        "--head",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a head model that meshes are of, beyond the built-in one; may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from flowface_ros.bag.evaluation_input import read_recording
    from flowface_ros.bag.evaluation_pictures import report_pictures
    from flowface_ros.evaluate.metrics import evaluate
    from flowface_ros.evaluate.report import format_summary, write_report
    from flowface_ros.head.model_file import read_head

    truth = args.truth or args.prediction
    with tqdm(total=6, dynamic_ncols=True, bar_format="{desc:24} {n}/{total} {elapsed}") as bar:

        def stage(text: str) -> None:
            bar.set_description_str(text)
            bar.update()

        stage("reading")
        heads = [read_head(path) for path in args.head]
        recording = read_recording(
            args.prediction, truth, empty_transforms(), args.namespace, heads
        )
        metrics = evaluate(recording, stage)
        stage("report")
        sources = {"prediction": str(args.prediction), "truth": str(truth)}
        pictures = report_pictures(recording, truth)
        write_report(args.out, {**sources, **metrics}, pictures)
    print(format_summary(metrics))
    print(f"wrote {args.out / 'report.html'} and {args.out / 'metrics.json'}")
    return 0


def empty_transforms() -> Transforms:
    """A buffer that holds a whole recording."""
    from flowface_ros.ros.transform_buffer import TransformBuffer

    return TransformBuffer(keep_s=_ALL_S)
