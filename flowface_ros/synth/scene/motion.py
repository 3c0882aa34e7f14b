"""A person's whole motion: head pose, neck, gaze and expression as one `HeadState` at any time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from flowface_ros.head.blendshapes import state_from_blendshapes
from flowface_ros.head.model import JOINT_NAMES, HeadModel
from flowface_ros.head.skinning import posed_joints
from flowface_ros.head.state import HeadState, neutral_state
from flowface_ros.rigid import rotation_from_rotvec
from flowface_ros.synth.scene.curves import Waves, sample_waves, soft_limit
from flowface_ros.synth.scene.expressions import ExpressionCurves
from flowface_ros.synth.scene.gaze import GazePath, eye_rotation, sample_gaze

Array = NDArray[np.float64]

YAW_LIMIT, PITCH_LIMIT, ROLL_LIMIT = np.radians([50.0, 25.0, 18.0])
SWAY_LIMIT_M = 0.07
"""Farthest that a head moves from its place along each axis."""
_HEAD_FOLLOWS = 0.5
"""Share of a gaze shift that the head makes."""
_HEAD_SHIFT_S, _HEAD_LAG_S = 0.6, 0.05
"""Duration of a head turn after a gaze shift, and how much later than the eyes it starts."""
NECK, LEFT_EYE, RIGHT_EYE = (JOINT_NAMES.index(name) for name in ("neck", "left_eye", "right_eye"))


def facing_rotation(forward: ArrayLike) -> Array:
    """Rotation (3, 3), rig from head, of an upright head whose z axis is `forward` (3,).

    The rig frame's z axis is up.
    """
    z = np.asarray(forward, np.float64)
    z = z / np.linalg.norm(z)
    x = np.cross([0.0, 0.0, 1.0], z)
    x /= np.linalg.norm(x)
    return np.column_stack([x, np.cross(z, x), z])


@dataclass(frozen=True)
class HeadPath:
    """Pose of a head over time; angles are about the upright head's axes x, y, z.

    place: (3,) metres, mean position of the head's origin in the rig frame.
    upright: (3, 3) rig_from_head at rest.
    angles: 3 channels, pitch, yaw and roll in radians; sway: 3 channels, metres in the rig frame.
    gaze: what the head half turns to.
    neck_share: (3,) part of pitch, yaw and roll that the neck joint makes, in [0, 1].
    """

    place: Array
    upright: Array
    angles: Waves
    sway: Waves
    gaze: GazePath
    neck_share: Array

    def translation(self, t: ArrayLike) -> Array:
        """Origin of the head's frame (..., 3) in the rig frame at times (...), metres."""
        return self.place + soft_limit(self.sway.values(t), SWAY_LIMIT_M)

    def euler(self, t: ArrayLike) -> Array:
        """Pitch (nose down), yaw (to the subject's left), roll (...,3) at times (...), radians."""
        to_target = self.gaze.slow_target(t, _HEAD_SHIFT_S, _HEAD_LAG_S) - self.place
        x, y, z = np.moveaxis(to_target @ self.upright, -1, 0)
        turn = np.stack([-np.arctan2(y, np.hypot(x, z)), np.arctan2(x, z), 0 * x], axis=-1)
        angles = self.angles.values(t) + _HEAD_FOLLOWS * turn
        return soft_limit(angles, [PITCH_LIMIT, YAW_LIMIT, ROLL_LIMIT])

    def rotations(self, t: float, neck_bounds: Array) -> tuple[Array, Array]:
        """Rotation vectors (3,) of the root (rig_from_head) and of the neck joint at time t."""
        angles = self.euler(t)
        neck = self.neck_share * angles
        neck = soft_limit(neck, np.where(neck < 0, -neck_bounds[:, 0], neck_bounds[:, 1]))
        root = self.upright @ rotation_from_rotvec(angles - neck)
        return Rotation.from_matrix(root).as_rotvec(), neck


def sample_path(
    rng: np.random.Generator, place: ArrayLike, forward: ArrayLike, gaze: GazePath
) -> HeadPath:
    """A random head motion around `place` (3,), facing `forward` (3,) in the mean."""
    activity = rng.uniform(0.5, 1.3)
    return HeadPath(
        place=np.asarray(place, np.float64),
        upright=facing_rotation(forward),
        angles=sample_waves(
            rng, activity * np.radians([5.0, 12.0, 3.5]), (0.1, 0.9), offset=rng.normal(0, 0.05, 3)
        ),
        sway=sample_waves(rng, activity * np.full(3, 0.015), (0.08, 0.7)),
        gaze=gaze,
        neck_share=rng.uniform(0.2, 0.6, 3),
    )


class PersonMotion:
    """`HeadState` of one person as a function of time."""

    def __init__(
        self,
        model: HeadModel,
        shape: ArrayLike,
        path: HeadPath,
        expression: ExpressionCurves,
    ) -> None:
        """
        shape: (S,) identity, the same at all times.
        """
        self.model = model
        self.path = path
        self.expression = expression
        self._base = replace(neutral_state(model), shape=np.asarray(shape, np.float64))

    def state(self, t: float) -> HeadState:
        """The head at time t, seconds."""
        bounds = self.model.joint_bounds
        rotation, neck = self.path.rotations(t, bounds[NECK])
        weights = self.expression.weights(t)
        state = replace(
            state_from_blendshapes(self.model, weights, self._base),
            translation=self.path.translation(t),
            rotation=rotation,
            neck=neck,
        )
        skull = rotation_from_rotvec(rotation) @ rotation_from_rotvec(neck)
        joints, target = posed_joints(self.model, state), self.path.gaze.target(t)
        left, right = (
            eye_rotation(joints[eye], skull, target, bounds[eye]) for eye in (LEFT_EYE, RIGHT_EYE)
        )
        return replace(state, left_eye=left, right_eye=right)


def sample_motion(
    model: HeadModel,
    shape: ArrayLike,
    rng: np.random.Generator,
    duration_s: float,
    place: ArrayLike,
    attractors: ArrayLike,
) -> PersonMotion:
    """A random motion of a person at `place` (3,), metres in the rig frame, who faces its origin.

    attractors: (N, 3) points that the person likes to look at, such as the cameras.
    """
    position = np.asarray(place, np.float64)
    forward = -position * (1.0, 1.0, 0.0)
    forward /= np.linalg.norm(forward)
    gaze = sample_gaze(rng, duration_s, position, attractors, forward)
    path = sample_path(rng, position, forward, gaze)
    return PersonMotion(model, shape, path, ExpressionCurves(rng, duration_s))
