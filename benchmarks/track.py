"""How well and how fast the tracker follows synthetic people, against the truth.

Every scene is recorded once into a bag (`--bags DIR` keeps it for the next run); its images go
through detector, aligner and tracker as they would live. Times are of this process on one thread;
on a busy machine compare their shares.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import harness

harness.pin_threads(1)

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from tqdm import tqdm  # noqa: E402

from flowface_ros.align.aligner import ALIGNERS, make_aligner  # noqa: E402
from flowface_ros.align.landmark_net import FaceFinder  # noqa: E402
from flowface_ros.bag.face_messages import stamp_ns  # noqa: E402
from flowface_ros.bag.images import decode_any_image  # noqa: E402
from flowface_ros.bag.reader import open_bag  # noqa: E402
from flowface_ros.bag.recording import record_scene  # noqa: E402
from flowface_ros.evaluate.jitter import jitter_mm  # noqa: E402
from flowface_ros.evaluate.surface_error import aligned_vertex_distances  # noqa: E402
from flowface_ros.head.model import HeadModel  # noqa: E402
from flowface_ros.head.skinning import pose_vertices  # noqa: E402
from flowface_ros.head.state import HeadState  # noqa: E402
from flowface_ros.synth.scene.scene import Scene, SceneConfig, seconds  # noqa: E402
from flowface_ros.track.config import TrackerConfig  # noqa: E402
from flowface_ros.track.frames import TrackResult, ViewFrame  # noqa: E402
from flowface_ros.track.pipeline import Tracker  # noqa: E402
from flowface_ros.track.tracked_head import Status, TrackedHead, face_pose  # noqa: E402

_SAME_PERSON_M = 0.15
"""A head farther from every person than this is nobody."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A scene, and the cameras of it that are used; none means all."""

    name: str
    scene: SceneConfig
    cameras: tuple[str, ...] = ()


CASES = (
    Case("3 cameras", SceneConfig(seed=0, cameras=3)),
    Case("1 camera", SceneConfig(seed=0, cameras=3), ("center",)),
    Case("2 people, 2 cameras", SceneConfig(seed=1, cameras=2, faces=2)),
    Case("3 moving cameras", SceneConfig(seed=2, cameras=3, moving_rig=True)),
)


@dataclass
class Record:
    """What is gathered over a scene. errors: of TRACKED heads, by name."""

    sets: int = 0
    tracked: int = 0
    strangers: int = 0
    switches: int = 0
    errors: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    offsets: dict[int, list[Array | None]] = field(default_factory=lambda: defaultdict(list))
    id_of: dict[int, str] = field(default_factory=dict)
    stage_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    counters: Counter[str] = field(default_factory=Counter)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = harness.parser(__doc__ or "")
    parser.add_argument("--aligner", choices=ALIGNERS, default=ALIGNERS[0])
    parser.add_argument("--weights", type=Path, help="ONNX file of the network aligner")
    parser.add_argument("--bags", type=Path, metavar="DIR", help="keep the recordings here")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    print(harness.machine_description())
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.bags or Path(scratch)
        rows = [run(case, folder, options) for case in CASES[: 3 if options.quick else None]]
    harness.print_table([{k: v for k, v in row.items() if not isinstance(v, dict)} for row in rows])
    for row in rows:
        stages = "  ".join(f"{k} {v:.1f}" for k, v in row["stage_ms"].items())
        print(f"{row['case']}: ms by stage (median): {stages}")
    if options.json:
        harness.write_json(options.json, {"cases": {row["case"]: row for row in rows}})


def run(case: Case, folder: Path, options: Any) -> dict[str, Any]:
    """One row of the table."""
    config = SceneConfig(**{**vars(case.scene), "duration_s": 1.0 if options.quick else 4.0})
    scene = Scene(config)
    aligner = make_aligner(options.aligner, scene.model, device="cpu", weights=options.weights)
    finder = FaceFinder("cpu")
    aligner.warm_up()
    finder.warm_up()
    tracker = Tracker(scene.model, aligner, finder, TrackerConfig())
    record = Record()
    names = case.cameras or scene.camera_names
    sets = tqdm(views(scene, bag_of(scene, folder), names), total=config.frames, desc=case.name)
    for frames in sets:
        start = time.perf_counter()
        result = tracker.update(frames)
        record.stage_ms["total"].append((time.perf_counter() - start) * 1e3)
        add(record, scene.model, result, scene.head_states(seconds(result.stamp_ns)))
    return row_of(case.name, record, config.faces)


def bag_of(scene: Scene, folder: Path) -> Path:
    """The recording of a scene, made if it is not there."""
    c = scene.config
    kind = "moving" if c.moving_rig else "fixed"
    folder.mkdir(parents=True, exist_ok=True)
    model = f"{scene.model.model_hash:016x}"[:6]
    path = folder / f"{c.cameras}x{c.faces}_{kind}_{c.seed}_{c.duration_s:g}s_{model}.mcap"
    if not path.exists():
        print(f"rendering {path.name} ...")
        record_scene(c, path, jobs=1)
    return path


def views(scene: Scene, path: Path, names: Sequence[str]) -> Iterator[list[ViewFrame]]:
    """The sets of a recording, with the true cameras."""
    waiting: dict[str, list[ViewFrame]] = {name: [] for name in names}
    with open_bag(path) as bag:
        topics = [t for t in bag.topics if "image_raw" in t and t.split("/")[1] in waiting]
        for topic, _, message in bag.messages(topics):
            name, stamp = topic.split("/")[1], stamp_ns(message)
            camera = scene.cameras(seconds(stamp))[name]
            waiting[name].append(ViewFrame(camera, decode_any_image(message), stamp))
            if all(waiting.values()):
                yield [waiting[name].pop(0) for name in names]


def add(record: Record, model: HeadModel, result: TrackResult, truth: list[HeadState]) -> None:
    """Take in one result."""
    record.sets += 1
    record.counters += result.statistics.counters
    for stage, ms in result.statistics.stage_ms.items():
        record.stage_ms[stage].append(ms)
    heads: dict[int, TrackedHead] = {}
    for head in result.heads:
        if head.status is not Status.TRACKED:
            continue
        away = [np.linalg.norm(head.state.translation - s.translation) for s in truth]
        person = int(np.argmin(away))
        if away[person] > _SAME_PERSON_M or person in heads:
            record.strangers += 1
        else:
            heads[person] = head
    for person, state in enumerate(truth):
        head_of = heads.get(person)
        record.offsets[person].append(
            None if head_of is None else _errors(record, model, head_of, state)
        )
        if head_of is not None:
            record.tracked += 1
            record.switches += record.id_of.get(person, head_of.id) != head_of.id
            record.id_of[person] = head_of.id


def _errors(record: Record, model: HeadModel, head: TrackedHead, truth: HeadState) -> Array:
    """Adds a head's errors; returns the face's vertices minus the true ones (n, 3), metres."""
    face = model.vertex_groups["face"]
    found, wanted = (pose_vertices(model, s)[face] for s in (head.state, truth))
    pose, true_pose = face_pose(model, head.state), face_pose(model, truth)
    turn = pose[:3, :3].T @ true_pose[:3, :3]
    angle = np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    errors = record.errors
    errors["position_mm"].append(1e3 * float(np.linalg.norm(pose[:3, 3] - true_pose[:3, 3])))
    errors["rotation_deg"].append(float(angle))
    errors["vertex_mm"].append(1e3 * float(np.linalg.norm(found - wanted, axis=1).mean()))
    errors["aligned_vertex_mm"].append(1e3 * float(aligned_vertex_distances(wanted, found).mean()))
    return np.asarray(found - wanted, np.float64)


def row_of(name: str, record: Record, people: int) -> dict[str, Any]:
    """Figures of a scene."""
    row: dict[str, Any] = {
        "case": name,
        "tracked_share": record.tracked / (record.sets * people),
        "id_switches": record.switches,
        "strangers": record.strangers,
    }
    for key, values in record.errors.items():
        row[key] = float(np.median(values))
    row["jitter_mm"] = float(np.mean([jitter_mm(o) for o in record.offsets.values()]))
    row["set_ms"] = float(np.median(record.stage_ms["total"]))
    row["p95"] = {key: float(np.percentile(v, 95)) for key, v in record.errors.items()}
    row["stage_ms"] = {key: float(np.median(v)) for key, v in record.stage_ms.items()}
    row["counters"] = dict(record.counters)
    return row


if __name__ == "__main__":
    main()
