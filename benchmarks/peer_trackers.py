"""What runs on the clips: our tracker, MediaPipe, and our fit of MediaPipe's points."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from peer_clips import Clip

from flowface_ros.align.aligner import Aligner, Picture
from flowface_ros.align.embedding import landmark_points
from flowface_ros.camera.rig import Rig
from flowface_ros.evaluate.moving_mesh import MovingMesh, project_vertices
from flowface_ros.evaluate.peer.aligner import PeerAligner, picture_key
from flowface_ros.evaluate.peer.landmarker import Landmarker, Look
from flowface_ros.evaluate.peer.mesh import lifted
from flowface_ros.fit.frame_fit import FrameFitter
from flowface_ros.head.model import HeadModel
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.track.config import TrackerConfig
from flowface_ros.track.frames import ViewFrame
from flowface_ros.track.pipeline import Tracker
from flowface_ros.track.view_aligner import Finder


@dataclass(frozen=True, eq=False)
class Answer:
    """What a tracker said about a clip: its mesh, where the 478 points are in each picture, and the
    median time of a picture."""

    mesh: MovingMesh
    points: list[NDArray | None]
    ms: float


Run = Callable[[Clip, str], Answer]
Eyes = Callable[[Clip, str], tuple[Aligner, Finder, float]]
"""Of a clip and mode: aligner, finder, and milliseconds a picture that they took before."""


def fitted(
    model: HeadModel,
    eyes: Eyes,
    config: TrackerConfig | None = None,
) -> Run:
    """The tracker for a sequence; aligner and fit alone for single pictures."""

    def run(clip: Clip, mode: str) -> Answer:
        aligner, finder, before_ms = eyes(clip, mode)
        tracker = Tracker(model, aligner, finder, config)
        fitter = FrameFitter(model, Rig((clip.cameras[0],)), (config or TrackerConfig()).fit)
        vertices: list[NDArray | None] = []
        times_ms = []
        for image, stamp, camera in zip(clip.images, clip.stamps_ns, clip.cameras, strict=True):
            start = time.perf_counter()
            state = None
            if mode == "sequence":
                heads = tracker.update([ViewFrame(camera, image, stamp)]).heads
                state = heads[0].state if heads else None
            else:
                faces = finder.detect_faces(image, 1)
                found = aligner.align_faces(Picture(image, camera.name, stamp), faces)
                if found:
                    fitter.rig = Rig((camera,))
                    result = fitter.fit([found[0].observation])
                    state = result.state if result.valid else None
            vertices.append(None if state is None else pose_vertices(model, state))
            times_ms.append((time.perf_counter() - start) * 1e3)
        points = [
            None
            if v is None
            else project_vertices(c, landmark_points(model).interpolate(model.triangles, v))
            for v, c in zip(vertices, clip.cameras, strict=True)
        ]
        mesh = MovingMesh(model.triangles, vertices)
        return Answer(mesh, points, before_ms + float(np.median(times_ms)))

    return run


class Mediapipe:
    """Runs it once on each clip and mode, and keeps what it saw."""

    def __init__(self, python: Path, model: HeadModel) -> None:
        self._python, self._model = python, model
        self._looks: dict[tuple[str, str], list[Look]] = {}
        self._triangles = np.zeros((0, 3), np.int32)

    def looks(self, clip: Clip, mode: str) -> list[Look]:
        """Of every picture."""
        key = (clip.name, mode)
        if key not in self._looks:
            with Landmarker(self._python, video=mode == "sequence") as landmarker:
                self._triangles = landmarker.triangles
                since = [(s - clip.stamps_ns[0]) // 1_000_000 for s in clip.stamps_ns]
                self._looks[key] = [
                    landmarker.look(image, ms) for image, ms in zip(clip.images, since, strict=True)
                ]
        return self._looks[key]

    def own_mesh(self, clip: Clip, mode: str) -> Answer:
        """Its own mesh, laid onto the rays of its points."""
        looks = self.looks(clip, mode)
        points = [look.faces[0] if look.faces else None for look in looks]
        vertices = [
            None if p is None else lifted(p, camera)
            for p, camera in zip(points, clip.cameras, strict=True)
        ]
        ms = float(np.median([look.ms[0] for look in looks]))
        return Answer(MovingMesh(self._triangles, vertices), list(points), ms)

    def eyes(self, clip: Clip, mode: str) -> tuple[Aligner, Finder, float]:
        """Its points, for our fitter."""
        looks = self.looks(clip, mode)
        faces = {picture_key(i): k.faces for i, k in zip(clip.images, looks, strict=True)}
        peer = PeerAligner(self._model, faces)
        return peer, peer, float(np.median([look.ms[0] for look in looks]))
