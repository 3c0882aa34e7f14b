"""Single pictures of synthetic faces with their truth, drawn by the CPU renderer; numpy only."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowface_ros import rigid
from flowface_ros.align.crop import FACE_MARGIN
from flowface_ros.align.embedding import SKIN_POINTS, landmark_points
from flowface_ros.align.landmark_net import LEFT_EYE_OUTER, RIGHT_EYE_OUTER
from flowface_ros.camera.camera import Camera
from flowface_ros.head.atlas import texel_grid
from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.model import HeadModel
from flowface_ros.head.state import HeadState
from flowface_ros.head.surface import SurfacePoints
from flowface_ros.synth.person.person import Person, sample_person
from flowface_ros.synth.render.light import Light, sample_light
from flowface_ros.synth.scene.background import sample_background
from flowface_ros.synth.scene.picture import RenderedImage, render_scene
from flowface_ros.synth.things.occluders import Occluder, sample_occluder
from flowface_ros.train.moments import later
from flowface_ros.train.shots import (
    ANY_YAW_SHARE,
    BAD_CROP_SHARE,
    Shots,
    crop_camera,
    sample_shots,
)

PEOPLE, SHOTS, MOMENTS = range(3)
"""Streams of random numbers that a seed is split into."""

OCCLUDER_SHARE = 0.18
TEXTURE_SIZE, HAIR_STRANDS = 512, 1500
DEPTH_SLACK_M = 0.006
"""A texel is seen where the surface in the picture is not further from it than this."""

_FAR_PX = -1e4
_KEPT_PEOPLE = 64
"""People that a worker remembers, some 3 MB each."""


@dataclass(frozen=True)
class SynthConfig:
    """What the generator draws.

    crop_px: side of the crops. grid: side of the texel grid that is labelled. batch_size: crops.
    seed: decides everything. people: how many different ones there are at a time.
    fresh_every: after so many batches one person is replaced by a new one. any_yaw_share,
    bad_crop_share: of the views, see `shots`.
    """

    crop_px: int = 256
    grid: int = 48
    batch_size: int = 32
    seed: int = 0
    people: int = 512
    fresh_every: int = 4
    any_yaw_share: float = ANY_YAW_SHARE
    bad_crop_share: float = BAD_CROP_SHARE

    def person_of(self, batch: int, draw: int) -> int:
        """Number of the person that a draw in [0, people) means at a batch: a sliding window."""
        first = batch // self.fresh_every
        return first + (draw - first) % self.people

    def rng(self, stream: int, number: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, stream, number])


def make_person(model: HeadModel, config: SynthConfig, number: int) -> Person:
    """Person `number` of a seed."""
    return sample_person(model, config.rng(PEOPLE, number), TEXTURE_SIZE, HAIR_STRANDS)


@dataclass(frozen=True)
class DrawnBatch:
    """The arrays of `batch.Batch`, in its order and shapes; light is float16."""

    light: NDArray[np.float16]
    position_px: NDArray[np.float32]
    visible: NDArray[np.bool_]
    iod_px: NDArray[np.float32]


@dataclass(frozen=True)
class _Scenery:
    """What is in a picture besides the person. background: (S, S, 3), linear light."""

    light: Light
    background: NDArray[np.float32]
    occluders: list[Occluder]


class Studio:
    """Draws single pictures with their truth; holds what is computed once per head and grid."""

    def __init__(
        self, model: HeadModel, config: SynthConfig, points: SurfacePoints | None = None
    ) -> None:
        """points: what the truth is of; the texels of the grid when None."""
        self.model, self.config = model, config
        points = texel_grid(model, config.grid).points if points is None else points
        self.texels = SurfaceEvaluator(model, points)
        self.landmarks = SurfaceEvaluator(model, landmark_points(model)[:SKIN_POINTS])
        self._people: OrderedDict[int, Person] = OrderedDict()

    def person(self, number: int) -> Person:
        if number not in self._people:
            self._people[number] = make_person(self.model, self.config, number)
        self._people.move_to_end(number)
        if len(self._people) > _KEPT_PEOPLE:
            self._people.popitem(last=False)
        return self._people[number]

    def batch(self, number: int) -> DrawnBatch:
        """Batch `number`."""
        rng = self.config.rng(SHOTS, number)
        count = self.config.batch_size
        shots = self._shots(rng, count)
        people = self._cast(rng, number, count, max(1, count // 4))
        rows = []
        for row, person in enumerate(people):
            # A row's scenery is drawn as its turn comes, from the same numbers.
            scenery = self._scenery(shots, row, self.person(person), rng)
            rows.append(self._picture(shots, row, self.person(person), scenery))
        return _stacked(rows)

    def moments(self, number: int) -> DrawnBatch:
        """Batch `number` of half as many scenes at two moments each: row i and row i + B/2."""
        rng = self.config.rng(MOMENTS, number)
        count = self.config.batch_size // 2
        first, other = self._shots(rng, count), self._shots(rng, count)
        second = later(first, other, rng)
        people = self._cast(rng, number, count, max(1, count // 3))
        sceneries = [
            self._scenery(first, row, self.person(person), rng) for row, person in enumerate(people)
        ]
        return _stacked(
            [
                self._picture(shots, row, self.person(person), sceneries[row])
                for shots in (first, second)
                for row, person in enumerate(people)
            ]
        )

    def _shots(self, rng: np.random.Generator, count: int) -> Shots:
        config = self.config
        return sample_shots(self.model, rng, count, config.any_yaw_share, config.bad_crop_share)

    def _cast(self, rng: np.random.Generator, number: int, count: int, different: int) -> list[int]:
        """Numbers of the people of `count` pictures. Few are different: making one takes longer
        than drawing some pictures."""
        config = self.config
        cast = rng.integers(config.people, size=different)
        return [config.person_of(number, int(draw)) for draw in rng.choice(cast, count)]

    def _scenery(
        self, shots: Shots, row: int, person: Person, rng: np.random.Generator
    ) -> _Scenery:
        occluders = []
        if rng.random() < OCCLUDER_SHARE:
            skin = np.asarray(person.skin[-1][..., :3].mean(axis=(0, 1)) / 255) ** 2
            face = self.landmarks.positions(shots.state(row, person.shape)).mean(axis=0)
            occluders.append(sample_occluder(rng, face, np.zeros(3), skin))
        size = self.config.crop_px
        return _Scenery(sample_light(rng), sample_background(rng, size, size), occluders)

    def _picture(
        self, shots: Shots, row: int, person: Person, scenery: _Scenery
    ) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        state = shots.state(row, person.shape)
        landmarks = self.landmarks.positions(state)
        size = self.config.crop_px
        camera = crop_camera(landmarks, shots.log_scale[row], shots.shift[row], size, FACE_MARGIN)
        image = render_scene(
            [(person, state)], camera, scenery.light, scenery.background, scenery.occluders
        )
        position, visible = texel_truth(self.texels, state, camera, image)
        light = np.minimum(image.color, 60000).transpose(2, 0, 1).astype(np.float16)
        return light, position, visible, iod_px(landmarks, camera)


def _stacked(rows: list[tuple[NDArray, NDArray, NDArray, NDArray]]) -> DrawnBatch:
    return DrawnBatch(*(np.stack(column) for column in zip(*rows, strict=True)))


def texel_truth(
    texels: SurfaceEvaluator, state: HeadState, camera: Camera, image: RenderedImage, head: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Where texels are in a picture (Q, 2), pixels, and which are seen in it (Q,).

    A texel behind the camera is far outside of the picture.
    """
    points = rigid.apply(camera.camera_from_rig, texels.positions(state))
    projected, valid = camera.project(points)
    pixels: NDArray[np.float32] = np.where(valid[:, None], projected, _FAR_PX).astype(np.float32)
    column, row = np.rint(pixels).astype(int).T
    inside = (column >= 0) & (row >= 0) & (column < camera.width) & (row < camera.height)
    column, row = np.where(inside, column, 0), np.where(inside, row, 0)
    near = np.abs(image.fragments.depth[row, column] - points[:, 2]) < DEPTH_SLACK_M
    visible: NDArray[np.bool_] = inside & near & (image.face[row, column] == head)
    return pixels, visible


def iod_px(landmarks: NDArray[np.float64], camera: Camera) -> NDArray[np.float32]:
    """Distance of the outer eye corners among landmarks (N, 3), metres, in pixels at their depth.

    Measured in space, so that it does not shrink when the head turns.
    """
    left, right = landmarks[LEFT_EYE_OUTER], landmarks[RIGHT_EYE_OUTER]
    distance = np.linalg.norm(left - right) / (0.5 * (left + right)[2])
    return np.asarray(distance * camera.intrinsics[0, 0], np.float32)
