from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from flowface_ros import rigid
from flowface_ros.align.embedding import landmark_points
from flowface_ros.align.landmark_net import FaceFinder
from flowface_ros.align.landmarks_aligner import LandmarksAligner
from flowface_ros.head.atlas import texel_grid
from flowface_ros.head.model_file import load_builtin_head

FACING = np.diag([1.0, -1.0, -1.0])
SCALE = 1000.0


@pytest.fixture(scope="session")
def astronaut() -> NDArray[np.uint8]:
    return pytest.importorskip("skimage.data").astronaut()


@pytest.fixture(scope="session")
def finder() -> FaceFinder:
    return FaceFinder("cpu")


@pytest.fixture(scope="session")
def aligner() -> LandmarksAligner:
    return LandmarksAligner(load_builtin_head(), device="cpu")


@pytest.fixture(scope="session")
def seen() -> Callable[..., tuple[NDArray, NDArray]]:
    """Crop pixels of landmarks and texels of the mean head under an affine camera, 1 px per mm."""

    def project(yaw: float, pitch: float = 0.0, roll: float = 0.0) -> tuple[NDArray, NDArray]:
        model = load_builtin_head()
        turn = rigid.rotation_from_rotvec([0, yaw, 0]) @ rigid.rotation_from_rotvec([pitch, 0, 0])
        view = (rigid.rotation_from_rotvec([0, 0, roll]) @ FACING @ turn)[:2]
        points = (landmark_points(model), texel_grid(model, 48).points)
        landmarks, texels = (p.interpolate(model.triangles, model.template) for p in points)
        return SCALE * landmarks @ view.T + 128, SCALE * texels @ view.T + 128

    return project
