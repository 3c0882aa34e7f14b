"""Another moment of the same scenes: as a head moves between two pictures of a video, or further.

What differs between a network's errors at two moments is what its mesh moves wrongly by.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from flowface_ros.train.shots import Shots

Array = NDArray[np.float64]

_LEAST_PACE = 0.08
"""Paces are uniform by their log, from this share of the widest motion to all of it."""
_TURN_SIGMA, _DIRECTION_SIGMA, _LOG_DISTANCE_SIGMA = np.radians(13), 0.08, 0.08
"""Of the widest motion: about each axis, sideways by radians, and to and fro."""
_FACE_MOVES_SHARE, _GAZE_MOVES_SHARE = 0.8, 0.5
_SAME_CROP_SHARE, _SAME_CROP_SIGMA = 0.5, 0.02
"""Of crops that follow the one before as a tracker's do; the others are a detector's."""


def later(shots: Shots, other: Shots, rng: np.random.Generator) -> Shots:
    """The same B scenes at another moment. other: B more views, towards whose faces these go."""
    count = len(shots)
    pace: Array = np.exp(rng.uniform(np.log(_LEAST_PACE), 0, count))[:, None]
    turn = Rotation.from_rotvec(rng.normal(0, _TURN_SIGMA, (count, 3)) * pace)
    moves = rng.random((count, 1)) < _FACE_MOVES_SHARE
    face: Array = np.clip(pace * rng.uniform(0, 2, (count, 1)), 0, 1) * moves
    gaze: Array = np.where(rng.random((count, 1)) < _GAZE_MOVES_SHARE, 1.0, 0.0)
    direction = shots.direction + rng.normal(0, _DIRECTION_SIGMA, (count, 3)) * pace
    follows = rng.random(count) < _SAME_CROP_SHARE
    near = rng.normal(0, _SAME_CROP_SIGMA, (count, 3))
    return replace(
        shots,
        rotation=(turn * Rotation.from_rotvec(shots.rotation)).as_rotvec(),
        neck=_between(shots.neck, other.neck, pace),
        jaw=_between(shots.jaw, other.jaw, face),
        left_eye=_between(shots.left_eye, other.left_eye, gaze),
        right_eye=_between(shots.right_eye, other.right_eye, gaze),
        direction=direction / np.linalg.norm(direction, axis=1, keepdims=True),
        distance_m=shots.distance_m
        * np.exp(rng.normal(0, _LOG_DISTANCE_SIGMA, count) * pace[:, 0]),
        expression=_between(shots.expression, other.expression, face),
        log_scale=np.where(follows, shots.log_scale + near[:, 0], other.log_scale),
        shift=np.where(follows[:, None], shots.shift + near[:, 1:], other.shift),
    )


def _between(one: Array, other: Array, share: Array) -> Array:
    return one + share * (other - one)
