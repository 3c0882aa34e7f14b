"""A rig, the built-in head and synthetic observations of it for the tests of the fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flowface_ros import rigid
from flowface_ros.align.observation import Observation
from flowface_ros.camera.camera import Camera, intrinsics_matrix
from flowface_ros.camera.lens import Lens
from flowface_ros.camera.rig import Rig
from flowface_ros.head.atlas import texel_grid
from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.model import HeadModel
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.state import HeadState, neutral_state
from flowface_ros.head.surface import SurfacePoints


@dataclass(frozen=True, eq=False)
class World:
    """Heads and what cameras see of them."""

    model: HeadModel
    points: SurfacePoints
    evaluator: SurfaceEvaluator

    def rig(self, count: int) -> Rig:
        """Cameras on an arc of 80 degrees around (0, 0, 0.7), each with another lens."""
        lenses = [
            Lens("plumb_bob", np.array([-0.1, 0.02, 1e-3, -1e-3, 0.0])),
            Lens("rational_polynomial", np.array([0.3, 0.02, 1e-3, 0, 0, 0.4, 0, 0])),
            Lens("equidistant", np.array([0.02, -0.01, 0.003, 0.0])),
        ]
        cameras = []
        for i, yaw in enumerate(np.linspace(-40, 40, count) if count > 1 else [0.0]):
            turn = Rotation.from_euler("y", yaw, degrees=True).as_matrix()
            centre = np.array([0, 0, 0.7])
            pose = rigid.transform(turn, centre - turn @ centre)
            K = intrinsics_matrix(600.0, 610.0, 322.0, 238.0)
            cameras.append(Camera(f"cam{i}", 640, 480, K, lenses[i % 3], pose))
        return Rig(tuple(cameras))

    def head(self, rng: np.random.Generator, yaw_deg: float = 60.0) -> HeadState:
        """A random person, face and pose, inside the head's bounds."""
        E, S = self.model.expression_count, self.model.shape_count
        expression = np.abs(rng.normal(0, 0.3, E)) * (rng.random(E) < 0.3)
        low, high = np.moveaxis(self.model.joint_bounds, 2, 0)
        joints = np.clip(rng.normal(0, 0.1, (5, 3)), low, high)
        angles = [rng.uniform(-yaw_deg, yaw_deg), rng.uniform(-20, 20), rng.uniform(-15, 15)]
        turn = Rotation.from_euler("x", 180, degrees=True)
        turn = turn * Rotation.from_euler("yxz", angles, degrees=True)
        return replace(
            neutral_state(self.model),
            translation=np.array([0, 0, 0.7]) + rng.uniform(-0.05, 0.05, 3),
            rotation=turn.as_rotvec(),
            neck=joints[1],
            jaw=joints[2],
            left_eye=joints[3],
            right_eye=joints[4],
            expression=np.clip(expression, 0, 1),
            shape=rng.normal(size=S),
        )

    def see(
        self,
        state: HeadState,
        rig: Rig,
        rng: np.random.Generator,
        sigma: float = 1.0,
        noise: float | None = None,
        names: Sequence[str] | None = None,
    ) -> list[Observation]:
        """Observations of all points in the named cameras, all by default."""
        points, seen = self.evaluator.positions(state), []
        for camera in rig:
            if names is not None and camera.name not in names:
                continue
            pixels, _ = camera.project(rigid.apply(camera.camera_from_rig, points))
            pixels = pixels + rng.normal(0, sigma if noise is None else noise, pixels.shape)
            deviation = np.full(len(pixels), sigma)
            seen.append(Observation(self.points, pixels, deviation, camera.name, 0))
        return seen


@pytest.fixture(scope="session")
def world() -> World:
    model = load_builtin_head()
    every = texel_grid(model, 48).points
    points = every[np.linspace(0, len(every) - 1, 400).astype(int)]
    return World(model, points, SurfaceEvaluator(model, points))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.fixture(scope="session")
def finite_difference() -> Callable[[Callable[[np.ndarray], np.ndarray], int], np.ndarray]:
    """Central differences d f / d x at 0 of a function of (n,), as (..., n)."""

    def derivative(function: Callable[[np.ndarray], np.ndarray], size: int) -> np.ndarray:
        h = 1e-6
        columns = [
            (np.asarray(function(axis)) - np.asarray(function(-axis))) / (2 * h)
            for axis in np.eye(size) * h
        ]
        return np.stack(columns, axis=-1)

    return derivative
