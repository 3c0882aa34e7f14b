"""Ours against MediaPipe's Face Landmarker on the same pictures.

`single`: every picture on its own. `sequence`: as a video, with whatever memory each has. The clips
are synthetic people and photographs that are moved, so that the true motion is known, and a video
of a man who talks, judged by its own optical flow. MediaPipe runs in an environment of its own,
with `pip install mediapipe==1.2.*`; give its Python with `--mediapipe-python`. Its model file comes
from a package on the index.
"""

from __future__ import annotations

import harness

harness.pin_threads(1)

import sys  # noqa: E402
from argparse import Namespace  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
from clip_figures import MODES, NAN, Judged, image_percent, judge, space_errors  # noqa: E402
from peer_clips import Clip, moved_photograph, real_photographs, synthetic_clip  # noqa: E402
from peer_flow import flow_error_px  # noqa: E402
from peer_trackers import Answer, Eyes, Mediapipe, Run, fitted  # noqa: E402

from flowface_ros.align.aligner import make_aligner  # noqa: E402
from flowface_ros.align.landmark_net import FaceFinder  # noqa: E402
from flowface_ros.align.several_looks import LOOKS  # noqa: E402
from flowface_ros.demo.clips import carphone  # noqa: E402
from flowface_ros.evaluate.moving_mesh import MovingMesh  # noqa: E402
from flowface_ros.evaluate.shared_pixels import covered_pixels  # noqa: E402
from flowface_ros.head.model import HeadModel  # noqa: E402
from flowface_ros.head.model_file import load_builtin_head  # noqa: E402

PEERS = ("mediapipe",)
_FLOW_HORIZONS = (1, 5, 10)


def compare(clips: Sequence[Clip], trackers: dict[str, Run]) -> list[dict[str, Any]]:
    """Figures by tracker and mode, over the region of the face. `common`: over the pixels of each
    frame that the meshes of all trackers cover."""
    return [
        _row(name, mode, clips, judged)
        for mode in MODES
        for name, judged in judge(clips, trackers, mode).items()
    ]


def _row(name: str, mode: str, clips: Sequence[Clip], judged: Judged) -> dict[str, Any]:
    own, common = judged.own_sum, judged.common_sum
    ssme_px, by_h = own.score_px("face"), own.by_horizon_px("face")
    with_plane = clips[0].head is None  # which covers the whole picture
    return {
        "tracker": name,
        "mode": mode,
        "ssme_px": common.score_px("face") if with_plane else ssme_px,
        "ssme_percent": (common if with_plane else own).score_percent("face"),
        "coverage": NAN if with_plane else own.coverage("face"),
        "common_px": common.score_px("face"),
        **{f"h{h}_px": float((common.by_horizon_px("face") if with_plane else by_h)[h - 1])
           for h in (1, 5, 15, 30)},
        "2d_percent": image_percent(clips, judged.answers),
        **_space_means(clips, judged.answers),
        "ms": float(np.median([answer.ms for answer in judged.answers])),
    }  # fmt: skip


def _space_means(clips: Sequence[Clip], answers: Sequence[Answer]) -> dict[str, float]:
    """Means over the clips; NaN without a head to compare with."""
    keys = ("rig_mm", "aligned_mm", "jitter_mm")
    found = [space_errors(clip, answer) for clip, answer in zip(clips, answers, strict=True)]
    return {
        key: float(np.mean([NAN if f is None else np.mean(getattr(f, key)) for f in found]))
        for key in keys
    }


def flow_rows(clip: Clip, trackers: dict[str, Run]) -> list[dict[str, Any]]:
    """How far the meshes' motion is from the optical flow of a clip without truth."""
    rows = []
    for mode in MODES:
        said = {name: run(clip, mode) for name, run in trackers.items()}
        masks = [covered_pixels(answer.mesh, clip.cameras) for answer in said.values()]
        shared = [np.logical_and.reduce(frame) for frame in zip(*masks, strict=True)]
        for name, answer in said.items():
            errors = {
                f"flow_h{h}_px": flow_error_px(clip.images, clip.cameras, answer.mesh, shared, h)
                for h in _FLOW_HORIZONS
            }
            rows.append({"tracker": name, "mode": mode, **errors, "ms": answer.ms})
    return rows


def by_tracker(rows: list[dict[str, Any]], key: str) -> dict[str, dict[str, float]]:
    """A figure as [tracker][mode]."""
    scores: dict[str, dict[str, float]] = {}
    for row in rows:
        scores.setdefault(row["tracker"], {})[row["mode"]] = row[key]
    return scores


def gains(rows: list[dict[str, Any]], key: str, name: str) -> dict[str, float]:
    """1 - ours / best peer by mode; empty without a peer."""
    scores = by_tracker(rows, key)
    peers = [peer for peer in PEERS if peer in scores]
    return {
        f"{name}_{mode}": 1 - scores["flowface"][mode] / min(scores[p][mode] for p in peers)
        for mode in MODES
        if peers
    }


def real_clips(finder: FaceFinder, seconds: float) -> list[Clip]:
    """Moved photographs; none, with the reason, where they cannot be fetched."""
    try:
        photographs = list(real_photographs())
    except OSError as error:
        print(f"without photographs: {error}", file=sys.stderr)
        return []
    clips = []
    for seed, (name, photograph) in enumerate(photographs):
        (face,) = finder.detect_faces(photograph, 1)
        clips.append(moved_photograph(name, photograph, face.points[:, :2], seconds, seed))
    return clips


def talking_clips(frames: int) -> list[Clip]:
    """The carphone video, of whose head nothing is known; none where it cannot be fetched."""
    try:
        video = carphone()
    except OSError as error:
        print(f"without the talking man: {error}", file=sys.stderr)
        return []
    nothing = MovingMesh(np.zeros((0, 3), np.int32), [np.zeros((0, 3))] * frames)
    cameras = [video.camera] * frames
    images = list(video.images[:frames])
    return [Clip("carphone", images, cameras, nothing, {}, np.ones(1), None)]


def write_docs(found: dict[str, Any], counts: str) -> None:
    """Replace what is between the markers of docs/evaluation.md."""
    said = ", ".join(f"`{k}` {v:.2f}" for k, v in found.items() if "gain" in k)
    parts = [f"{counts}. {harness.machine_description()}. {said}.", "Synthetic people:"]
    parts += [harness.markdown_table(found["rows"], ".2f")]
    if found["photographs"]:
        parts += ["Photographs that move, over the pixels that all cover:"]
        parts += [harness.markdown_table(_without_nan(found["photographs"]), ".2f")]
    if found["talking"]:
        parts += ["Distance from the optical flow of `carphone`:"]
        parts += [harness.markdown_table(found["talking"], ".2f")]
    harness.replace_section(harness.DOCS / "evaluation.md", "peers", "\n\n".join(parts))


def eyes(args: Namespace, model: HeadModel, finder: FaceFinder, looks: int) -> Eyes:
    """Our aligner, with so many looks at a face, for `fitted`."""
    aligner = make_aligner(args.aligner, model, device="cpu", weights=args.weights, looks=looks)
    return lambda clip, mode: (aligner, finder, 0.0)


def _without_nan(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the columns that are not known in any row."""
    kept = [k for k in rows[0] if any(row[k] == row[k] for row in rows)]
    return [{key: row[key] for key in kept} for row in rows]


def main() -> None:
    parser = harness.parser(__doc__.splitlines()[0])
    parser.add_argument("--mediapipe-python", type=Path, metavar="PYTHON", help="to compare with")
    parser.add_argument("--aligner", default="network", help="network (default) or landmarks")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="of --aligner network")
    parser.add_argument("--first-seed", type=int, default=0, help="of the synthetic people")
    parser.add_argument("--docs", action="store_true", help="write the table into docs/")
    args = parser.parse_args()
    people, seconds = (1, 1.2) if args.quick else (6, 2.0)
    model = load_builtin_head()
    finder = FaceFinder("cpu")
    trackers = {
        "flowface": fitted(model, eyes(args, model, finder, LOOKS[-1])),
        "flowface, 1 look": fitted(model, eyes(args, model, finder, 1)),
    }
    if args.mediapipe_python is None:
        print("mediapipe: skipped, no --mediapipe-python given", file=sys.stderr)
    else:
        peer = Mediapipe(args.mediapipe_python, model)
        trackers["mediapipe"] = peer.own_mesh
        trackers["mediapipe, fitted"] = fitted(model, peer.eyes)
    seeds = range(args.first_seed, args.first_seed + people)
    rows = compare([synthetic_clip(seed, seconds) for seed in seeds], trackers)
    photographs = [] if args.quick else real_clips(finder, seconds)
    talking = [] if args.quick else talking_clips(90)
    found: dict[str, Any] = {
        "rows": rows,
        "photographs": compare(photographs, trackers) if photographs else [],
        "talking": [row for clip in talking for row in flow_rows(clip, trackers)],
        "ssme_px": by_tracker(rows, "ssme_px"),
        "ssme_common_px": by_tracker(rows, "common_px"),
        **gains(rows, "ssme_px", "ssme_gain"),
        **gains(rows, "common_px", "ssme_common_gain"),
    }
    if photographs:
        found |= gains(found["photographs"], "ssme_px", "photograph_ssme_gain")
    for table in (rows, found["photographs"], found["talking"]):
        harness.print_table(table)
        print()
    for key, value in found.items():
        if "gain" in key:
            print(f"{key} {value:.3f}")
    if args.docs:
        write_docs(found, f"{people} people, {len(photographs)} photographs, {seconds:g} s each")
    if args.json:
        harness.write_json(args.json, found)


if __name__ == "__main__":
    main()
