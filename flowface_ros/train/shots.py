"""Random views of random faces: pose, expression, gaze, and how the crop is off.

One generator draws a whole batch at once, so that a GPU need not wait for it; the renderer on the
CPU takes the rows one by one. The camera's frame is that of the crop, upright but for what
detector and tracker get wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from flowface_ros import rigid
from flowface_ros.align.crop import Crop, make_crop
from flowface_ros.camera.camera import Camera
from flowface_ros.head.blendshapes import ARKIT_NAMES
from flowface_ros.head.model import JOINT_NAMES, HeadModel
from flowface_ros.head.state import HeadState
from flowface_ros.synth.scene.expressions import CONSONANTS, EXPRESSIONS, VOWELS, target_vector

Array = NDArray[np.float64]

_FACING = np.diag([1.0, -1.0, -1.0])
"""A head that looks into the camera."""

_NEAREST_M, _FURTHEST_M = 0.3, 4.0
_YAW_SIGMA, _WIDEST_YAW = np.radians(22), np.radians(95)
ANY_YAW_SHARE = 0.45
"""Of views, with a yaw that is uniform to the widest; the others look about at the camera."""
_PITCH_SIGMA, _STEEPEST_PITCH = np.radians(14), np.radians(50)
_ROLL_SIGMA, _WIDEST_ROLL, _ANY_ROLL_SHARE = np.radians(7), np.radians(40), 0.08
"""Roll that is left in a crop that was meant to be upright."""
_OFF_AXIS_SIGMA = np.radians(12)

_SCALE_SIGMA, _SHIFT_SIGMA = 0.09, 0.04
"""Of the crop's side, and of its place over its side, as detector and tracker make it."""
BAD_CROP_SHARE, _BAD_SCALE, _BAD_SHIFT = 0.12, 0.45, 0.22
"""Crops of a first guess: uniform up to these."""

_NECK_SIGMA, _GAZE_YAW, _GAZE_PITCH = 0.10, np.radians(32), np.radians(22)
_SPEECH_SHARE, _MOOD_SHARE, _LIDS_SHARE = 0.45, 0.55, 0.3
_EXTRA_CHANNELS = 4
"""Channels besides speech and mood that are drawn freely."""


@dataclass(frozen=True)
class Shots:
    """B views. The rig frame is the crop's camera frame; shapes come from the people.

    rotation, neck, jaw, left_eye, right_eye: (B, 3) rotation vectors. direction: (B, 3) unit
    vector to the head's origin. distance_m: (B,). expression: (B, E). log_scale: (B,) of the
    crop's side over the ideal. shift: (B, 2) of its centre over its side.
    """

    rotation: Array
    neck: Array
    jaw: Array
    left_eye: Array
    right_eye: Array
    direction: Array
    distance_m: Array
    expression: Array
    log_scale: Array
    shift: Array

    def __len__(self) -> int:
        return len(self.rotation)

    def __getitem__(self, rows: slice) -> Shots:
        return Shots(*(getattr(self, field.name)[rows] for field in fields(self)))

    def state(self, row: int, shape: Array) -> HeadState:
        """The head of one view, for a person of this shape (S,)."""
        return HeadState(
            translation=self.direction[row] * self.distance_m[row],
            rotation=self.rotation[row],
            neck=self.neck[row],
            jaw=self.jaw[row],
            left_eye=self.left_eye[row],
            right_eye=self.right_eye[row],
            expression=self.expression[row],
            shape=shape,
        )


def sample_shots(
    model: HeadModel, rng: np.random.Generator, count: int, any_yaw_share: float = ANY_YAW_SHARE,
    bad_crop_share: float = BAD_CROP_SHARE,
) -> Shots:  # fmt: skip
    """`count` views; the same generator state gives the same ones."""
    weights = _sample_weights(rng, count)
    expression, joints = _joint_states(model, weights)
    gaze = (
        np.column_stack(
            [
                rng.uniform(-_GAZE_PITCH, _GAZE_PITCH, count),
                rng.uniform(-_GAZE_YAW, _GAZE_YAW, count),
                np.zeros(count),
            ]
        )
        * np.where(rng.random(count) < 0.4, 0.2, 1.0)[:, None]
    )
    vergence = rng.normal(0, 0.03, (count, 1)) * [[0.0, 1.0, 0.0]]
    bounds = model.joint_bounds
    bad = rng.random(count) < bad_crop_share
    return Shots(
        rotation=_sample_rotations(rng, count, any_yaw_share),
        neck=np.clip(rng.normal(0, _NECK_SIGMA, (count, 3)), *bounds[1].T),
        jaw=np.clip(joints["jaw"], *bounds[2].T),
        left_eye=np.clip(gaze + vergence, *bounds[3].T),
        right_eye=np.clip(gaze - vergence, *bounds[4].T),
        direction=_sample_directions(rng, count),
        distance_m=np.exp(rng.uniform(np.log(_NEAREST_M), np.log(_FURTHEST_M), count)),
        expression=np.clip(expression, *model.expression_bounds.T),
        log_scale=np.where(
            bad,
            rng.uniform(-_BAD_SCALE, _BAD_SCALE, count),
            rng.normal(0, _SCALE_SIGMA, count),
        ),
        shift=np.where(
            bad[:, None],
            rng.uniform(-_BAD_SHIFT, _BAD_SHIFT, (count, 2)),
            rng.normal(0, _SHIFT_SIGMA, (count, 2)),
        ),
    )


def crop_camera(
    landmarks: Array, log_scale: float, shift: Array, size: int, margin: float
) -> Camera:
    """The crop around a face as a pinhole camera.

    landmarks: (N, 3) points of the face in the camera's frame, metres. log_scale, shift: how the
    crop is off, as in `Shots`. size: pixels a side. margin: side of the ideal crop over the
    longer side of the landmarks' box.
    """
    places = landmarks[:, :2] / landmarks[:, 2:]
    low, high = places.min(axis=0), places.max(axis=0)
    side = margin * float((high - low).max()) * np.exp(log_scale)
    focal = size / side
    centre = (low + high) / 2 + side * shift
    middle = (size - 1) / 2 - focal * centre
    intrinsics = np.array([[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1]])
    return Camera("crop", size, size, intrinsics)


def jittered_crop(
    ideal: Crop, rng: np.random.Generator, scale_sigma: float, shift_sigma: float, roll_sigma: float
) -> Crop:
    """A crop of a picture that is off the ideal one.

    Standard deviations of the log of its side, of its middle over its side, and of its roll (rad).
    """
    side = ideal.scale * ideal.size
    middle = ideal.to_image(np.full(2, (ideal.size - 1) / 2))
    return make_crop(
        middle + rng.normal(0, shift_sigma, 2) * side,
        side * np.exp(rng.normal(0, scale_sigma)),
        ideal.roll + rng.normal(0, roll_sigma),
        ideal.size,
    )


def _sample_rotations(rng: np.random.Generator, count: int, any_yaw_share: float) -> Array:
    """Rotation vectors (count, 3): roll, then yaw, then pitch of a head that faces the camera."""
    any_yaw = rng.random(count) < any_yaw_share
    yaw = np.where(
        any_yaw, rng.uniform(-_WIDEST_YAW, _WIDEST_YAW, count), rng.normal(0, _YAW_SIGMA, count)
    )
    pitch = np.clip(rng.normal(0, _PITCH_SIGMA, count), -_STEEPEST_PITCH, _STEEPEST_PITCH)
    any_roll = rng.random(count) < _ANY_ROLL_SHARE
    roll = np.where(
        any_roll,
        rng.uniform(-_WIDEST_ROLL, _WIDEST_ROLL, count),
        rng.normal(0, _ROLL_SIGMA, count),
    )
    zero = np.zeros(count)
    turns = [
        rigid.rotation_from_rotvec(np.stack(v, axis=1))
        for v in ([zero, zero, roll], [zero, yaw, zero], [pitch, zero, zero])
    ]
    return _rotvecs(turns[0] @ _FACING @ turns[1] @ turns[2])


def _rotvecs(rotations: Array) -> Array:
    return Rotation.from_matrix(rotations).as_rotvec()


def _sample_directions(rng: np.random.Generator, count: int) -> Array:
    sideways = np.tan(np.clip(rng.normal(0, _OFF_AXIS_SIGMA, (count, 2)), -0.5, 0.5))
    direction = np.column_stack([sideways, np.ones(count)])
    return direction / np.linalg.norm(direction, axis=1, keepdims=True)


_INDEX = {name: i for i, name in enumerate(ARKIT_NAMES)}
_GAZE_CHANNELS = [i for name, i in _INDEX.items() if name.startswith("eyeLook")]
_BLINKS = [_INDEX["eyeBlinkLeft"], _INDEX["eyeBlinkRight"]]
_LID_OPENERS = [i for n, i in _INDEX.items() if n.startswith(("eyeWide", "eyeSquint"))]


def _table(*sources: dict[str, dict[str, float]]) -> Array:
    return np.array([target_vector(t) for source in sources for t in source.values()])


_SPEECH, _MOODS = _table(VOWELS, CONSONANTS), _table(EXPRESSIONS)


def _sample_weights(rng: np.random.Generator, count: int) -> Array:
    """ARKit weights (count, 52) in [0, 1]: speech, a mood, a few channels, the lids."""
    channels = len(ARKIT_NAMES)
    speech = _SPEECH[rng.integers(len(_SPEECH), size=count)]
    mood = _MOODS[rng.integers(len(_MOODS), size=count)]
    strength = rng.uniform(0.2, 1.2, (2, count, 1))
    strength *= rng.random((2, count, 1)) < [[[_SPEECH_SHARE]], [[_MOOD_SHARE]]]
    uneven = np.clip(rng.normal(1, 0.15, (count, channels)), 0, 2)
    extra = np.zeros((count, channels))
    chosen = rng.integers(channels, size=(count, _EXTRA_CHANNELS))
    np.put_along_axis(extra, chosen, rng.beta(0.7, 1.6, chosen.shape), axis=1)
    parts = (speech * strength[0], mood * strength[1] * uneven, extra)
    weights = 1 - np.prod([1 - np.clip(part, 0, 0.97) for part in parts], axis=0)
    weights[:, _GAZE_CHANNELS] = 0
    moved = rng.random(count) < _LIDS_SHARE
    lids = np.clip(rng.uniform(0, 1.4, count), 0, 1)[:, None] * np.ones(2)
    lids[rng.random(count) < 0.15, 0] *= 0.2  # a wink
    weights[:, _BLINKS] = np.where(moved[:, None], lids, weights[:, _BLINKS])
    weights[:, _LID_OPENERS] *= 1 - weights[:, _BLINKS].max(axis=1, keepdims=True)
    weights[:, _INDEX["mouthClose"]] *= weights[:, _INDEX["jawOpen"]]
    return np.clip(weights, 0, 1)


def _joint_states(model: HeadModel, weights: Array) -> tuple[Array, dict[str, Array]]:
    """Expression coefficients (B, E) and joint rotation vectors of ARKit weights (B, 52)."""
    if model.blendshapes is None:
        raise ValueError(f"the head {model.name!r} has no mapping to ARKit blendshapes")
    columns = [_INDEX.get(name, -1) for name in model.expression_names]
    padded = np.column_stack([weights, np.zeros(len(weights))])
    joints = {name: np.zeros((len(weights), 3)) for name in JOINT_NAMES}
    table = model.blendshapes
    for name, joint, rotation in zip(table.names, table.joints, table.rotations, strict=True):
        joints[JOINT_NAMES[joint]] += weights[:, [_INDEX[name]]] * rotation
    return padded[:, columns], joints
