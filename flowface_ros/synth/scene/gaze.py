"""Where a person looks: fixations joined by saccades, and the eye rotations that this needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowface_ros.synth.scene.curves import smootherstep, soft_limit

Array = NDArray[np.float64]

SACCADE_BASE_S = 0.021
SACCADE_PER_RADIAN_S = 0.0022 * 180 / np.pi
"""Main sequence of saccades: 21 ms and 2.2 ms per degree (Bahill et al. 1975)."""
_SHORTEST_FIXATION_S = 0.25


class GazePath:
    """The fixated point in the rig frame as a function of time."""

    def __init__(self, points: ArrayLike, onsets: ArrayLike, viewpoint: ArrayLike) -> None:
        """
        points: (N, 3) fixated points, metres, rig frame.
        onsets: (N - 1,) seconds, start of the saccade to point 1, 2, ...
        viewpoint: (3,) about where the eyes are; saccade durations follow from the angles there.
        """
        self.points = np.asarray(points, np.float64).reshape(-1, 3)
        self.onsets = np.asarray(onsets, np.float64)
        directions = self.points - np.asarray(viewpoint, np.float64)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        cosine = (directions[1:] * directions[:-1]).sum(axis=1)
        self.amplitudes = np.arccos(np.clip(cosine, -1.0, 1.0))
        self.durations = SACCADE_BASE_S + SACCADE_PER_RADIAN_S * self.amplitudes

    def target(self, t: ArrayLike) -> Array:
        """Fixated points (..., 3), metres in the rig frame, at times (...)."""
        return self._follow(t, self.durations)

    def slow_target(self, t: ArrayLike, duration_s: float, lag_s: float) -> Array:
        """As `target`, but every shift starts `lag_s` later and takes `duration_s`: for heads."""
        return self._follow(np.asarray(t, np.float64) - lag_s, duration_s)

    def _follow(self, t: ArrayLike, durations: Array | float) -> Array:
        since = np.asarray(t, np.float64)[..., None] - self.onsets
        return self.points[0] + smootherstep(since / durations) @ np.diff(self.points, axis=0)


def sample_gaze(
    rng: np.random.Generator,
    duration_s: float,
    viewpoint: ArrayLike,
    attractors: ArrayLike,
    forward: ArrayLike,
) -> GazePath:
    """Fixations that mostly visit `attractors` (N, 3) and sometimes look around.

    viewpoint: (3,) where the eyes are; forward: (3,) unit vector, where the person faces at rest.
    """
    eye, ahead = np.asarray(viewpoint, np.float64), np.asarray(forward, np.float64)
    interesting = np.asarray(attractors, np.float64).reshape(-1, 3)
    onsets: list[float] = []
    points: list[Array] = []
    now = -1.0
    while now < duration_s + 1.0:
        if rng.random() < 0.65 and len(interesting):
            point = interesting[rng.integers(len(interesting))] + rng.normal(0.0, 0.03, 3)
        else:
            spread = rng.normal(0.0, 1.0, 3) * (0.3, 0.3, 0.15)
            direction = ahead + spread
            point = eye + direction / np.linalg.norm(direction) * rng.uniform(0.6, 2.0)
        points.append(point)
        onsets.append(now)
        now += _SHORTEST_FIXATION_S + rng.lognormal(np.log(0.5), 0.6)
    return GazePath(np.array(points), np.array(onsets[1:]), eye)


def eye_rotation(
    eye: ArrayLike, rig_from_head: ArrayLike, target: ArrayLike, bounds: Array
) -> Array:
    """Rotation vector (3,) of an eye joint that looks from `eye` at `target` (rig frame, metres).

    rig_from_head: (3, 3) rotation of the head, the neck joint's included. The axis lies in
    Listing's plane (no torsion). bounds: (3, 2) radians of the joint; approached smoothly.
    """
    direction = np.asarray(rig_from_head).T @ (np.asarray(target) - np.asarray(eye))
    x, y, z = direction / np.linalg.norm(direction)
    sine = np.hypot(x, y)
    angle = np.arctan2(sine, z)
    scale = angle / sine if sine > 1e-9 else 1.0
    vector = np.array([-y * scale, x * scale, 0.0])
    limit = np.where(vector < 0, -bounds[:, 0], bounds[:, 1])
    return soft_limit(vector, limit)
