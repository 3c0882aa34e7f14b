from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flowface_ros import rigid
from flowface_ros.align.embedding import (
    SKIN_POINTS,
    landmark_points,
    open_mouth_positions,
)
from flowface_ros.align.landmark_errors import (
    FACING_KNOTS,
    LandmarkErrors,
    hat_weights,
    normals_of,
    read_errors,
    write_errors,
)
from flowface_ros.align.landmark_pose import LandmarkPoseFitter
from flowface_ros.head.atlas import texel_grid, texel_interpolation
from flowface_ros.head.model_file import load_builtin_head

FACING = np.diag([1.0, -1.0, -1.0])
SCALE = 1000.0
Seen = Callable[..., tuple[NDArray, NDArray]]


@settings(max_examples=30, deadline=None)
@given(st.floats(-1.3, 1.3), st.floats(-0.6, 0.6), st.floats(-3, 3))
def test_pose_of_the_mean_head_is_exact(seen: Seen, yaw: float, pitch: float, roll: float) -> None:
    pose = LandmarkPoseFitter(load_builtin_head()).fit(seen(yaw, pitch, roll)[0])
    expected = rigid.rotation_from_rotvec([0, 0, roll]) @ FACING
    expected = expected @ rigid.rotation_from_rotvec([0, yaw, 0])
    expected = expected @ rigid.rotation_from_rotvec([pitch, 0, 0])
    np.testing.assert_allclose(pose.rotation, expected[:2], atol=1e-9)
    np.testing.assert_allclose(pose.toward_camera, -expected[2], atol=1e-9)
    assert pose.scale == pytest.approx(SCALE)
    assert pose.misfit < 1e-9
    assert pose.off_axis_deg == pytest.approx(np.degrees(np.arccos(-expected[2, 2])), abs=1e-4)
    up = pose.crop_from_upright @ [0, -1]
    projected_up = expected[:2, 1] / np.linalg.norm(expected[:2, 1])
    np.testing.assert_allclose(up, projected_up, atol=1e-9)


def test_an_open_mouth_is_no_misfit() -> None:
    model = load_builtin_head()
    fitter = LandmarkPoseFitter(model)
    opened = open_mouth_positions(model, landmark_points(model)) @ FACING[:2].T * SCALE + 128
    pose = fitter.fit(opened)
    np.testing.assert_allclose(pose.rotation, FACING[:2], atol=1e-9)
    assert pose.misfit < 1e-9
    noise = np.random.default_rng(0).normal(0, 5, opened.shape)
    assert fitter.fit(opened + noise).misfit == pytest.approx(5 * 2**0.5 / SCALE, rel=0.05)


def test_sigma_is_large_where_points_cannot_be_trusted(seen: Seen) -> None:
    model = load_builtin_head()
    grid = texel_grid(model, 48)
    errors, fitter = LandmarkErrors(model, grid), LandmarkPoseFitter(model)
    points, _ = seen(0.0)
    pose, side = fitter.fit(points), fitter.fit(seen(0.8)[0])
    frontal = errors.sigma(pose, points, 0.999, 1.0)
    assert (frontal > 0).all()
    assert frontal.shape == (len(grid.points) + 10,)
    # No face, small face, the hidden side, points that fit no head.
    no_face = errors.sigma(replace(pose, misfit=0.006), points, 0.01, 1.0)
    assert (no_face > 2 * frontal).mean() > 0.9
    assert errors.sigma(pose, points, 0.999, 0.15).mean() > 1.1 * frontal.mean()
    facing = normals_of(model, grid.points) @ side.toward_camera
    turned = errors.sigma(side, points, 0.999, 1.0)[:-10]
    assert np.median(turned[facing < -0.2]) > 1.5 * np.median(turned[facing > 0.4])
    failed = errors.sigma(replace(side, misfit=0.02), points, 0.999, 1.0)[:-10]
    assert np.median(failed) > 1.5 * np.median(turned)
    # The back of the head, the neck.
    on = {}
    for group in ("scalp", "neck", "eyelids", "nose"):
        inside = np.zeros(model.vertex_count)
        inside[model.vertex_groups[group]] = 1
        on[group] = grid.points.interpolate(model.triangles, inside) > 0.5
    sure = np.median(frontal[:-10][on["eyelids"] | on["nose"]])
    for group in ("scalp", "neck"):
        assert np.median(frontal[:-10][on[group]]) > 2 * sure
    # Closed eyes hide the irises.
    closed = points.copy()
    closed[[159, 386]] = closed[[145, 374]]
    opened, hidden = (errors.sigma(pose, p, 0.9999, 1.0)[-10:] for p in (points, closed))
    assert hidden.min() > 1.2 * opened.min()


def test_correction_turns_with_the_picture_and_spares_frontal_faces(seen: Seen) -> None:
    model = load_builtin_head()
    grid = texel_grid(model, 48)
    errors, fitter = LandmarkErrors(model, grid), LandmarkPoseFitter(model)
    upright = errors.correction(fitter.fit(seen(0.5)[0]))
    rolled = errors.correction(fitter.fit(seen(0.5, 0.0, 0.7)[0]))
    turn = rigid.rotation_from_rotvec([0, 0, 0.7])[:2, :2]
    np.testing.assert_allclose(rolled, upright @ turn.T, atol=1e-6)
    # At a straight look, places with landmarks around them are where the network says.
    landmarks, _ = seen(0.0)
    matrix, found = texel_interpolation(model, grid, landmark_points(model)[:SKIN_POINTS])
    shift = np.linalg.norm(matrix @ errors.correction(fitter.fit(landmarks))[:-10], axis=1)
    assert np.median(shift[found]) < 0.002 * SCALE * 0.5


def test_tables_on_their_own_grid_are_taken_as_they_are() -> None:
    model = load_builtin_head()
    tables = read_errors()
    errors = LandmarkErrors(model, texel_grid(model, 48), tables)
    np.testing.assert_allclose(errors._log_sigma, tables.log_sigma, atol=1e-6)
    finer = LandmarkErrors(model, texel_grid(model, 64), tables)._log_sigma
    assert np.isfinite(finer).all()
    assert tables.log_sigma.min() - 1e-6 <= finer.min()


def test_calibration_on_people_kept_out_of_the_learning() -> None:
    figures = read_errors().provenance["figures"]
    for turn in ("0 to 30 deg", "30 to 60 deg"):
        assert 0.85 < figures[turn]["sigma_rms"] < 1.15
    seen = figures["presence >= 0.5"]
    assert all(0.85 < rms < 1.15 for rms in seen["region_sigma_rms"].values())


@settings(max_examples=50, deadline=None)
@given(st.floats(-2, 2))
def test_hat_weights_interpolate(value: float) -> None:
    weights = hat_weights(value, FACING_KNOTS)
    assert weights.sum() == pytest.approx(1)
    assert weights @ FACING_KNOTS == pytest.approx(np.clip(value, -1, 1), abs=1e-9)


def test_failures_are_likelier_with_less_presence_and_more_misfit() -> None:
    tables = read_errors()
    assert (np.diff(tables.failure, axis=0) <= 1e-12).all()
    assert (np.diff(tables.failure, axis=1) >= -1e-12).all()


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("failure", np.zeros(7), r"failure has shape \(7,\)"),
        ("turn", np.zeros(7), r"turn has shape \(7,\)"),
        ("correction", np.zeros((7, 6, 2)), r"correction has shape \(7, 6, 2\)"),
        ("lids", np.full(4, np.nan), "lids .* not finite"),
    ],
)
def test_tables_of_another_version_are_refused(
    tmp_path: Path, name: str, values: NDArray, message: str
) -> None:
    path = tmp_path / "errors.npz"
    write_errors(path, replace(read_errors(), **{name: values}))
    with pytest.raises(ValueError, match=rf"errors\.npz: {message}"):
        read_errors(path)
