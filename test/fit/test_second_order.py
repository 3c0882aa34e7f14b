"""The mean of the posterior off its mode, against third derivatives by finite differences."""

from __future__ import annotations

import numpy as np

from flowface_ros.fit.second_order import _pulls


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
    bend, slope = _pulls(place[None], spread[None], spread[None], weight[None], zoom)
    found = (bend + slope)[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())


def test_bend_is_that_of_the_projections_mean(rng) -> None:
    place, weight = np.array([[0.08, -0.05, 0.7]]), np.array([[3.0, 0.7, 2.0]])
    root = rng.normal(size=(3, 3)) * 1e-3
    spread, gain = root @ root.T, rng.normal(size=(1, 3, 3))
    bend, slope = _pulls(place, spread[None], gain, weight, 1.0)
    again, double = _pulls(place, spread[None], 2 * gain, weight, 1.0)
    np.testing.assert_array_equal(again, bend)
    np.testing.assert_allclose(double, 2 * slope)
    x = place + rng.multivariate_normal(np.zeros(3), spread, 400000)
    shift = (x[:, :2] / x[:, 2:]).mean(axis=0) - place[0, :2] / place[0, 2]
    at = place[0]
    jacobian = np.array([[1, 0, -at[0] / at[2]], [0, 1, -at[1] / at[2]]]) / at[2]
    wanted = jacobian.T @ weight[0, [[0, 1], [1, 2]]] @ shift
    np.testing.assert_allclose(bend[0], wanted, rtol=0.1, atol=0.1 * np.abs(wanted).max())
