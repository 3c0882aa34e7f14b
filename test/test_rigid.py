"""Rotations and rigid transforms against scipy and finite differences, at tiny angles too."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from flowface_ros import rigid

directions = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.1)
angles = st.one_of(st.floats(0, np.pi), st.floats(1e-7, 1e-3))
rotvecs = st.builds(lambda d, a: a * np.array(d) / np.linalg.norm(d), directions, angles)


@given(rotvecs)
def test_rotation_matrices_are_scipys(rotvec: np.ndarray) -> None:
    expected = Rotation.from_rotvec(rotvec).as_matrix()
    np.testing.assert_allclose(rigid.rotation_from_rotvec(rotvec), expected, atol=1e-14)
    many = rigid.rotation_from_rotvec([rotvec, np.zeros(3)])
    np.testing.assert_allclose(many, [expected, np.eye(3)], atol=1e-14)


@given(rotvecs, directions)
def test_left_jacobian_is_the_derivative(rotvec: np.ndarray, direction: tuple) -> None:
    step = 1e-6 * np.array(direction)
    change = rigid.rotation_from_rotvec(rotvec + step) @ rigid.rotation_from_rotvec(rotvec).T
    expected = Rotation.from_matrix(change).as_rotvec() / 1e-6
    np.testing.assert_allclose(rigid.left_jacobian(rotvec) @ direction, expected, atol=1e-5)


@given(rotvecs, directions, directions)
def test_transforms_go_there_and_back(rotvec: np.ndarray, shift: tuple, point: tuple) -> None:
    a_from_b = rigid.transform(rigid.rotation_from_rotvec(rotvec), shift)
    moved = rigid.apply(a_from_b, [point, point])
    np.testing.assert_allclose(moved[0], a_from_b[:3, :3] @ point + shift, atol=1e-14)
    np.testing.assert_allclose(rigid.apply(rigid.inverse(a_from_b), moved)[1], point, atol=1e-14)


@given(directions, directions)
def test_skew_is_the_cross_product(a: tuple, b: tuple) -> None:
    np.testing.assert_allclose(rigid.skew(a) @ b, np.cross(a, b), atol=1e-15)
