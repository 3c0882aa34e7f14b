"""Ours against MediaPipe's Face Landmarker on the same synthetic pictures, by SSME.

`single`: every picture on its own. `sequence`: as a video, with whatever memory each has.
MediaPipe runs in an environment of its own, with `pip install mediapipe==1.2.*`; give its Python
with `--mediapipe-python`. Its model file comes from a package on the index.
"""

from __future__ import annotations

import harness

harness.pin_threads(1)

import json  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from tqdm import tqdm  # noqa: E402

from flowface_ros.align.aligner import Aligner, Picture, detect_and_align, make_aligner  # noqa: E402
from flowface_ros.align.landmark_net import FaceFinder  # noqa: E402
from flowface_ros.camera.camera import Camera  # noqa: E402
from flowface_ros.camera.rig import Rig  # noqa: E402
from flowface_ros.evaluate.inter_ocular import inter_ocular_px  # noqa: E402
from flowface_ros.evaluate.jitter import jitter_mm  # noqa: E402
from flowface_ros.evaluate.moving_mesh import MovingMesh  # noqa: E402
from flowface_ros.evaluate.regions import triangle_regions  # noqa: E402
from flowface_ros.evaluate.shared_pixels import covered_pixels  # noqa: E402
from flowface_ros.evaluate.ssme import Ssme, ssme  # noqa: E402
from flowface_ros.fit.frame_fit import FrameFitter  # noqa: E402
from flowface_ros.head.model import HeadModel  # noqa: E402
from flowface_ros.head.model_file import load_builtin_head  # noqa: E402
from flowface_ros.head.skinning import pose_vertices  # noqa: E402
from flowface_ros.rigid import apply  # noqa: E402
from flowface_ros.synth.scene import START_NS, Scene, SceneConfig  # noqa: E402
from flowface_ros.track.frames import ViewFrame  # noqa: E402
from flowface_ros.track.pipeline import Tracker  # noqa: E402

WORKER = Path(__file__).resolve().parent / "peers" / "mediapipe_landmarks.py"
TOOLS = Path(__file__).resolve().parents[1] / "tools"
DOCS = Path(__file__).resolve().parents[1] / "docs"
FPS = 30.0
SIZE = (640, 480)
OUTER_CORNERS, INTER_OCULAR_M = (33, 263), 0.09
"""MediaPipe's points there, and their usual distance: the depth that it gives its mesh does not
enter SSME."""
MODES = ("single", "sequence")


@dataclass(frozen=True, eq=False)
class Clip:
    """Pictures of one person by one camera, and the truth."""

    images: list[NDArray[np.uint8]]
    stamps_ns: list[int]
    cameras: list[Camera]
    truth: MovingMesh
    inter_ocular_px: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Answer:
    """What a tracker said about a clip, and the median time of a picture."""

    mesh: MovingMesh
    ms: float


Run = Callable[[Clip, str], Answer]


def make_clip(seed: int, seconds: float) -> Clip:
    width, height = SIZE
    scene = Scene(SceneConfig(seed=seed, width=width, height=height, duration_s=seconds))
    times = np.arange(round(seconds * FPS)) / FPS
    cameras = [scene.cameras(float(t)).cameras[0] for t in times]
    truth = [pose_vertices(scene.model, scene.head_state(0, float(t))) for t in times]
    sizes = [inter_ocular_px(scene.model, v, c) for v, c in zip(truth, cameras, strict=True)]
    return Clip(
        [scene.render(0, float(t)).color for t in times],
        [START_NS + round(t * 1e9) for t in times],
        cameras,
        MovingMesh(scene.model.triangles, truth),
        np.array(sizes),
    )


def ours(model: HeadModel, aligner: Aligner, finder: FaceFinder) -> Run:
    """The tracker for a sequence; aligner and fit alone for single pictures."""

    def run(clip: Clip, mode: str) -> Answer:
        tracker = Tracker(model, aligner, finder)
        fitter = FrameFitter(model, Rig((clip.cameras[0],)))
        vertices: list[NDArray | None] = []
        times_ms = []
        for image, stamp, camera in zip(clip.images, clip.stamps_ns, clip.cameras, strict=True):
            start = time.perf_counter()
            state = None
            if mode == "sequence":
                heads = tracker.update([ViewFrame(camera, image, stamp)]).heads
                state = heads[0].state if heads else None
            else:
                found = detect_and_align(aligner, finder, Picture(image, camera.name, stamp), 1)
                if found:
                    fitter.rig = Rig((camera,))
                    result = fitter.fit([found[0].observation])
                    state = result.state if result.valid else None
            vertices.append(None if state is None else pose_vertices(model, state))
            times_ms.append((time.perf_counter() - start) * 1e3)
        return Answer(MovingMesh(model.triangles, vertices), float(np.median(times_ms)))

    return run


def mediapipe(python: Path, model: Path, folder: Path) -> Run:
    """MediaPipe's own mesh, laid onto the rays of its points."""

    def run(clip: Clip, mode: str) -> Answer:
        kind = "image" if mode == "single" else "video"
        lines = []
        for i, (image, stamp) in enumerate(zip(clip.images, clip.stamps_ns, strict=True)):
            path = folder / f"{i}.npy"
            np.save(path, image)
            lines.append(f"{path} {(stamp - START_NS) // 1_000_000}\n")
        result = subprocess.run(
            [python, WORKER, model, kind],
            input="".join(lines),
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            raise ValueError(f"{python} failed:\n{result.stderr[-2000:]}")
        head, *answers = [json.loads(line) for line in result.stdout.splitlines()]
        vertices = [
            None if answer["points"] is None else lifted(np.array(answer["points"]), camera)
            for answer, camera in zip(answers, clip.cameras, strict=True)
        ]
        times_ms = [answer["ms"] for answer in answers]
        return Answer(MovingMesh(np.array(head["triangles"]), vertices), float(np.median(times_ms)))

    return run


def lifted(points: NDArray[np.float64], camera: Camera) -> NDArray[np.float64]:
    """Points (N, 3) of the rig frame that project to x, y and lie as deep as z says, for pixels
    with depth (N, 3)."""
    corners = points[list(OUTER_CORNERS)]
    focal = float(camera.intrinsics[0, 0])
    metres_per_px = INTER_OCULAR_M / float(np.linalg.norm(corners[1] - corners[0]))
    depth = metres_per_px * (focal + points[:, 2])
    normalised, _ = camera.undistort(points[:, :2])
    local = np.column_stack([normalised, np.ones(len(points))]) * depth[:, None]
    return apply(camera.rig_from_camera, local)


def compare(clips: Sequence[Clip], trackers: dict[str, Run], model: HeadModel) -> dict[str, Any]:
    """Figures by tracker and mode, over the region of the face. `common`: over the pixels of each
    frame that the meshes of all trackers cover."""
    regions = {"face": triangle_regions(model)["face"]}
    rows: list[dict[str, Any]] = []
    for mode in MODES:
        own: dict[str, Ssme] = {}
        common: dict[str, Ssme] = {}
        answers: dict[str, list[Answer]] = {name: [] for name in trackers}
        for clip in tqdm(clips, desc=mode, dynamic_ncols=True):
            said = {name: run(clip, mode) for name, run in trackers.items()}
            masks = [covered_pixels(answer.mesh, clip.cameras) for answer in said.values()]
            shared = [np.logical_and.reduce(frame) for frame in zip(*masks, strict=True)]
            for name, answer in said.items():
                answers[name].append(answer)
                for table, judged in ((own, None), (common, shared)):
                    sums = ssme(
                        clip.truth, answer.mesh, clip.cameras, regions, clip.inter_ocular_px,
                        judged=judged,
                    )  # fmt: skip
                    table[name] = table[name] + sums if name in table else sums
        rows += [
            _row(name, mode, own[name], common[name], clips, answers[name]) for name in trackers
        ]
    return {
        "rows": rows,
        "ssme_px": _by_tracker(rows, "ssme_px"),
        "ssme_common_px": _by_tracker(rows, "common_px"),
        **_gains(_by_tracker(rows, "ssme_px"), "ssme_gain"),
        **_gains(_by_tracker(rows, "common_px"), "ssme_common_gain"),
    }


def _row(
    name: str, mode: str, own: Ssme, common: Ssme, clips: Sequence[Clip], answers: list[Answer]
) -> dict[str, Any]:
    shaking = [
        _shaking_mm(clip, answer)
        for clip, answer in zip(clips, answers, strict=True)
        if answer.mesh.triangles.shape == clip.truth.triangles.shape
    ]
    return {
        "tracker": name,
        "mode": mode,
        "ssme_px": own.score_px("face"),
        "ssme_percent": own.score_percent("face"),
        "coverage": own.coverage("face"),
        "common_px": common.score_px("face"),
        "h1_px": float(own.by_horizon_px("face")[0]),
        "h30_px": float(own.by_horizon_px("face")[29]),
        "jitter_mm": float(np.mean(shaking)) if shaking else float("nan"),
        "ms": float(np.median([answer.ms for answer in answers])),
    }


def _by_tracker(rows: list[dict[str, Any]], key: str) -> dict[str, dict[str, float]]:
    scores: dict[str, dict[str, float]] = {}
    for row in rows:
        scores.setdefault(row["tracker"], {})[row["mode"]] = row[key]
    return scores


def _shaking_mm(clip: Clip, answer: Answer) -> float:
    both = zip(clip.truth.vertices, answer.mesh.vertices, strict=True)
    return jitter_mm([None if t is None or p is None else p - t for t, p in both])


def _gains(scores: dict[str, dict[str, float]], name: str) -> dict[str, float]:
    """1 - ours / best peer by mode; empty without a peer."""
    peers = [tracker for tracker in scores if tracker != "flowface"]
    if not peers:
        return {}
    return {
        f"{name}_{mode}": 1 - scores["flowface"][mode] / min(scores[p][mode] for p in peers)
        for mode in MODES
    }


def write_docs(found: dict[str, Any], clips: int) -> None:
    """Replace what is between the markers of docs/evaluation.md."""
    page = DOCS / "evaluation.md"
    before, rest = page.read_text(encoding="utf-8").split("<!-- peers -->")
    after = rest.split("<!-- /peers -->")[1]
    rows = found["rows"]
    table = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    for row in rows:
        cells = [f"{v:.2f}" if isinstance(v, float) else str(v) for v in row.values()]
        table.append("| " + " | ".join(cells) + " |")
    gains = ", ".join(f"`{k}` {v:.2f}" for k, v in found.items() if "gain" in k)
    body = "\n".join([f"{clips} clips, {harness.machine_description()}: {gains}.", "", *table])
    page.write_text(f"{before}<!-- peers -->\n{body}\n<!-- /peers -->{after}", encoding="utf-8")


def main() -> None:
    parser = harness.parser(__doc__.splitlines()[0])
    parser.add_argument("--mediapipe-python", type=Path, metavar="PYTHON", help="to compare with")
    parser.add_argument("--aligner", default="landmarks", help="landmarks or network")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="of --aligner network")
    parser.add_argument("--docs", action="store_true", help="write the table into docs/")
    args = parser.parse_args()
    clips = [make_clip(seed, 1.2 if args.quick else 2.0) for seed in range(1 if args.quick else 6)]
    model = load_builtin_head()
    finder = FaceFinder("cpu")
    aligner = make_aligner(args.aligner, model, device="cpu", weights=args.weights)
    trackers = {"flowface": ours(model, aligner, finder)}
    with tempfile.TemporaryDirectory() as name:
        if args.mediapipe_python is None:
            print("mediapipe: skipped, no --mediapipe-python given", file=sys.stderr)
        else:
            file = Path(name) / "face_landmarker.task"
            file.write_bytes(_mediapipe_model())
            trackers["mediapipe"] = mediapipe(args.mediapipe_python, file, Path(name))
        found = compare(clips, trackers, model)
    harness.print_table(found["rows"])
    for key, value in found.items():
        if "gain" in key:
            print(f"{key} {value:.3f}")
    if args.docs:
        write_docs(found, len(clips))
    if args.json:
        harness.write_json(args.json, found)


def _mediapipe_model() -> bytes:
    sys.path.insert(0, str(TOOLS))
    from tflite_sources import LANDMARKS

    from flowface_ros.package_files import fetch, member

    return member(fetch(LANDMARKS.package), LANDMARKS.path[0])


if __name__ == "__main__":
    main()
