"""The frame face_<id>: where it is, how it turns, and how well it is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.model import HeadModel
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.state import HeadState, all_unknowns, neutral_state, retract
from flowface_ros.rigid import apply, rotation_from_rotvec
from flowface_ros.track.tracked_head import HEAD_FROM_FACE, face_pose, face_pose_covariance


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return load_builtin_head()


def posed(model: HeadModel, seed: int = 0) -> HeadState:
    rng = np.random.default_rng(seed)
    return replace(
        neutral_state(model),
        translation=rng.normal(size=3),
        rotation=rng.normal(size=3),
        neck=0.2 * rng.normal(size=3),
        jaw=np.array([0.1, 0.0, 0.0]),
        shape=rng.normal(0, 0.5, len(model.shape_names)),
    )


def test_axes_are_those_of_rep_155() -> None:
    forward, left, up = HEAD_FROM_FACE.T
    np.testing.assert_array_equal(forward, [0, 0, 1])
    np.testing.assert_array_equal(left, [1, 0, 0])
    np.testing.assert_array_equal(up, [0, 1, 0])


def test_neutral_head_is_permuted_and_moved_to_the_sellion(model: HeadModel) -> None:
    pose = face_pose(model, neutral_state(model))
    sellion = model.landmarks["sellion"].interpolate(model.triangles, model.template)[0]
    point = np.array([0.01, 0.02, 0.03])
    np.testing.assert_allclose(apply(pose, (point - sellion)[[2, 0, 1]]), point, atol=1e-7)


def test_frame_turns_with_root_and_neck_but_not_with_the_jaw(model: HeadModel) -> None:
    state = posed(model)
    skull = rotation_from_rotvec(state.rotation) @ rotation_from_rotvec(state.neck)
    pose = face_pose(model, state)
    np.testing.assert_allclose(pose[:3, :3], skull @ HEAD_FROM_FACE, atol=1e-12)
    chewing = replace(state, jaw=np.array([0.2, 0.05, 0.0]))
    np.testing.assert_allclose(face_pose(model, chewing), pose, atol=2e-4)


def test_origin_is_the_posed_sellion(model: HeadModel) -> None:
    state = posed(model)
    sellion = SurfaceEvaluator(model, model.landmarks["sellion"]).positions(state)[0]
    np.testing.assert_allclose(face_pose(model, state)[:3, 3], sellion, atol=1e-9)


def test_covariance_is_that_of_samples(model: HeadModel) -> None:
    state, unknowns = posed(model), all_unknowns(model)
    rng = np.random.default_rng(1)
    factor = rng.normal(size=(unknowns.size, unknowns.size)) * 1e-3 / np.sqrt(unknowns.size)
    covariance = face_pose_covariance(model, replace(state, covariance=factor @ factor.T))
    assert covariance is not None
    mean = face_pose(model, state)
    samples = []
    for _ in range(1500):
        pose = face_pose(model, retract(state, unknowns, factor @ rng.normal(size=unknowns.size)))
        turned = Rotation.from_matrix(pose[:3, :3] @ mean[:3, :3].T).as_rotvec()
        samples.append([*(pose[:3, 3] - mean[:3, 3]), *turned])
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    np.testing.assert_allclose(np.cov(np.transpose(samples)) / scale, covariance / scale, atol=0.15)


def test_unknown_covariance_stays_unknown(model: HeadModel) -> None:
    assert face_pose_covariance(model, posed(model)) is None
