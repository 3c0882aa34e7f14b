"""What a picture of the Blender set shows: a person, a view, lights and things, by number."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.crop import FACE_MARGIN
from flowface_ros.camera.camera import Camera
from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.model import HeadModel
from flowface_ros.head.skinning import joint_transforms, neutral_joints
from flowface_ros.head.state import HeadState
from flowface_ros.synth.person.person import Person, sample_person
from flowface_ros.synth.render.light import Light, sample_light
from flowface_ros.synth.scene.background import sample_background
from flowface_ros.synth.things.occluders import Occluder, sample_occluder
from flowface_ros.train.shots import Shots, crop_camera, sample_shots

PICTURE_PX = 256
TEXTURE_SIZE, HAIR_STRANDS = 1024, 4500

YAW_BANDS_DEG = ((0.0, 30.0), (30.0, 60.0), (60.0, 90.0))
_BAND_SHARES = (0.4, 0.3, 0.3)
_OCCLUDER_SHARE, _SMALL_SHARE = 0.30, 0.15

_MOST_SCALE, _MOST_SHIFT = 0.2, 0.1
"""How far a crop may be off: what detector and tracker do, without first guesses."""
_VIEWS_TRIED = 64

ENVIRONMENTS = (
    "city", "courtyard", "forest", "interior", "night", "studio", "sunrise", "sunset"
)  # fmt: skip
"""CC0 panoramas that come with Blender."""


@dataclass(frozen=True)
class Surroundings:
    """environment: one of ENVIRONMENTS. turn_rad: about the vertical. mean: radiance that its mean
    is scaled to. background: linear light behind the people, or None: the panorama is seen.
    aperture_m: diameter of the lens."""

    environment: str
    turn_rad: float
    mean: NDArray[np.float64]
    background: NDArray[np.float32] | None
    aperture_m: float


@dataclass(frozen=True)
class Scene:
    """One picture. The rig frame is the camera's. yaw_deg: of the skull against the ray to it.
    small: to be sampled with a face of 48 pixels. noise_seed: of the path tracer."""

    person: Person
    state: HeadState
    camera: Camera
    light: Light
    occluders: tuple[Occluder, ...]
    surroundings: Surroundings
    yaw_deg: float
    small: bool
    noise_seed: int = 0


def sample_scene(model: HeadModel, landmarks: SurfaceEvaluator, seed: int, number: int) -> Scene:
    """Picture `number` of a seed, of a person of its own.

    landmarks: evaluator of the 468 points on the skin, which the crop is put around.
    """
    rng = np.random.default_rng([seed, number])
    person = sample_person(model, rng, TEXTURE_SIZE, HAIR_STRANDS)
    shots, row, yaw = _view(model, rng, person.shape)
    state = shots.state(row, person.shape)
    face = landmarks.positions(state)
    camera = crop_camera(face, shots.log_scale[row], shots.shift[row], PICTURE_PX, FACE_MARGIN)
    occluders = []
    if rng.random() < _OCCLUDER_SHARE:
        skin = np.asarray(person.skin[-1][..., :3].mean(axis=(0, 1)) / 255) ** 2
        occluders.append(sample_occluder(rng, face.mean(axis=0), np.zeros(3), skin))
    light = sample_light(rng)
    surroundings = sample_surroundings(rng, light, PICTURE_PX, PICTURE_PX)
    small = bool(rng.random() < _SMALL_SHARE)
    return Scene(person, state, camera, light, tuple(occluders), surroundings, yaw, small)


def _view(
    model: HeadModel, rng: np.random.Generator, shape: NDArray[np.float64]
) -> tuple[Shots, int, float]:
    """Views, the row of one whose yaw is in a band that is drawn first, and its yaw, degrees."""
    low, high = YAW_BANDS_DEG[rng.choice(len(YAW_BANDS_DEG), p=_BAND_SHARES)]
    while True:
        shots = sample_shots(model, rng, _VIEWS_TRIED)
        good = np.abs(shots.log_scale) < _MOST_SCALE
        good &= (np.abs(shots.shift) < _MOST_SHIFT).all(axis=1)
        for row in map(int, np.flatnonzero(good)):
            yaw = yaw_deg(model, shots.state(row, shape))
            if low <= abs(yaw) < high:
                return shots, row, yaw


def yaw_deg(model: HeadModel, state: HeadState) -> float:
    """How far the skull is turned away from the ray that it is seen along, degrees."""
    skull = joint_transforms(model, state, neutral_joints(model, state)).linear[1]
    towards = skull.T @ -state.translation
    return float(np.degrees(np.arctan2(towards[0], towards[2])))


def sample_surroundings(
    rng: np.random.Generator, light: Light, width: int, height: int
) -> Surroundings:
    """What is around a person who stands in such light; the picture's size is in pixels."""
    background = None
    if rng.random() < 0.6:
        background = sample_background(rng, width, height)
        background = cv2.GaussianBlur(background, (0, 0), np.exp(rng.uniform(-0.3, 2.0)))
    tint = np.exp(rng.normal(0, 0.08, 3))
    return Surroundings(
        environment=str(rng.choice(ENVIRONMENTS)),
        turn_rad=float(rng.uniform(-np.pi, np.pi)),
        mean=np.maximum(light.ambient[0].astype(float), 0.05) * tint,
        background=background,
        aperture_m=float(np.exp(rng.uniform(np.log(0.001), np.log(0.012)))),
    )
