"""A cut Gaussian's moments against samples."""

from __future__ import annotations

import numpy as np
import pytest

from flowface_ros.fit.truncation import cut_gaussian


@pytest.mark.parametrize("push", [0.0, 0.7, 4.0])
@pytest.mark.parametrize("upper", [False, True])
def test_one_bound(push, upper) -> None:
    """Density exp(-push x - x^2 / 2 v) inside the bound, by quadrature."""
    variance, sign = 0.3, -1.0 if upper else 1.0
    x = np.linspace(0, 8, 200001)
    density = np.exp(-push * x - 0.5 * x**2 / variance)
    wanted = (x * density).sum() / density.sum()
    spread = ((x - wanted) ** 2 * density).sum() / density.sum()
    room = (np.array([-9.0]), np.array([0.0])) if upper else (np.array([0.0]), np.array([9.0]))
    found = cut_gaussian(np.array([-sign * push * variance]), np.array([[variance]]), room)
    assert sign * found.mean[0] == pytest.approx(wanted, rel=0.01)
    assert found.covariance[0, 0] == pytest.approx(spread, rel=0.02)


def test_correlated_unknowns_against_samples(rng) -> None:
    root = rng.normal(size=(4, 4))
    covariance = root @ root.T + 0.5 * np.eye(4)
    low, high = np.array([0.0, -0.5, -np.inf, 0.0]), np.array([9.0, 9.0, np.inf, 90.0])
    draws = rng.multivariate_normal(np.zeros(4), covariance, 400000)
    draws = draws[np.all((draws >= low) & (draws <= high), axis=1)]
    found = cut_gaussian(np.zeros(4), covariance, (low, high))
    size = np.sqrt(np.diagonal(covariance))
    np.testing.assert_allclose(found.mean / size, draws.mean(axis=0) / size, atol=0.04)
    wanted = np.cov(draws.T)
    np.testing.assert_allclose(np.diagonal(found.covariance), np.diagonal(wanted), rtol=0.1)
    sites = np.linalg.inv(covariance) + np.diag(found.information)
    np.testing.assert_allclose(found.covariance, np.linalg.inv(sites), atol=1e-9)


def test_far_bounds_do_nothing() -> None:
    room = (np.full(3, -50.0), np.full(3, np.inf))
    found = cut_gaussian(np.full(3, 0.1), np.eye(3), room)
    np.testing.assert_array_equal(found.information, 0.0)
    np.testing.assert_array_equal(found.mean, 0.1)
    np.testing.assert_array_equal(found.covariance, np.eye(3))
