from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowface_ros import rigid
from flowface_ros.head.model import HeadModel
from flowface_ros.head.state import (
    HeadState,
    Unknowns,
    all_unknowns,
    check_state,
    compose_rotvecs,
    full_covariance,
    neutral_state,
    retract,
    state_from_vector,
    state_vector,
    step_between,
    vector_size,
)

rotvecs = st.tuples(*[st.floats(-3, 3)] * 3).map(np.array)


def random_state(model: HeadModel, seed: int, scale: float = 0.5) -> HeadState:
    rng = np.random.default_rng(seed)
    return state_from_vector(model, rng.normal(0, scale, vector_size(model)))


def test_the_neutral_state_fits(toy: HeadModel) -> None:
    check_state(toy, neutral_state(toy))
    np.testing.assert_array_equal(neutral_state(toy).rig_from_head, np.eye(4))


def test_slices_cover_the_step_in_the_vectors_order(toy: HeadModel) -> None:
    unknowns = Unknowns(pose=True, jaw=True, expression=[4, 0], shape=[2])
    names = ["translation", "rotation", "jaw", "expression", "shape"]
    assert list(unknowns.slices) == names
    ends = [(s.start, s.stop) for s in unknowns.slices.values()]
    assert ends == [(0, 3), (3, 6), (6, 9), (9, 11), (11, 12)]
    assert unknowns.size == 12
    expected = [0, 1, 2, 3, 4, 5, 9, 10, 11, 18 + 4, 18 + 0, 18 + 5 + 2]
    assert unknowns.vector_indices(toy).tolist() == expected


def test_no_unknowns() -> None:
    assert Unknowns(pose=False).size == 0


@pytest.mark.parametrize("indices", [[1, 1], [-1]])
def test_bad_indices_are_refused(indices: list[int]) -> None:
    with pytest.raises(ValueError, match="shape indices"):
        Unknowns(shape=indices)


def test_all_unknowns_are_the_whole_vector(toy: HeadModel) -> None:
    unknowns = all_unknowns(toy)
    np.testing.assert_array_equal(unknowns.vector_indices(toy), np.arange(vector_size(toy)))
    state = random_state(toy, 1)
    np.testing.assert_array_equal(
        state_vector(state_from_vector(toy, state_vector(state))), state_vector(state)
    )


@given(rotvecs, rotvecs)
def test_composition_is_the_matrix_product(left: np.ndarray, right: np.ndarray) -> None:
    product = rigid.rotation_from_rotvec(left) @ rigid.rotation_from_rotvec(right)
    composed = compose_rotvecs(left, right)
    np.testing.assert_allclose(rigid.rotation_from_rotvec(composed), product, atol=1e-12)
    assert np.linalg.norm(composed) <= np.pi + 1e-12


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_retract_and_step_between_are_inverse(toy: HeadModel, seed: int) -> None:
    rng = np.random.default_rng(seed)
    unknowns = Unknowns(neck=True, left_eye=True, expression=[3, 1], shape=[0, 5])
    start = random_state(toy, seed)
    step = rng.normal(0, 0.5, unknowns.size)
    moved = retract(start, unknowns, step)
    np.testing.assert_allclose(step_between(start, moved, unknowns), step, atol=1e-12)
    turned = rigid.rotation_from_rotvec(step[3:6]) @ start.rig_from_head[:3, :3]
    np.testing.assert_allclose(moved.rig_from_head[:3, :3], turned, atol=1e-12)
    for name in ("jaw", "right_eye"):
        np.testing.assert_array_equal(getattr(moved, name), getattr(start, name))
    assert moved.expression[0] == start.expression[0]


def test_retract_drops_the_covariance_and_leaves_the_start(toy: HeadModel) -> None:
    start = replace(neutral_state(toy), covariance=np.eye(vector_size(toy)))
    moved = retract(start, Unknowns(shape=[0]), np.ones(7))
    assert moved.covariance is None
    assert start.shape[0] == 0 and moved.shape[0] == 1


def test_a_step_of_the_wrong_length(toy: HeadModel) -> None:
    with pytest.raises(ValueError, match=r"step has shape \(5,\), must be \(6,\)"):
        retract(neutral_state(toy), Unknowns(), np.zeros(5))


def test_full_covariance_places_the_block(toy: HeadModel) -> None:
    unknowns = Unknowns(pose=False, jaw=True, expression=[2])
    block = np.arange(16.0).reshape(4, 4)
    full = full_covariance(toy, unknowns, block)
    assert full.shape == (29, 29)
    assert full[20, 20] == 15 and full[9, 20] == 3 and full[20, 9] == 12
    assert np.count_nonzero(full) == 15


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("translation", np.zeros(2)),
        ("expression", np.zeros(4)),
        ("offsets", np.zeros((3, 3))),
        ("covariance", np.eye(3)),
        ("jaw", np.array([0, np.nan, 0])),
    ],
)
def test_a_state_that_does_not_fit_is_named(toy: HeadModel, name: str, value: np.ndarray) -> None:
    with pytest.raises(ValueError, match=name):
        check_state(toy, replace(neutral_state(toy), **{name: value}))
