"""The mean of the posterior off its mode, against third derivatives by finite differences."""

from __future__ import annotations

import numpy as np

from flowface_ros.fit.second_order import _pull


def test_pull_is_the_contracted_third_derivative(rng) -> None:
    place, zoom, h = np.array([0.08, -0.05, 0.7]), 1.1, 1e-4
    root = rng.normal(size=(3, 3))
    spread, weight = root @ root.T, np.array([3.0, 0.7, 2.0])
    matrix = weight[[[0, 1], [1, 2]]]

    def energy(x: np.ndarray) -> float:
        r = zoom * (x[:2] / x[2] - place[:2] / place[2])
        return 0.5 * float(r @ matrix @ r)

    def hessian(x: np.ndarray) -> np.ndarray:
        steps = h * np.eye(3)
        return np.array(
            [
                [
                    energy(x + a + b) - energy(x + a - b) - energy(x - a + b) + energy(x - a - b)
                    for b in steps
                ]
                for a in steps
            ]
        ) / (4 * h * h)

    wanted = [
        0.5 * np.sum(spread * (hessian(place + step) - hessian(place - step))) / (2 * 1e-3)
        for step in 1e-3 * np.eye(3)
    ]
    found = _pull(place[None], spread[None], spread[None], weight[None], zoom)[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())


def test_bend_and_slope_take_matrices_of_their_own(rng) -> None:
    """The pull is linear in both; by the error's covariance it is that of the projection's mean."""
    place, weight = np.array([[0.08, -0.05, 0.7]]), np.array([[3.0, 0.7, 2.0]])
    root = rng.normal(size=(3, 3)) * 1e-3
    spread, none = root @ root.T, np.zeros((1, 3, 3))
    bend = _pull(place, spread[None], none, weight, 1.0)
    slope = _pull(place, none, spread[None], weight, 1.0)
    np.testing.assert_allclose(
        _pull(place, spread[None], spread[None], weight, 1.0), bend + slope, rtol=1e-12
    )
    x = place + rng.multivariate_normal(np.zeros(3), spread, 400000)
    shift = (x[:, :2] / x[:, 2:]).mean(axis=0) - place[0, :2] / place[0, 2]
    at = place[0]
    jacobian = np.array([[1, 0, -at[0] / at[2]], [0, 1, -at[1] / at[2]]]) / at[2]
    wanted = jacobian.T @ weight[0, [[0, 1], [1, 2]]] @ shift
    np.testing.assert_allclose(bend[0], wanted, rtol=0.1, atol=0.1 * np.abs(wanted).max())
