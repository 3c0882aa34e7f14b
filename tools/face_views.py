"""Synthetic pictures of one face each, and what the landmark network says about them.

What the tools measure that embed the network's points on the head and learn how sure they are.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from flowface_ros import rigid
from flowface_ros.align.crop import FACE_MARGIN, Crop, crop_from_points, cut
from flowface_ros.align.landmark_net import CROP_SIZE, LandmarkNet
from flowface_ros.camera.camera import Camera
from flowface_ros.head.blendshapes import ARKIT_NAMES, state_from_blendshapes
from flowface_ros.head.model import HeadModel
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.head.state import HeadState, neutral_state
from flowface_ros.synth.person.person import Odds, Person, sample_person
from flowface_ros.synth.render.light import sample_light
from flowface_ros.synth.scene.background import sample_background
from flowface_ros.synth.scene.expressions import ExpressionCurves
from flowface_ros.synth.scene.picture import RenderedImage, render_scene
from flowface_ros.synth.scene.sensor import sample_sensor
from flowface_ros.synth.things.occluders import sample_occluder
from flowface_ros.threads import available_cores

_TEXTURE_SIZE = 256
_HAIR_STRANDS = 2500
_EXPRESSION_SECONDS = 20.0
_CAMERA_FROM_FACING_HEAD = np.diag([1.0, -1.0, -1.0])
"""Rotation of a head that looks straight into the camera, upright."""

_MIDLINE = np.array([[0.0, 0.0, 0.0], [0.0, 0.05, 0.0]])
"""From the head's origin upwards; its direction in the picture is the roll, in profiles too."""

_BLINKS = [ARKIT_NAMES.index(f"eyeBlink{side}") for side in ("Left", "Right")]
_SHUTTING = (0.3, 1.0)

_BARE = Odds(glasses=0.0, hat=0.0, scarf=0.0)


@dataclass(frozen=True)
class ViewRange:
    """What the pictures vary in; angles are limits (profile: up to 90 degrees of yaw).

    size_px: of the picture. face_px: shortest and longest crop side, pixels of the picture.
    frontal: share of pictures within yaw_deg; the others go on to a profile.
    expression: factor on the expressions. shut: share of pictures with both eyes shutting or shut.
    occluded: share of pictures with a thing before the face.
    degraded: whether noise, blur and compression are added and the crop is off as a tracker's is.
    """

    size_px: int
    face_px: tuple[float, float]
    yaw_deg: float
    pitch_deg: float
    roll_deg: float = 0.0
    frontal: float = 1.0
    expression: float = 0.0
    shut: float = 0.0
    occluded: float = 0.0
    degraded: bool = False
    odds: Odds = _BARE


@dataclass(frozen=True, eq=False)
class FaceView:
    """A picture of a face, its truth and the landmark network's answer.

    image: (H, W, 3) uint8 RGB. rendered: what is seen in it, None unless asked for.
    points: (478, 3) crop pixels, presence: the network's, for `crop`.
    """

    identity: int
    image: NDArray[np.uint8] | None
    rendered: RenderedImage | None
    camera: Camera
    state: HeadState
    yaw_deg: float
    crop: Crop
    points: NDArray[np.float64]
    presence: float


@dataclass(frozen=True)
class _Job:
    identity: int
    seed: int
    views: int
    ranges: ViewRange
    pictures: bool


def face_views(
    seed: int, identities: int, views: int, ranges: ViewRange, pictures: bool, label: str
) -> Iterator[FaceView]:
    """Pictures of people, the same for the same seed; made in one process per core.

    views: pictures of each person. pictures: keep the images and what is seen in them.
    """
    jobs = [_Job(i, seed, views, ranges, pictures) for i in range(identities)]
    with multiprocessing.get_context("spawn").Pool(available_cores()) as pool:
        made = pool.imap(_views_of, jobs)
        for group in tqdm(made, total=identities, desc=label, unit="person", dynamic_ncols=True):
            yield from group


@cache
def _net() -> LandmarkNet:
    return LandmarkNet("cpu")


def _views_of(job: _Job) -> list[FaceView]:
    cv2.setNumThreads(1)
    rng = np.random.default_rng([job.seed, job.identity])
    model = load_builtin_head()
    person = sample_person(model, rng, _TEXTURE_SIZE, _HAIR_STRANDS, job.ranges.odds)
    curves = ExpressionCurves(rng, _EXPRESSION_SECONDS)
    return [_view(job, model, person, curves, rng) for _ in range(job.views)]


def _view(
    job: _Job, model: HeadModel, person: Person, curves: ExpressionCurves, rng: np.random.Generator
) -> FaceView:
    ranges = job.ranges
    yaw_deg = rng.uniform(-1, 1) * ranges.yaw_deg
    if rng.random() >= ranges.frontal:
        yaw_deg = rng.choice([-1, 1]) * rng.uniform(ranges.yaw_deg, 90.0)
    state, camera = _posed(model, person, ranges, yaw_deg, curves, rng)
    background = sample_background(rng, camera.width, camera.height)
    things = []
    if rng.random() < ranges.occluded:
        things.append(sample_occluder(rng, state.translation, np.zeros(3)))
    rendered = render_scene([(person, state)], camera, sample_light(rng), background, things)
    image = _developed(rendered, rng) if ranges.degraded else rendered.rgb
    crop = _crop(model, state, camera, ranges, rng)
    points, presence = _net().run(cut(image, [crop]))
    return FaceView(
        identity=job.identity,
        image=image if job.pictures else None,
        rendered=rendered if job.pictures else None,
        camera=camera,
        state=state,
        yaw_deg=float(yaw_deg),
        crop=crop,
        points=points[0],
        presence=float(presence[0]),
    )


def _posed(
    model: HeadModel, person: Person, ranges: ViewRange, yaw_deg: float,
    curves: ExpressionCurves, rng: np.random.Generator,
) -> tuple[HeadState, Camera]:  # fmt: skip
    distance = np.exp(rng.uniform(np.log(0.4), np.log(2.0)))
    side_px = np.exp(rng.uniform(*np.log(ranges.face_px)))
    side_m = FACE_MARGIN * 0.16  # a face is some 16 cm high
    focal = side_px * distance / side_m
    middle = (ranges.size_px - 1) / 2
    intrinsics = np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1.0]])
    camera = Camera("view", ranges.size_px, ranges.size_px, intrinsics)
    pitch, roll = (rng.uniform(-1, 1) * a for a in (ranges.pitch_deg, ranges.roll_deg))
    turn = Rotation.from_euler("ZYX", [roll, yaw_deg, pitch], degrees=True).as_matrix()
    rotation = Rotation.from_matrix(_CAMERA_FROM_FACING_HEAD @ turn).as_rotvec()
    room = max(0.0, ranges.size_px / 2 - 0.3 * side_px) / focal * distance
    offset = rng.uniform(-room, room, 2)
    weights = ranges.expression * curves.weights(rng.uniform(0, _EXPRESSION_SECONDS))
    if ranges.shut and rng.random() < ranges.shut:
        weights[_BLINKS] = np.maximum(weights[_BLINKS], rng.uniform(*_SHUTTING))
    base = replace(
        neutral_state(model),
        shape=person.shape,
        rotation=rotation,
        translation=np.array([*offset, distance + 0.08]),
    )
    state = state_from_blendshapes(model, np.clip(weights, 0, 1), base)
    if ranges.expression:
        gaze = np.array([*rng.normal(0, [0.12, 0.2]), 0.0])
        state = replace(
            state,
            neck=_bounded(model, 1, rng.normal(0, 0.12, 3)),
            left_eye=_bounded(model, 3, gaze),
            right_eye=_bounded(model, 4, gaze),
        )
    return state, camera


def _bounded(model: HeadModel, joint: int, rotvec: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = model.joint_bounds[joint].T
    return np.clip(rotvec, low, high)


def _developed(rendered: RenderedImage, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The image as a camera delivers it: noise, blur, compression."""
    sensor = replace(
        sample_sensor(rng, 640), defocus_px=float(rng.choice([0.3, 0.6, 1.2], p=[0.6, 0.3, 0.1]))
    )
    image = sensor.develop(rendered.color, rng)
    quality = int(rng.uniform(40, 98))
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def _crop(
    model: HeadModel, state: HeadState, camera: Camera, ranges: ViewRange, rng: np.random.Generator
) -> Crop:
    """Around the true face; off by what a detector or a tracker is off."""
    vertices = pose_vertices(model, state)
    face, _ = camera.project(
        rigid.apply(camera.camera_from_rig, vertices[model.vertex_groups["face"]])
    )
    up = camera.project(rigid.apply(state.rig_from_head, _MIDLINE))[0]
    roll = float(np.arctan2(up[1, 0] - up[0, 0], up[0, 1] - up[1, 1]))
    if not ranges.degraded:
        return crop_from_points(face, roll, CROP_SIZE)
    low, high = face.min(axis=0), face.max(axis=0)
    shift = rng.normal(0, 0.03, 2) * (high - low).max()
    growth = np.exp(rng.normal(0, 0.06))
    return crop_from_points(
        face + shift, roll + rng.normal(0, 0.07), CROP_SIZE, FACE_MARGIN * growth
    )
