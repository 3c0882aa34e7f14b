"""What a sequence of the Blender set shows: a person who turns the head, talks and blinks before a
camera that stands still, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from blender_scenes.sampling import (
    HAIR_STRANDS,
    TEXTURE_SIZE,
    Scene,
    Surroundings,
    sample_surroundings,
    yaw_deg,
)
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from flowface_ros import rigid
from flowface_ros.camera.camera import Camera, intrinsics_matrix
from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.model import HeadModel
from flowface_ros.head.state import HeadState
from flowface_ros.synth.person.person import Person, sample_person
from flowface_ros.synth.render.light import Light, sample_light
from flowface_ros.synth.scene.curves import smootherstep
from flowface_ros.synth.scene.expressions import ExpressionCurves, sample_style
from flowface_ros.synth.scene.gaze import sample_gaze
from flowface_ros.synth.scene.motion import PersonMotion, sample_path
from flowface_ros.synth.scene.rigs import people_places, sample_rig, subject_distance

FRAMES, FPS = 16, 10.0
"""Of each sequence: the longest horizon is that of 45 frames at 30 Hz."""
FRAME_SIZE_PX = (256, 320)
"""Width and height of the part of the sensor that is read out: where the face is."""
_SENSOR_SIZE_PX = (640, 480)

_TURNS_EVERY, _FIRST_TURN = 3, 1
"""Which people turn to a profile."""
_LEAST_TURN, _MOST_TURN = np.radians([50.0, 80.0])
_TURN_TAKES_S, _LATEST_TURN_S = (0.6, 0.9), 0.7
_BLINKS_PER_MINUTE = 45.0
"""More than people do, so that most of these short sequences have one."""


@dataclass(frozen=True, eq=False)
class Take:
    """A sequence. motion: in the rig's frame, whose z axis is up. turn_rad: of the whole head about
    that axis, to the person's left, from turn_start_s on in turn_takes_s."""

    person: Person
    motion: PersonMotion
    camera: Camera
    light: Light
    surroundings: Surroundings
    turn_rad: float
    turn_start_s: float
    turn_takes_s: float

    def state(self, t: float) -> HeadState:
        """The head at time t, seconds, in the camera's frame."""
        turn = self.turn_rad * float(smootherstep((t - self.turn_start_s) / self.turn_takes_s))
        state = self.motion.state(t)
        upright = Rotation.from_rotvec([0.0, 0.0, turn]) * Rotation.from_rotvec(state.rotation)
        camera_from_rig = self.camera.camera_from_rig
        seen = Rotation.from_matrix(camera_from_rig[:3, :3]) * upright
        return replace(
            state,
            translation=rigid.apply(camera_from_rig, state.translation),
            rotation=seen.as_rotvec(),
        )


class Takes:
    """The frames of a seed's sequences by number, those of each person after one another."""

    def __init__(self, model: HeadModel, landmarks: SurfaceEvaluator, seed: int) -> None:
        """landmarks: evaluator of the 468 points on the skin, which the pictures are put around."""
        self._model, self._landmarks, self._seed = model, landmarks, seed
        self._last: tuple[int, Take] | None = None

    def scene(self, number: int) -> Scene:
        """Frame `number`; the rig frame is the camera's."""
        sequence, frame = divmod(number, FRAMES)
        if self._last is None or self._last[0] != sequence:
            take = sample_take(self._model, self._seed, sequence)
            self._last = sequence, around_the_face(take, self._landmarks)
        take = self._last[1]
        state = take.state(frame / FPS)
        return Scene(
            take.person,
            state,
            take.camera.moved(np.eye(4)),
            take.light,
            (),
            take.surroundings,
            yaw_deg(self._model, state),
            small=False,
            noise_seed=frame,
        )


def sample_take(model: HeadModel, seed: int, sequence: int) -> Take:
    """Sequence `sequence` of a seed, of a person of its own."""
    rng = np.random.default_rng([seed, sequence])
    person = sample_person(model, rng, TEXTURE_SIZE, HAIR_STRANDS)
    distance_m = subject_distance(rng, 1)
    camera = _camera(rng, distance_m)
    motion = _motion(model, rng, person.shape, camera, distance_m)
    light = sample_light(rng)
    surroundings = sample_surroundings(rng, light, *FRAME_SIZE_PX)
    turn = rng.uniform(_LEAST_TURN, _MOST_TURN) * rng.choice([-1.0, 1.0])
    start, takes = rng.uniform(0, _LATEST_TURN_S), rng.uniform(*_TURN_TAKES_S)
    turns = sequence % _TURNS_EVERY == _FIRST_TURN
    return Take(person, motion, camera, light, surroundings, turn * turns, start, takes)


def around_the_face(take: Take, landmarks: SurfaceEvaluator) -> Take:
    """The same with the part of the sensor where the face is in the middle of the sequence's
    whole range."""
    points = [landmarks.positions(take.state(frame / FPS)) for frame in range(FRAMES)]
    pixels, _ = take.camera.moved(np.eye(4)).project(np.concatenate(points))
    middle = (pixels.min(axis=0) + pixels.max(axis=0)) / 2
    left, top = np.rint(middle - (np.array(FRAME_SIZE_PX) - 1) / 2).astype(int).tolist()
    return replace(take, camera=take.camera.cropped(left, top, *FRAME_SIZE_PX))


def _camera(rng: np.random.Generator, distance_m: float) -> Camera:
    """As in our own scenes, but with square pixels and no distortion: Blender has no others."""
    (camera,) = sample_rig(rng, 1, _SENSOR_SIZE_PX, distance_m, lens="none").cameras
    (focal, _, x), (_, _, y), _ = camera.intrinsics
    return replace(camera, intrinsics=intrinsics_matrix(focal, focal, x, y))


def _motion(
    model: HeadModel,
    rng: np.random.Generator,
    shape: NDArray[np.float64],
    camera: Camera,
    distance_m: float,
) -> PersonMotion:
    """Of a person who talks, and faces the rig's origin when nothing else is to be seen."""
    duration_s = FRAMES / FPS
    (place,) = people_places(rng, 1, distance_m)
    forward = -place * (1.0, 1.0, 0.0)
    forward /= np.linalg.norm(forward)
    gaze = sample_gaze(rng, duration_s, place, camera.rig_from_camera[None, :3, 3], forward)
    path = sample_path(rng, place, forward, gaze)
    style = replace(sample_style(rng), talks=True, blinks_per_minute=_BLINKS_PER_MINUTE)
    return PersonMotion(model, shape, path, ExpressionCurves(rng, duration_s, style))
