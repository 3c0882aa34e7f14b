"""The clips that peers are compared on: the truth that they claim is what the pictures show."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from flowface_ros.evaluate.moving_mesh import MovingMesh
from flowface_ros.evaluate.shared_pixels import covered_pixels
from flowface_ros.evaluate.ssme import ssme

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from peer_clips import Clip, moved_photograph
from peer_flow import flow_error_px


@pytest.fixture(scope="module")
def clip() -> Clip:
    """A smooth random pattern in the place of a photograph."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)
    pattern = np.asarray(cv2.resize(coarse, (600, 600), interpolation=cv2.INTER_CUBIC), np.uint8)
    points = rng.uniform(200, 400, (478, 2))
    return moved_photograph("pattern", pattern, points, seconds=0.2, seed=1)


def moved(clip: Clip, metres: float) -> MovingMesh:
    """The truth, to the right in every other frame."""
    vertices = [
        np.add(v, [metres * (row % 2), 0, 0])
        for row, v in enumerate(clip.truth.vertices)
        if v is not None
    ]
    return MovingMesh(clip.truth.triangles, vertices)


def test_the_true_plane_moves_as_the_pictures_do(clip: Clip) -> None:
    masks = covered_pixels(clip.truth, clip.cameras)
    for horizon in (1, 3):
        assert flow_error_px(clip.images, clip.cameras, clip.truth, masks, horizon) < 0.3


def test_a_mesh_that_shakes_is_off_by_as_much(clip: Clip) -> None:
    pixel_m = 1 / float(clip.cameras[0].intrinsics[0, 0])
    shaking = moved(clip, 2 * pixel_m)
    masks = covered_pixels(clip.truth, clip.cameras)
    assert flow_error_px(clip.images, clip.cameras, shaking, masks, 1) == pytest.approx(2, abs=0.3)
    sums = ssme(clip.truth, shaking, clip.cameras, clip.regions, clip.inter_ocular_px)
    curve = sums.by_horizon_px("face")
    assert curve[0] == pytest.approx(2, abs=0.05) and curve[1] < 0.05
    own = ssme(clip.truth, clip.truth, clip.cameras)
    assert own.score_px() == pytest.approx(0, abs=1e-3)
