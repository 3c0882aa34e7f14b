from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from flowface_ros.head.closest import ClosestPoints
from flowface_ros.head.model import HeadModel

ONE = np.array([[0, 1, 2]], np.int32)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_one_triangle_against_a_general_solver(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners, point = rng.normal(size=(3, 3)), rng.normal(size=3) * 2
    found, place = ClosestPoints(corners, ONE).query(point[None])
    constraint = {"type": "eq", "fun": lambda w: w.sum() - 1}
    best = minimize(
        lambda w: np.sum((w @ corners - point) ** 2),
        np.full(3, 1 / 3),
        bounds=[(0, 1)] * 3,
        constraints=[constraint],
        options={"ftol": 1e-14},
    )
    np.testing.assert_allclose(np.sum((place[0] - point) ** 2), best.fun, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(found.barycentric.sum(), 1)
    assert found.barycentric.min() >= 0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_points_of_the_surface_find_themselves(toy: HeadModel, seed: int) -> None:
    rng = np.random.default_rng(seed)
    triangle = rng.integers(0, toy.triangle_count, 50)
    weights = rng.dirichlet([1, 1, 1], 50)
    points = np.einsum("nk,nki->ni", weights, toy.template.astype(float)[toy.triangles[triangle]])
    _, places = ClosestPoints(toy.template, toy.triangles).query(points)
    np.testing.assert_allclose(places, points, atol=1e-9)


@pytest.mark.parametrize("corners", [[0, 0, 1], [0, 1, 0], [0, 1, 1], [0, 0, 0]])
def test_a_triangle_without_area_is_the_segment_that_it_is(corners: list[int]) -> None:
    """Scans have some: corners at one place, as vertices of their own or the same one."""
    vertices = np.array([[0.0, 0, 0], [2, 0, 0], [0, 0, 0], [2, 0, 0]])
    points = np.array([[-1.0, 1, 0], [0.5, 1, 0], [5, 1, 1], [0.5, 0, 0], [0, 0, 0]])
    length = 2.0 * (1 in corners)
    expected = np.clip(points, 0, [length, 0, 0])
    for same in (corners, [corners[0], corners[1], corners[2] + 2]):
        _, places = ClosestPoints(vertices, np.array([same], np.int32)).query(points)
        np.testing.assert_allclose(places, expected, atol=1e-12)


def test_features_choose_between_close_sheets() -> None:
    sheet = np.array([[-1, -1, 0], [3, -1, 0], [-1, 3, 0.0]])
    vertices = np.concatenate([sheet, sheet + np.array([0, 0, 0.001])])
    triangles = np.array([[0, 1, 2], [3, 4, 5]], np.int32)
    lookup = ClosestPoints(vertices, triangles, np.array([[0.0], [0.005]]))
    point = np.array([[0.1, 0.1, 0.0]])
    assert lookup.query(point, np.array([[0.0]]))[0].triangle[0] == 0
    assert lookup.query(point, np.array([[0.005]]))[0].triangle[0] == 1
