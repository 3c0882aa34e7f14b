"""The fast forward pass and Jacobian against the formulas written out, one vertex at a time."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.model import JOINT_NAMES, HeadModel
from flowface_ros.head.skinning import pose_vertices, posed_joints
from flowface_ros.head.state import (
    HeadState,
    Unknowns,
    all_unknowns,
    neutral_state,
    retract,
    state_from_vector,
    vector_size,
)
from flowface_ros.head.surface import SurfacePoints


def reference(model: HeadModel, state: HeadState) -> tuple[np.ndarray, np.ndarray]:
    """FLAME's formulas as 4x4 chains: vertices (V, 3) and joints (J, 3) in the rig frame."""
    blended = model.template + model.shape_basis.astype(float) @ state.shape
    blended = blended + model.expression_basis.astype(float) @ state.expression
    joints = model.joint_regressor @ blended
    turns = [np.eye(3)]
    turns += [Rotation.from_rotvec(getattr(state, name)).as_matrix() for name in JOINT_NAMES[1:]]
    if state.offsets is not None:
        blended = blended + state.offsets
    if model.pose_correctives is not None:
        features = np.concatenate([(turn - np.eye(3)).ravel() for turn in turns[1:]])
        blended = blended + model.pose_correctives.astype(float) @ features
    world = []
    for j, turn in enumerate(turns):
        chain = np.eye(4)
        chain[:3, :3] = turn
        chain[:3, 3] = joints[j] - turn @ joints[j]
        world.append(chain if j == 0 else world[model.parents[j]] @ chain)
    rig_from_head = state.rig_from_head
    weights = model.skinning_weights.astype(float)
    weights /= weights.sum(axis=1, keepdims=True)
    vertices = []
    for v in range(model.vertex_count):
        moved = sum(weights[v, j] * world[j] for j in range(len(turns))) @ [*blended[v], 1]
        vertices.append((rig_from_head @ moved)[:3])
    posed = [(rig_from_head @ world[j] @ [*joints[j], 1])[:3] for j in range(len(turns))]
    return np.array(vertices), np.array(posed)


def numeric_jacobian(
    evaluator: SurfaceEvaluator, state: HeadState, unknowns: Unknowns, h: float = 1e-5
) -> np.ndarray:
    columns = []
    for step in np.eye(unknowns.size) * h:
        ahead = evaluator.positions(retract(state, unknowns, step))
        behind = evaluator.positions(retract(state, unknowns, -step))
        columns.append((ahead - behind) / (2 * h))
    return np.stack(columns, axis=-1)


def random_state(model: HeadModel, seed: int, offsets: bool = False) -> HeadState:
    rng = np.random.default_rng(seed)
    state = state_from_vector(model, rng.normal(0, 0.5, vector_size(model)))
    return replace(state, offsets=rng.normal(0, 0.01, (model.vertex_count, 3)) if offsets else None)


def random_points(model: HeadModel, count: int, seed: int = 0) -> SurfacePoints:
    """Points inside triangles, on edges and at corners."""
    rng = np.random.default_rng(seed)
    barycentric = rng.dirichlet([0.5, 0.5, 0.5], count)
    barycentric[::5] = [0, 0.25, 0.75]
    barycentric[::7] = [0, 1, 0]
    triangle = rng.integers(0, model.triangle_count, count).astype(np.int32)
    return SurfacePoints(triangle, barycentric)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), offsets=st.booleans())
def test_vertices_and_joints_follow_the_formulas(toy: HeadModel, seed: int, offsets: bool) -> None:
    state = random_state(toy, seed, offsets)
    vertices, joints = reference(toy, state)
    np.testing.assert_allclose(pose_vertices(toy, state), vertices, atol=1e-13)
    np.testing.assert_allclose(posed_joints(toy, state), joints, atol=1e-13)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), offsets=st.booleans())
def test_points_are_the_blend_of_their_corners(toy: HeadModel, seed: int, offsets: bool) -> None:
    points = random_points(toy, 60, seed)
    state = random_state(toy, seed, offsets)
    expected = points.interpolate(toy.triangles, reference(toy, state)[0])
    np.testing.assert_allclose(SurfaceEvaluator(toy, points).positions(state), expected, atol=1e-13)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), offsets=st.booleans())
def test_the_jacobian_is_the_difference_quotient(toy: HeadModel, seed: int, offsets: bool) -> None:
    evaluator = SurfaceEvaluator(toy, random_points(toy, 40, seed))
    state, unknowns = random_state(toy, seed, offsets), all_unknowns(toy)
    points, jacobian = evaluator.positions_and_jacobian(state, unknowns)
    np.testing.assert_array_equal(points, evaluator.positions(state))
    np.testing.assert_allclose(jacobian, numeric_jacobian(evaluator, state, unknowns), atol=1e-9)


def test_the_jacobian_at_the_neutral_state(toy: HeadModel) -> None:
    evaluator = SurfaceEvaluator.of_vertices(toy)
    state, unknowns = neutral_state(toy), all_unknowns(toy)
    _, jacobian = evaluator.positions_and_jacobian(state, unknowns)
    assert jacobian.shape == (toy.vertex_count, 3, unknowns.size)
    np.testing.assert_allclose(jacobian, numeric_jacobian(evaluator, state, unknowns), atol=1e-9)


@pytest.mark.parametrize(
    "unknowns",
    [
        Unknowns(pose=False),
        Unknowns(),
        Unknowns(pose=False, jaw=True),
        Unknowns(pose=False, shape=[3, 1]),
        Unknowns(right_eye=True, neck=True, expression=[4], shape=[5, 0]),
    ],
)
def test_a_subset_has_the_columns_of_the_whole(toy: HeadModel, unknowns: Unknowns) -> None:
    evaluator = SurfaceEvaluator(toy, random_points(toy, 30))
    state = random_state(toy, 3)
    _, whole = evaluator.positions_and_jacobian(state, all_unknowns(toy))
    _, part = evaluator.positions_and_jacobian(state, unknowns)
    np.testing.assert_allclose(part, whole[..., unknowns.vector_indices(toy)], atol=1e-14)


def test_bases_in_half_the_memory_give_the_same_to_nanometres(toy: HeadModel) -> None:
    points, state, unknowns = random_points(toy, 60), random_state(toy, 1), all_unknowns(toy)
    both = [
        SurfaceEvaluator(toy, points, precise).positions_and_jacobian(state, unknowns)
        for precise in (True, False)
    ]
    for exact, single in zip(*both, strict=True):
        np.testing.assert_allclose(single, exact, atol=1e-6 * np.abs(exact).max())
    assert not np.array_equal(both[0][0], both[1][0])


def test_what_is_kept_between_calls_never_shows(toy: HeadModel) -> None:
    points = random_points(toy, 20)
    evaluator = SurfaceEvaluator(toy, points)
    offsets = np.zeros((toy.vertex_count, 3))
    base = random_state(toy, 1)
    for state in (
        base,
        replace(base, shape=base.shape + 1),
        replace(base, expression=base.expression + 1),
        replace(base, offsets=offsets),
        base,
    ):
        fresh = SurfaceEvaluator(toy, points).positions(state)
        np.testing.assert_array_equal(evaluator.positions(state), fresh)
    state = replace(base, offsets=offsets)
    before = evaluator.positions(state)
    offsets += 0.01
    assert np.abs(evaluator.positions(state) - before).min() > 1e-5


def test_heads_that_are_not_used_any_more_are_forgotten(toy: HeadModel) -> None:
    head = replace(toy)
    kept = weakref.ref(head)
    pose_vertices(head, neutral_state(toy))
    del head
    for _ in range(3):
        pose_vertices(replace(toy), neutral_state(toy))
    gc.collect()
    assert kept() is None


def test_a_model_without_pose_correctives(toy: HeadModel) -> None:
    plain = replace(toy, pose_correctives=None)
    evaluator, state = SurfaceEvaluator.of_vertices(plain), random_state(plain, 2)
    np.testing.assert_allclose(evaluator.positions(state), reference(plain, state)[0], atol=1e-13)
    _, jacobian = evaluator.positions_and_jacobian(state, all_unknowns(plain))
    numeric = numeric_jacobian(evaluator, state, all_unknowns(plain))
    np.testing.assert_allclose(jacobian, numeric, atol=1e-9)


def test_no_points(toy: HeadModel) -> None:
    evaluator = SurfaceEvaluator(toy, SurfacePoints(np.zeros(0, np.int32), np.zeros((0, 3))))
    points, jacobian = evaluator.positions_and_jacobian(neutral_state(toy), all_unknowns(toy))
    assert points.shape == (0, 3) and jacobian.shape == (0, 3, 29)


def test_nan_stays_visible(toy: HeadModel) -> None:
    state = replace(neutral_state(toy), jaw=np.array([np.nan, 0, 0]))
    assert np.isnan(pose_vertices(toy, state)).any()


@pytest.mark.parametrize(
    ("name", "value"),
    [("shape", np.zeros(7)), ("expression", np.zeros(4)), ("offsets", np.zeros((2, 3)))],
)
def test_a_state_of_another_head_is_refused(toy: HeadModel, name: str, value: np.ndarray) -> None:
    with pytest.raises(ValueError, match=name):
        pose_vertices(toy, replace(neutral_state(toy), **{name: value}))


def test_unknowns_of_another_head_are_refused(toy: HeadModel) -> None:
    evaluator = SurfaceEvaluator.of_vertices(toy)
    with pytest.raises(ValueError, match=r"unknowns\.shape has 6, the head has 6"):
        evaluator.positions_and_jacobian(neutral_state(toy), Unknowns(shape=[6]))


def test_points_off_the_mesh_are_refused(toy: HeadModel) -> None:
    points = SurfacePoints(np.array([toy.triangle_count], np.int32), np.eye(3)[:1])
    with pytest.raises(ValueError, match=r"points\.triangle"):
        SurfaceEvaluator(toy, points)


def test_the_built_in_head_follows_the_formulas(builtin: HeadModel) -> None:
    rng = np.random.default_rng(5)
    unknowns = all_unknowns(builtin)
    state = retract(neutral_state(builtin), unknowns, rng.normal(0, 0.3, unknowns.size))
    vertices, joints = reference(builtin, state)
    np.testing.assert_allclose(pose_vertices(builtin, state), vertices, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(posed_joints(builtin, state), joints, rtol=1e-9, atol=1e-12)
    evaluator = SurfaceEvaluator(builtin, random_points(builtin, 200))
    _, jacobian = evaluator.positions_and_jacobian(state, unknowns)
    np.testing.assert_allclose(jacobian, numeric_jacobian(evaluator, state, unknowns), atol=1e-8)
