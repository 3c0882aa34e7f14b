from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowface_ros.align.tps import thin_plate_matrix


def places(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.1, 0.1, (count, 3))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), smoothing=st.floats(0, 1))
def test_affine_functions_pass_exactly(seed: int, smoothing: float) -> None:
    source, target = places(seed, 30), 3 * places(seed + 1, 20)
    matrix = thin_plate_matrix(source, target, smoothing)
    rng = np.random.default_rng(seed)
    linear, shift = rng.normal(size=(3, 2)), rng.normal(size=2)
    np.testing.assert_allclose(
        matrix @ (source @ linear + shift), target @ linear + shift, atol=1e-8
    )
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-8)


def test_without_smoothing_the_values_are_kept() -> None:
    source = places(0, 40)
    np.testing.assert_allclose(thin_plate_matrix(source, source, 0.0), np.eye(40), atol=1e-8)


def test_it_minimises_the_smoothing_splines_energy() -> None:
    # Slow reference: the spline's coefficients from the penalised least-squares problem itself,
    # min |K c + A d - y|^2 / smoothing + c^T K c, over c orthogonal to affine functions.
    source, smoothing = places(1, 12), 0.05
    values = np.random.default_rng(2).normal(size=12)
    kernel = -np.linalg.norm(source[:, None] - source[None], axis=2)
    affine = np.column_stack([np.ones(12), source])
    free = np.linalg.qr(affine, mode="complete")[0][:, 4:]  # c = free @ z
    left = np.column_stack([kernel @ free, affine])
    normal = left.T @ left
    normal[: free.shape[1], : free.shape[1]] += smoothing * free.T @ kernel @ free
    expected = left @ np.linalg.solve(normal, left.T @ values)
    np.testing.assert_allclose(
        thin_plate_matrix(source, source, smoothing) @ values, expected, atol=1e-6
    )


def test_far_away_it_stays_bounded_around_an_affine_function() -> None:
    source = places(3, 50)
    values = source @ np.array([1.0, 2, 3]) + 0.01 * np.random.default_rng(4).normal(size=50)
    far = 20 * places(5, 30)
    deviation = thin_plate_matrix(source, far, 0.01) @ values - far @ np.array([1.0, 2, 3])
    assert np.abs(deviation).max() < 0.5  # of values up to 8: the slopes are off by little


def test_distances_of_the_unfolded_surface_count() -> None:
    # Two sheets that touch: values of one do not reach the other.
    flat = places(7, 40) * [1, 1, 0] + [0, 0, 1e-4]
    sheets = np.concatenate([flat, flat - [0, 0, 2e-4]])
    apart = sheets + np.repeat([[0, 0, 1.0], [0, 0, -1.0]], 40, axis=0)
    bump = np.concatenate([np.exp(-(flat[:, 0] ** 2) / 0.001), np.zeros(40)])
    folded = thin_plate_matrix(sheets, sheets, 0.01) @ bump
    matrix = thin_plate_matrix(sheets, sheets, 0.01, unfolded=(apart, apart))
    assert np.abs(folded[40:]).max() > 0.3
    assert np.abs((matrix @ bump)[40:]).max() < 0.1
    np.testing.assert_allclose(matrix @ sheets, sheets, atol=1e-9)


def test_a_value_with_more_smoothing_counts_less() -> None:
    source = places(6, 30)
    smoothing = np.full(30, 0.01)
    smoothing[7] = 10.0
    row = thin_plate_matrix(source, source[7:8], smoothing)[0]
    assert row[7] < 0.2
    assert thin_plate_matrix(source, source[7:8], 0.01)[0, 7] > 0.5


@pytest.mark.parametrize(
    ("sources", "smoothing", "message"),
    [
        (np.ones((2, 3)), 0.1, "do not span"),
        (places(0, 10) * [1, 1, 0], 0.1, "do not span"),
        (places(0, 10), -0.1, "smoothing is -0.1"),
    ],
)
def test_bad_arguments(sources: np.ndarray, smoothing: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        thin_plate_matrix(sources, places(1, 3), smoothing)
