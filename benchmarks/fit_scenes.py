"""Synthetic heads, rigs and observations for the benchmark of the fit."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from scipy.stats import truncnorm

from flowface_ros import rigid
from flowface_ros.align.observation import Observation
from flowface_ros.camera.camera import Camera, intrinsics_matrix
from flowface_ros.camera.lens import Lens
from flowface_ros.camera.rig import Rig
from flowface_ros.fit.config import PriorConfig
from flowface_ros.fit.priors import ShapeBelief, static_sigmas
from flowface_ros.head.atlas import texel_grid
from flowface_ros.head.evaluator import SurfaceEvaluator, vertex_evaluator
from flowface_ros.head.model import HeadModel
from flowface_ros.head.state import HeadState, neutral_state
from flowface_ros.head.surface import SurfacePoints

Array = NDArray[np.float64]

DISTANCE = 0.7
"""Of the head from the cameras, metres."""
GRID = 48
"""Texels per side of the atlas grid that observations are of."""
HIDDEN = 5.0
"""How much larger sigma is at points that are not seen."""
UNKNOWN = 1e6
"""Sigma (px) of a point that says nothing."""
ARC_DEG = 90.0
"""Between the outermost cameras."""


@dataclass(frozen=True, eq=False)
class Subject:
    """The head model, the points that are observed on it, and its skin."""

    model: HeadModel
    points: SurfacePoints
    evaluator: SurfaceEvaluator
    skin: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Errors:
    """Of a fit: position of the sellion (mm), rotation of the skull (deg), skin (mm, mean)."""

    position_mm: float
    rotation_deg: float
    vertex_mm: float


@dataclass(frozen=True)
class Noise:
    """Of observations. sigma: px, as stated. drawn: px, as the errors are; as stated when None.
    outliers: share that is moved by 50 px. hidden: whether the left half of the face is unseen, so
    that the network is HIDDEN times less sure there. told: whether the fit is told which points are
    outliers, by their sigma: an oracle. root: (N, N) of the errors' correlation over the points."""

    sigma: float = 1.0
    drawn: float | None = None
    outliers: float = 0.0
    hidden: bool = False
    told: bool = False
    root: Array | None = field(default=None, compare=False)


def make_subject(model: HeadModel, count: int) -> Subject:
    """count points, evenly from the texel grid."""
    every = texel_grid(model, GRID).points
    points = every[np.linspace(0, len(every) - 1, count).astype(int)]
    return Subject(model, points, SurfaceEvaluator(model, points), model.vertex_groups["skin"])


def arc_rig(views: int, rng: np.random.Generator | None = None) -> Rig:
    """Cameras of 640x480 on an arc around a head at (0, 0, 0.7); jittered with rng."""
    spread = np.linspace(-0.5, 0.5, views) if views > 1 else np.zeros(1)
    cameras = []
    for i, share in enumerate(spread):
        yaw, pitch = np.radians(ARC_DEG * share), 0.0
        if rng is not None:
            yaw, pitch = yaw + rng.normal(0, 0.05), rng.normal(0, 0.1)
        turn = Rotation.from_euler("yx", [yaw, pitch]).as_matrix()
        centre = np.array([0.0, 0.0, DISTANCE])
        lens = Lens("plumb_bob", np.array([-0.1, 0.02, 1e-3, -1e-3, 0.0]))
        pose = rigid.transform(turn, centre - turn @ centre)
        K = intrinsics_matrix(600.0, 600.0, 319.5, 239.5)
        cameras.append(Camera(f"cam{i}", 640, 480, K, lens, pose))
    return Rig(tuple(cameras))


def turned(rig: Rig, degrees: dict[str, float], rng: np.random.Generator) -> Rig:
    """The rig with cameras rotated about random axes."""
    cameras = []
    for camera in rig:
        axis = rng.normal(size=3)
        rotvec = np.radians(degrees.get(camera.name, 0.0)) * axis / np.linalg.norm(axis)
        turn = rigid.transform(rigid.rotation_from_rotvec(rotvec), np.zeros(3))
        cameras.append(camera.moved(camera.rig_from_camera @ turn))
    return Rig(tuple(cameras), rig.frame)


def sample_head(
    model: HeadModel,
    rng: np.random.Generator,
    yaw_deg: float = 80.0,
    active: float = 0.3,
    shape: Array | None = None,
) -> HeadState:
    """A random person, face and pose; a share `active` of the expression is not zero.

    Joints, shape and expression follow the priors of the fit, cut to the head's bounds.
    """
    sigmas = static_sigmas(model, PriorConfig())
    joints = [_bounded(model, j, sigmas[3 + 3 * j], rng) for j in range(1, 5)]
    low, high = model.expression_bounds.T
    first = len(sigmas) - model.shape_count - model.expression_count
    expression = np.abs(rng.normal(0, sigmas[first:][: model.expression_count]))
    expression *= rng.random(model.expression_count) < active
    angles = [rng.uniform(-yaw_deg, yaw_deg), rng.uniform(-25, 25), rng.uniform(-20, 20)]
    facing = Rotation.from_euler("x", 180, degrees=True)
    return replace(
        neutral_state(model),
        translation=np.array([0, 0, DISTANCE]) + rng.uniform(-0.05, 0.05, 3),
        rotation=(facing * Rotation.from_euler("yxz", angles, degrees=True)).as_rotvec(),
        neck=joints[0],
        jaw=joints[1],
        left_eye=joints[2],
        right_eye=joints[3],
        expression=np.clip(expression, low, high),
        shape=rng.normal(size=model.shape_count) if shape is None else shape,
    )


def observe(
    subject: Subject, state: HeadState, rig: Rig, noise: Noise, rng: np.random.Generator
) -> list[Observation]:
    """What the cameras of a rig see of a head."""
    points, seen = subject.evaluator.positions(state), []
    for camera in rig:
        pixels, valid = camera.project(rigid.apply(camera.camera_from_rig, points))
        if not valid.all():
            raise ValueError(f"{camera.name} does not see the whole head")
        sigma = np.full(len(pixels), noise.sigma)
        if noise.hidden:
            left = subject.points.interpolate(subject.model.triangles, subject.model.template)
            sigma[left[:, 0] > 0] *= HIDDEN
        error = rng.normal(size=pixels.shape)
        if noise.root is not None:
            error = noise.root @ error
        scale = sigma if noise.drawn is None else np.full(len(pixels), noise.drawn)
        pixels = pixels + error * scale[:, None]
        wrong = rng.random(len(pixels)) < noise.outliers
        angle = rng.uniform(0, 2 * np.pi, len(pixels))
        pixels[wrong] += 50.0 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)[wrong]
        if noise.told:
            sigma[wrong] = UNKNOWN
        seen.append(Observation(subject.points, pixels, sigma, camera.name, 0))
    return seen


def errors(subject: Subject, truth: HeadState, found: HeadState) -> Errors:
    """Of a found state against the truth."""
    model = subject.model
    sellion = SurfaceEvaluator(model, model.landmarks["sellion"])
    position = sellion.positions(truth) - sellion.positions(found)
    turn = skull(truth) * skull(found).inv()
    skin = vertex_evaluator(model)
    apart = (skin.positions(truth) - skin.positions(found))[subject.skin]
    return Errors(
        1e3 * float(np.linalg.norm(position)),
        float(np.degrees(turn.magnitude())),
        1e3 * float(np.linalg.norm(apart, axis=1).mean()),
    )


def known_shape(shape: Array) -> ShapeBelief:
    """A person whose shape is known well: 0.02 standard deviations."""
    return ShapeBelief(shape, np.eye(len(shape)) / 0.02**2, np.eye(len(shape)) * 0.02**2)


def skull(state: HeadState) -> Rotation:
    """rig_from_skull: the pose's rotation with the neck's."""
    return Rotation.from_rotvec(state.rotation) * Rotation.from_rotvec(state.neck)


def _bounded(model: HeadModel, joint: int, sigma: float, rng: np.random.Generator) -> Array:
    """A joint's rotation vector from its prior, entry by entry inside the bounds."""
    low, high = model.joint_bounds[joint].T / sigma
    return truncnorm.rvs(low, high, random_state=rng) * sigma
