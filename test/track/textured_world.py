"""Pictures of a head whose skin wears a pattern, and answers about them that shake."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation
from track_world import START_NS, camera_at, facing

from flowface_ros.align.crop import Crop, cut
from flowface_ros.align.observation import Observation
from flowface_ros.head.atlas import texel_grid
from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.model import HeadModel
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.head.state import HeadState, compose_rotvecs
from flowface_ros.rigid import apply
from flowface_ros.synth.render.raster import rasterize
from flowface_ros.track.crops import HeadProjector
from flowface_ros.track.texture_memory import TextureMemory
from flowface_ros.track.textured_skin import TexturedSkin

_WAVES = np.random.default_rng(0).normal(0, 250, (3, 12))
"""Radians per metre over the head: details of one to three centimetres."""


class TexturedHead:
    """A head before a camera, and an aligner's points on it."""

    def __init__(self, model: HeadModel, grid: int = 40) -> None:
        self.model = model
        self.camera = camera_at("camera", [0, 0, 0], [1, 0, 0])
        texels = texel_grid(model, grid)
        self.points = texels.points
        self.skin = TexturedSkin(model, self.points, texels)
        self._evaluator = SurfaceEvaluator(model, self.points)
        self._projector = HeadProjector(model, 256, 100.0)
        self._shade = 128 + 30 * np.sin(model.template @ _WAVES).sum(axis=1) / np.sqrt(6)
        self.start = facing(model, [0.6, 0, 0])

    def turned(self, yaw: float, aside: float = 0.0) -> HeadState:
        """The head turned (rad) and moved (m)."""
        rotation = Rotation.from_rotvec([0, 0, yaw]) * Rotation.from_rotvec(self.start.rotation)
        place = self.start.translation + np.array([0, aside, 0])
        return replace(self.start, rotation=rotation.as_rotvec(), translation=place)

    def picture(self, state: HeadState) -> np.ndarray:
        """uint8 RGB (480, 640, 3)."""
        vertices = apply(self.camera.camera_from_rig, pose_vertices(self.model, state))
        pixels, _ = self.camera.project(vertices)
        corners = np.column_stack([pixels, vertices[:, 2]]).astype(np.float32)
        drawn = rasterize(corners, self.model.triangles, 640, 480)
        shade = self._shade[self.model.triangles[np.maximum(drawn.triangle, 0)]]
        grey = np.where(drawn.triangle < 0, 60, (shade * drawn.barycentric).sum(axis=2))
        return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)

    def pixels(self, state: HeadState) -> np.ndarray:
        """(N, 2) where the points truly are."""
        points = apply(self.camera.camera_from_rig, self._evaluator.positions(state))
        return self.camera.project(points)[0]

    def crop(self, state: HeadState) -> Crop:
        view = self._projector.view(self.camera, state)
        assert view is not None
        return view.crop

    def observation(self, pixels: np.ndarray, index: int = 0) -> Observation:
        sigma = np.full(len(self.points), 3.0)
        stamp_ns = START_NS + round(index * 1e9 / 30)
        return Observation(self.points, pixels, sigma, self.camera.name, stamp_ns)


@dataclass
class Errors:
    """(T, N) errors of the face's points that always show, less their mean over time; pixels."""

    said: np.ndarray
    steadied: np.ndarray


def _wander(values: Sequence[np.ndarray]) -> np.ndarray:
    errors = np.array(values)
    return np.linalg.norm(errors - errors.mean(axis=0), axis=2)


def play(
    head: TexturedHead,
    states: Sequence[HeadState],
    pictures: Sequence[np.ndarray] | None = None,
    misread_rad: float = 0.02,
    seed: int = 0,
) -> Errors:
    """Answers that misread how the head is turned, by another angle in every picture, and what the
    memory makes of them."""
    rng = np.random.default_rng(seed)
    memory, rows = TextureMemory(head.skin), head.skin.rows
    always = np.ones(len(rows), bool)
    said, steadied = [], []
    for index, state in enumerate(states):
        wrong = compose_rotvecs(rng.normal(0, misread_rad, 3), np.asarray(state.rotation))
        guess, truth = head.pixels(replace(state, rotation=wrong)), head.pixels(state)
        picture = head.picture(state) if pictures is None else pictures[index]
        crop = head.crop(state)
        view = head.skin.view(head.camera, crop, state)
        assert view is not None
        always[head.skin.between.rows[~view.fine_seen]] = False
        (cropped,) = cut(picture, [crop])
        observation = head.observation(guess, index)
        answer = memory.steadied(cropped, crop, head.camera, state, observation)
        said.append((guess - truth)[rows])
        steadied.append((answer.pixels - truth)[rows])
    return Errors(_wander(said)[:, always], _wander(steadied)[:, always])
