"""MediaPipe on the images of a recording, judged as the tracker is."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from flowface_ros.bag.evaluation_input import Transforms
    from flowface_ros.evaluate.peer.figures import PeerView
    from flowface_ros.evaluate.tracking import Recording
    from flowface_ros.head.model import HeadModel

_NS_PER_MS = 1_000_000


def mediapipe_figures(
    truth: Path,
    recording: Recording,
    heads: Sequence[HeadModel],
    transforms: Callable[[], Transforms],
    python: Path | None = None,
    model: Path | None = None,
) -> dict[str, Any]:
    """The entry of metrics.json: its own mesh, and its points through our tracker.

    truth: bag with images. heads: as for `read_recording`. transforms: makes an empty buffer.
    python, model: see `Landmarker`. Raises ValueError for a bag without images and when MediaPipe
    does not run.
    """
    from flowface_ros.bag.evaluation_input import read_recording
    from flowface_ros.commands.replay_jobs import ReplayJob, ReplayOptions, replay_bag
    from flowface_ros.evaluate.metrics import evaluate
    from flowface_ros.evaluate.peer.aligner import PeerAligner
    from flowface_ros.evaluate.peer.figures import mesh_figures
    from flowface_ros.head.model_file import load_builtin_head

    people = max((len(faces) for faces in recording.truth.faces), default=1)
    views, faces, triangles = _look(truth, recording, max(people, 1), python, model)
    eyes = PeerAligner(load_builtin_head(), faces)
    options = ReplayOptions(cameras=_cameras(views), max_faces=max(people, 1))
    with tempfile.TemporaryDirectory() as folder:
        fitted = Path(folder) / "fitted.mcap"
        outcome = replay_bag(ReplayJob(truth, fitted, options), eyes=(eyes, eyes))
        judged = evaluate(read_recording(fitted, truth, transforms(), None, heads))
    assert outcome.summary is not None
    stages = [sum(set_ms) for set_ms in zip(*outcome.summary.stage_ms.values(), strict=True)]
    views_ms = len(_cameras(views)) * float(np.median([view.ms for view in views]))
    judged["ms"] = views_ms + (float(np.median(stages)) if stages else 0.0)
    return {"mesh": mesh_figures(recording, views, triangles), "fitted": judged}


def _cameras(views: Sequence[PeerView]) -> tuple[str, ...]:
    return tuple(sorted({view.camera for view in views}))


def _look(
    truth: Path, recording: Recording, people: int, python: Path | None, model: Path | None
) -> tuple[list[PeerView], dict[bytes, list[NDArray[np.float64]]], NDArray[np.int32]]:
    """What it sees in every image: a video of each camera; faces also by `picture_key`."""
    from tqdm import tqdm

    from flowface_ros.bag.all_images import all_images, image_total
    from flowface_ros.bag.reader import open_bag
    from flowface_ros.evaluate.peer.aligner import picture_key
    from flowface_ros.evaluate.peer.figures import PeerView
    from flowface_ros.evaluate.peer.landmarker import Landmarker

    views: list[PeerView] = []
    faces: dict[bytes, list[NDArray[np.float64]]] = {}
    landmarkers: dict[str, Landmarker] = {}
    with ExitStack() as running, open_bag(truth) as bag:
        total = image_total(bag, recording.cameras)
        images = all_images(bag, recording.cameras)
        bar = tqdm(images, total=total, desc="mediapipe", unit="image", dynamic_ncols=True)
        for camera, stamp_ns, image in bar:
            if camera not in landmarkers:
                landmarkers[camera] = running.enter_context(
                    Landmarker(python, model, video=True, faces=people)
                )
            since_start = (stamp_ns - bag.start_ns) // _NS_PER_MS
            look = landmarkers[camera].look(image, max(int(since_start), 0))
            views.append(PeerView(camera, stamp_ns, look.faces, look.ms[0]))
            faces[picture_key(image)] = look.faces
    if not views:
        raise ValueError(f"{truth} has no images of {', '.join(recording.cameras)} for the peer")
    return views, faces, next(iter(landmarkers.values())).triangles
