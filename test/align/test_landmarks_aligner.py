from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flowface_ros import rigid
from flowface_ros.align.aligner import (
    Picture,
    detect_and_align,
    head_crop,
    make_aligner,
)
from flowface_ros.align.crop import make_crop
from flowface_ros.align.embedding import (
    IRIS_POINTS,
    SKIN_POINTS,
    landmark_points,
    open_mouth_positions,
)
from flowface_ros.align.landmark_errors import (
    FACING_KNOTS,
    LandmarkErrors,
    hat_weights,
    normals_of,
    query_points,
    read_errors,
)
from flowface_ros.align.landmark_net import FaceFinder, crop_from_landmarks
from flowface_ros.align.landmark_pose import LandmarkPoseFitter
from flowface_ros.align.landmarks_aligner import (
    LandmarkCarry,
    LandmarksAligner,
    frontal_log_sigma,
    texel_matrix,
)
from flowface_ros.camera.camera import Camera
from flowface_ros.head.atlas import texel_grid, texel_interpolation
from flowface_ros.head.model_file import load_builtin_head

FACING = np.diag([1.0, -1.0, -1.0])
SCALE = 1000.0


@pytest.fixture(scope="module")
def astronaut() -> NDArray[np.uint8]:
    return pytest.importorskip("skimage.data").astronaut()


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder("cpu")


@pytest.fixture(scope="module")
def aligner() -> LandmarksAligner:
    return LandmarksAligner(load_builtin_head(), device="cpu")


def seen(yaw: float, pitch: float = 0.0, roll: float = 0.0) -> tuple[NDArray, NDArray]:
    """Crop pixels of landmarks and texels of the mean head under an affine camera."""
    model = load_builtin_head()
    turn = rigid.rotation_from_rotvec([0, yaw, 0]) @ rigid.rotation_from_rotvec([pitch, 0, 0])
    view = (rigid.rotation_from_rotvec([0, 0, roll]) @ FACING @ turn)[:2]
    points = (landmark_points(model), texel_grid(model, 48).points)
    landmarks, texels = (p.interpolate(model.triangles, model.template) for p in points)
    return SCALE * landmarks @ view.T + 128, SCALE * texels @ view.T + 128


@settings(max_examples=30, deadline=None)
@given(st.floats(-1.3, 1.3), st.floats(-0.6, 0.6), st.floats(-3, 3))
def test_pose_of_the_mean_head_is_exact(yaw: float, pitch: float, roll: float) -> None:
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


def test_interpolation_carries_a_rigid_head_along() -> None:
    model = load_builtin_head()
    matrix = texel_matrix(model, texel_grid(model, 48).points)
    assert matrix.shape == (len(texel_grid(model, 48).points), 478)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-5)
    assert not matrix[:, IRIS_POINTS].any()
    landmarks, texels = seen(0.4, 0.1, 0.3)
    np.testing.assert_allclose(matrix @ landmarks, texels, atol=0.05)


def test_lips_move_apart() -> None:
    model = load_builtin_head()
    landmarks, _ = seen(0.0)
    template = landmark_points(model).interpolate(model.triangles, model.template)
    jaw = landmark_points(model).interpolate(model.triangles, model.skinning_weights[:, 2:3])[:, 0]
    opened = landmarks.copy()
    opened[:SKIN_POINTS, 1] += np.where(jaw[:SKIN_POINTS] > 0.5, 20.0, 0.0)
    lips = landmark_points(model)[np.array([13, 14])]
    moved = texel_matrix(model, lips) @ (opened - landmarks)
    assert template[13, 1] >= template[14, 1]
    assert abs(moved[0, 1]) < 3
    assert moved[1, 1] > 17


def test_sigma_is_large_where_points_cannot_be_trusted() -> None:
    model = load_builtin_head()
    grid = texel_grid(model, 48)
    errors, fitter = LandmarkErrors(model, grid), LandmarkPoseFitter(model)
    points, _ = seen(0.0)
    pose, side = fitter.fit(points), fitter.fit(seen(0.8)[0])
    frontal = errors.sigma(pose, points, 0.999, 1.0)
    assert (frontal > 0).all()
    assert frontal.shape == (len(grid.points) + 10,)
    # No face, small face, the hidden side, points that fit no head.
    assert (errors.sigma(pose, points, 0.01, 1.0) > 2 * frontal).mean() > 0.9
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
    assert errors.sigma(pose, closed, 0.999, 1.0)[-10:].min() > 1.2 * frontal[-10:].min()


def test_correction_turns_with_the_picture_and_spares_frontal_faces() -> None:
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
        assert all(0.75 < rms < 1.25 for rms in figures[turn]["region_sigma_rms"].values())


@settings(max_examples=50, deadline=None)
@given(st.floats(-2, 2))
def test_hat_weights_interpolate(value: float) -> None:
    weights = hat_weights(value, FACING_KNOTS)
    assert weights.sum() == pytest.approx(1)
    assert weights @ FACING_KNOTS == pytest.approx(np.clip(value, -1, 1), abs=1e-9)


def test_a_photograph(aligner: LandmarksAligner, finder: FaceFinder, astronaut: NDArray) -> None:
    picture = Picture(astronaut, "camera", 123)
    (face,) = detect_and_align(aligner, finder, picture)
    observation = face.observation
    assert observation.points is aligner.points
    assert (observation.camera, observation.stamp_ns) == ("camera", 123)
    assert face.presence is not None
    assert face.presence > 0.9
    # The embedded points, read back from the texels, lie on the network's own.
    model = load_builtin_head()
    matrix, found = texel_interpolation(model, aligner.grid, landmark_points(model)[:SKIN_POINTS])
    (seen_face,) = finder.detect_faces(astronaut)
    own = seen_face.points[:SKIN_POINTS, :2]
    eyes = np.linalg.norm(own[33] - own[263])
    distance = np.linalg.norm(matrix @ observation.pixels[:-10] - own, axis=1)[found] / eyes
    assert np.median(distance) < 0.025
    np.testing.assert_allclose(
        observation.pixels[-10:], seen_face.points[IRIS_POINTS, :2], atol=1e-6
    )


def test_crops_of_all_pictures_are_one_batch(
    aligner: LandmarksAligner, finder: FaceFinder, astronaut: NDArray
) -> None:
    (face,) = finder.detect_faces(astronaut)
    crop = crop_from_landmarks(face.points)
    shifted = np.roll(astronaut, 40, axis=1)
    shift = np.array([40.0, 0.0])
    moved = make_crop(crop.to_image([127.5, 127.5]) + shift, 256 * crop.scale, face.roll, 256)
    pictures = [Picture(astronaut, "a"), Picture(astronaut, "b"), Picture(shifted, "c")]
    first, none, third = aligner.align(pictures, [[crop, crop], [], [moved]])
    assert [len(first), len(none), len(third)] == [2, 0, 1]
    assert third[0].observation.camera == "c"
    np.testing.assert_allclose(first[0].observation.pixels, first[1].observation.pixels, atol=0.01)
    np.testing.assert_allclose(
        third[0].observation.pixels, first[0].observation.pixels + shift, atol=0.3
    )
    assert aligner.align([], []) == []


def test_points_beyond_the_picture_are_unsure(
    aligner: LandmarksAligner, finder: FaceFinder, astronaut: NDArray
) -> None:
    (face,) = finder.detect_faces(astronaut)
    crop = crop_from_landmarks(face.points)
    middle = int(face.points[1, 0])
    half = np.ascontiguousarray(astronaut[:, :middle])
    (whole,), (cut,) = aligner.align([Picture(astronaut), Picture(half)], [[crop], [crop]])
    beyond = cut.observation.pixels[:, 0] > middle
    assert beyond.sum() > 100
    ratio = cut.observation.sigma / whole.observation.sigma
    assert ratio[beyond].min() > 1.5


def test_carry_survives_collapsed_points() -> None:
    model = load_builtin_head()
    carry = LandmarkCarry(model, texel_grid(model, 16))
    for points in (np.full((478, 2), 100.0), np.zeros((478, 2))):
        positions, sigma = carry.run(points, 0.0, 1.0)
        assert np.isfinite(positions).all()
        assert np.isfinite(sigma).all()
        assert (sigma > 0.3).all()


def test_first_sigma_for_networks() -> None:
    model = load_builtin_head()
    grid = texel_grid(model, 32)
    log_sigma = frontal_log_sigma(model, grid)
    assert log_sigma.shape == (len(grid.points),)
    assert 1 < np.exp(np.median(log_sigma)) < 20


def test_grid_can_be_chosen() -> None:
    model = load_builtin_head()
    aligner = make_aligner("landmarks", model, device="cpu", grid=24)
    assert len(aligner.points) == len(texel_grid(model, 24).points) + 10
    assert len(query_points(model, texel_grid(model, 24))) == len(aligner.points)


def test_head_crop_follows_the_head() -> None:
    model = load_builtin_head()
    intrinsics = np.array([[600.0, 0, 319.5], [0, 600, 239.5], [0, 0, 1]])
    camera = Camera("camera", 640, 480, intrinsics)
    roll = rigid.rotation_from_rotvec([0, 0, 0.4])
    turn = roll @ FACING @ rigid.rotation_from_rotvec([0, 1.3, 0])
    pose = rigid.transform(turn, [0.05, 0, 0.8])
    face = landmark_points(model).interpolate(model.triangles, model.template)
    crop = head_crop(camera, pose, rigid.apply(pose, face), 256)
    assert crop is not None
    axis = crop.image_from_crop[:, 0] / crop.scale
    assert np.arctan2(axis[1], axis[0]) == pytest.approx(0.4, abs=0.05)
    pixels, _ = camera.project(rigid.apply(pose, face))
    inside = crop.to_crop(pixels)
    assert inside.min() > 30
    assert inside.max() < 226
    behind = rigid.transform(turn, [0, 0, -0.8])
    assert head_crop(camera, behind, rigid.apply(behind, face), 256) is None


def test_errors_name_the_cause(tmp_path: Path, aligner: LandmarksAligner) -> None:
    model = load_builtin_head()
    with pytest.raises(ValueError, match="aligner is 'magic'"):
        make_aligner("magic", model)
    with pytest.raises(ValueError, match="weights is missing"):
        make_aligner("network", model)
    with pytest.raises(ValueError, match="takes none"):
        make_aligner("landmarks", model, weights=tmp_path / "x.onnx")
    with pytest.raises(ValueError, match="no file"):
        make_aligner("network", model, weights=tmp_path / "x.onnx")
    with pytest.raises(ValueError, match="wears"):
        make_aligner("landmarks", replace(model, atlas_hash=3))
    crop = make_crop((10, 10), 20, 0, 128)
    with pytest.raises(ValueError, match="takes 256"):
        aligner.align([Picture(np.zeros((20, 20, 3), np.uint8))], [[crop]])
    with pytest.raises(ValueError, match="crops is for 0 pictures"):
        aligner.align([Picture(np.zeros((20, 20, 3), np.uint8))], [])
    for bad in (np.zeros((0, 5, 3), np.uint8), np.full((4, 4, 3), np.nan)):
        with pytest.raises(ValueError, match="image"):
            Picture(bad)  # type: ignore[arg-type]
