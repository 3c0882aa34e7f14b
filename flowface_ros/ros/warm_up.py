"""A fit before the first real one, which would pay for loading compiled code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from flowface_ros.align.observation import Observation
from flowface_ros.camera.camera import pinhole
from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.model import HeadModel
from flowface_ros.head.state import neutral_state
from flowface_ros.head.surface import SurfacePoints
from flowface_ros.track.config import TrackerConfig
from flowface_ros.track.frames import ViewAlignment
from flowface_ros.track.head_tracker import HeadTracker

_SETS = 3
"""The first finds a pose, the second follows it, the third learns the shape."""
_PERIOD_NS = 200_000_000


def warm_up_fit(model: HeadModel, points: SurfacePoints, config: TrackerConfig) -> None:
    """Track a neutral head a metre before a camera, in a tracker of its own."""
    camera = pinhole(640, 480, np.radians(60.0))
    upside = np.array([np.pi, 0.0, 0.0])  # from the head's y up, z out to the camera's
    state = replace(neutral_state(model), rotation=upside, translation=np.array([0.0, 0.0, 1.0]))
    pixels, _ = camera.project(SurfaceEvaluator(model, points).positions(state))
    tracker = HeadTracker(model, config)
    for index in range(1, _SETS + 1):
        stamp_ns = index * _PERIOD_NS
        sigma = np.ones(len(points))
        seen = Observation(points, pixels, sigma, camera.name, stamp_ns)
        tracker.update([camera], [stamp_ns], [ViewAlignment(camera, seen)])
