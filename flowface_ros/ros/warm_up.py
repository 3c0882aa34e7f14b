"""Work before the first real one, which would pay for compiling and loading code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.aligner import Aligner, FaceAlignment, Picture
from flowface_ros.align.crop import Crop
from flowface_ros.align.landmark_net import FaceLandmarks
from flowface_ros.align.observation import Observation
from flowface_ros.camera.camera import Camera, pinhole
from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.model import HeadModel
from flowface_ros.head.state import HeadState, neutral_state
from flowface_ros.head.surface import SurfacePoints
from flowface_ros.track.config import TrackerConfig
from flowface_ros.track.frames import ViewAlignment, ViewFrame
from flowface_ros.track.head_tracker import HeadTracker
from flowface_ros.track.tracked_head import Status, TrackedHead
from flowface_ros.track.view_aligner import ViewAligner

_SETS = 3
"""The first finds a pose, the second follows it, the third learns the shape."""
_PERIOD_NS = 200_000_000


def warm_up_fit(model: HeadModel, points: SurfacePoints, config: TrackerConfig) -> None:
    """Track a neutral head a metre before a camera, in a tracker of its own."""
    camera, state = _scene(model)
    pixels, _ = camera.project(SurfaceEvaluator(model, points).positions(state))
    tracker = HeadTracker(model, config)
    for index in range(1, _SETS + 1):
        stamp_ns = index * _PERIOD_NS
        sigma = np.ones(len(points))
        seen = Observation(points, pixels, sigma, camera.name, stamp_ns)
        tracker.update([camera], [stamp_ns], [ViewAlignment(camera, seen)])


def warm_up_views(model: HeadModel, aligner: Aligner, config: TrackerConfig) -> None:
    """Follow that head through black images, in all but the aligner's network."""
    camera, state = _scene(model)
    image = np.zeros((camera.height, camera.width, 3), np.uint8)
    pixels, _ = camera.project(SurfaceEvaluator(model, aligner.points).positions(state))
    views = ViewAligner(model, _Knowing(aligner, pixels), _Blind(), config)
    for index in range(1, _SETS + 1):
        stamp_ns = index * _PERIOD_NS
        views.follow(stamp_ns - 1, [TrackedHead("p1", Status.TRACKED, state, views=(camera.name,))])
        views.align([ViewFrame(camera, image, stamp_ns)])


class _Knowing:
    """Stands in for an aligner and says that every face is where the head is."""

    def __init__(self, aligner: Aligner, pixels: NDArray[np.float64]) -> None:
        """pixels: (N, 2) of the aligner's points."""
        self.points, self.grid = aligner.points, aligner.grid
        self.crop_size, self.device = aligner.crop_size, aligner.device
        self._pixels = pixels

    def align(
        self, pictures: Sequence[Picture], crops: Sequence[Sequence[Crop]]
    ) -> list[list[FaceAlignment]]:
        sigma = np.ones(len(self.points))
        return [
            [
                FaceAlignment(
                    Observation(self.points, self._pixels, sigma, p.camera, p.stamp_ns), 1.0, c
                )
                for c in of_picture
            ]
            for p, of_picture in zip(pictures, crops, strict=True)
        ]

    def align_faces(self, picture: Picture, faces: Sequence[FaceLandmarks]) -> list[FaceAlignment]:
        return self.align([picture], [[face.crop for face in faces]])[0]

    def warm_up(self, batch_sizes: Sequence[int] = (1,)) -> None: ...


class _Blind:
    """A finder that finds nobody."""

    def detect_faces(self, *_: object) -> list[FaceLandmarks]:
        return []


def _scene(model: HeadModel) -> tuple[Camera, HeadState]:
    """A neutral head a metre before a camera."""
    upside = np.array([np.pi, 0.0, 0.0])  # from the head's y up, z out to the camera's
    state = replace(neutral_state(model), rotation=upside, translation=np.array([0.0, 0.0, 1.0]))
    return pinhole(640, 480, np.radians(60.0)), state
