from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
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
)
from flowface_ros.align.landmark_errors import (
    query_points,
)
from flowface_ros.align.landmark_net import FaceFinder, crop_from_landmarks
from flowface_ros.align.landmarks_aligner import (
    LandmarkCarry,
    LandmarksAligner,
    frontal_log_sigma,
    texel_matrix,
)
from flowface_ros.camera.camera import Camera
from flowface_ros.head.atlas import texel_grid, texel_interpolation
from flowface_ros.head.blendshapes import state_from_blendshapes
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.head.state import neutral_state

FACING = np.diag([1.0, -1.0, -1.0])
SCALE = 1000.0
Seen = Callable[..., tuple[NDArray, NDArray]]


def test_interpolation_carries_a_rigid_head_along(seen: Seen) -> None:
    model = load_builtin_head()
    matrix = texel_matrix(model, texel_grid(model, 48).points)
    assert matrix.shape == (len(texel_grid(model, 48).points), 478)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-5)
    assert not matrix[:, IRIS_POINTS].any()
    landmarks, texels = seen(0.4, 0.1, 0.3)
    np.testing.assert_allclose(matrix @ landmarks, texels, atol=0.05)


def test_lips_move_apart(seen: Seen) -> None:
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


@pytest.mark.parametrize("closed", [0.0, 0.5, 1.0])
def test_lids_follow_their_own_landmarks(closed: float) -> None:
    model = load_builtin_head()
    neutral = neutral_state(model)
    blink = {"eyeBlinkLeft": closed, "eyeBlinkRight": closed}
    vertices = pose_vertices(model, state_from_blendshapes(model, blink, neutral))
    grid = texel_grid(model, 48)
    skin = landmark_points(model)[:SKIN_POINTS]
    landmarks, texels = (
        SCALE * p.interpolate(model.triangles, vertices) @ FACING[:2].T for p in (skin, grid.points)
    )
    inside = np.zeros(model.vertex_count)
    inside[model.vertex_groups["eyelids"]] = 1
    lids = grid.points.interpolate(model.triangles, inside) > 0.5
    carried = texel_matrix(model, grid.points)[:, :SKIN_POINTS] @ landmarks
    assert np.linalg.norm(carried - texels, axis=1)[lids].max() < 0.5
    upper, lower = [160, 159, 158, 387, 386, 385], [144, 145, 153, 373, 374, 380]
    at_lids = texel_matrix(model, skin)[:, :SKIN_POINTS] @ landmarks
    gap = (at_lids[lower] - at_lids[upper])[:, 1]
    np.testing.assert_allclose(gap, (landmarks[lower] - landmarks[upper])[:, 1], atol=0.5)


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
    assert log_sigma.shape == (len(grid.points) + 10,)
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
    with pytest.raises(ValueError, match="grid is 1000, must be 8 to 128"):
        make_aligner("landmarks", model, grid=1000)
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
