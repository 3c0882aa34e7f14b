"""The model that sigma is learned with is the one that says it at run time."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from flowface_ros import rigid
from flowface_ros.align.embedding import landmark_points
from flowface_ros.align.landmark_errors import (
    FACE_HEIGHT_M,
    FAILURE_KNOTS,
    FAILURE_MISFIT_KNOTS_MM,
    TABLE_GRID,
    ErrorTables,
    LandmarkErrors,
    eye_openness,
    query_points,
    turn_features,
)
from flowface_ros.align.landmark_pose import LandmarkPose
from flowface_ros.head.atlas import texel_grid
from flowface_ros.head.model_file import load_builtin_head

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from learn_sigma import _rare_failures
from sigma_design import SigmaDesign
from sigma_samples import Samples

MODEL = load_builtin_head()
GRID = texel_grid(MODEL, TABLE_GRID)
ROWS = len(query_points(MODEL, GRID))
FACING = np.diag([1.0, -1.0, -1.0])
SCALE = 1000.0
COUNT = 5


@pytest.fixture(scope="module")
def samples() -> Samples:
    """Landmarks of the mean head, noisy, from several sides."""
    rng = np.random.default_rng(0)
    head = landmark_points(MODEL).interpolate(MODEL.triangles, MODEL.template)
    poses, landmarks = [], []
    for turn in rng.normal(0, 0.5, (COUNT, 3)):
        view = (FACING @ rigid.rotation_from_rotvec(turn))[:2]
        poses.append(LandmarkPose(view, SCALE, float(rng.uniform(0.003, 0.012))))
        landmarks.append(SCALE * head @ view.T + rng.normal(0, 2, (len(head), 2)))
    return Samples(
        offset=rng.normal(0, 0.003, (COUNT, ROWS, 2)),
        features=np.array([turn_features(pose) for pose in poses]),
        poses=poses,
        presence=rng.uniform(0.6, 1, COUNT),
        size_px=rng.uniform(40, 200, COUNT),
        landmarks=np.array(landmarks),
        openness=np.array([eye_openness(points) for points in landmarks]),
        identity=np.arange(COUNT),
    )


@pytest.fixture(scope="module")
def design(samples: Samples) -> SigmaDesign:
    return SigmaDesign(MODEL, samples, np.ones(COUNT, bool))


def random_values(design: SigmaDesign) -> NDArray:
    values = np.random.default_rng(1).normal(0, 0.3, design.size)
    values[design.rows] -= 4
    return values


def test_learning_and_run_time_say_the_same(samples: Samples, design: SigmaDesign) -> None:
    values = random_values(design)
    tables = ErrorTables(
        MODEL.atlas_hash,
        np.zeros((ROWS, 6, 2)),
        **design.split(values),
        failure=np.zeros((len(FAILURE_KNOTS), len(FAILURE_MISFIT_KNOTS_MM))),
        provenance={},
    )
    errors = LandmarkErrors(MODEL, GRID, tables)
    for i, log_sigma in enumerate(design.log_sigma(values)):
        picture_scale = samples.size_px[i] / (FACE_HEIGHT_M * SCALE)
        said = errors.sigma(
            samples.poses[i], samples.landmarks[i], samples.presence[i], picture_scale
        )
        expected = np.maximum(np.exp(log_sigma) * SCALE, 0.4)
        np.testing.assert_allclose(said, expected, rtol=1e-5)


def test_what_is_pulled_back_is_the_transpose(design: SigmaDesign) -> None:
    values, rng = random_values(design), np.random.default_rng(2)
    gradient = rng.normal(size=(COUNT, ROWS))
    forward = (design.log_sigma(values) * gradient).sum()
    assert design.pulled(gradient) @ values == pytest.approx(forward, rel=1e-5)


def test_tables_hold_every_value_once(design: SigmaDesign) -> None:
    tables = design.split(np.arange(design.size))
    parts = [tables[f.name].ravel() for f in fields(ErrorTables) if f.name in tables]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(design.size))


def test_rare_failures_count_in_the_mean() -> None:
    """One table for all presences and misfits where neither says anything."""
    rng = np.random.default_rng(3)
    odds = np.zeros((400, len(FAILURE_KNOTS)))
    odds[:, 3:] = rng.dirichlet(np.ones(3), 400)
    misfit = rng.dirichlet(np.ones(3), 400)
    squared = np.full(400, 4e-4)
    np.testing.assert_allclose(_rare_failures(odds, misfit, squared), 4e-4, rtol=1e-6)
    squared *= odds[:, 3] + misfit[:, 2]
    table = _rare_failures(odds, misfit, squared)
    np.testing.assert_allclose(table, 4e-4 * np.add.outer([1, 0, 0], [0, 0, 1]), atol=1e-9)
