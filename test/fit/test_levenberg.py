"""The bounded linear step, the lens's inverse, and where the solver stops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from flowface_ros.camera.camera import Camera, intrinsics_matrix
from flowface_ros.camera.lens import Lens
from flowface_ros.fit.config import FitConfig, SolverConfig
from flowface_ros.fit.frame_fit import FrameFitter
from flowface_ros.fit.levenberg import Stop, bounded_step
from flowface_ros.fit.undistort import undistort


@given(st.integers(0, 10**6), st.integers(1, 12))
def test_bounded_step_is_the_boxed_least_squares_solution(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    A, y = rng.normal(size=(3 * size, size)), rng.normal(size=3 * size)
    low, high = -rng.uniform(0, 0.3, size), rng.uniform(0, 0.3, size)
    step = bounded_step(A.T @ A, -A.T @ y, low, high, 0.0)
    wanted = lsq_linear(A, y, (low - 1e-12, high + 1e-12), tol=1e-12).x
    np.testing.assert_allclose(step, wanted, atol=1e-6)


def test_free_step_is_newtons() -> None:
    hessian, gradient = np.diag([2.0, 4.0]), np.array([1.0, -4.0])
    step = bounded_step(hessian, gradient, np.full(2, -np.inf), np.full(2, np.inf), 0.0)
    np.testing.assert_allclose(step, [-0.5, 1.0])
    damped = bounded_step(hessian, gradient, np.full(2, -np.inf), np.full(2, np.inf), 1.0)
    np.testing.assert_allclose(damped, [-0.25, 0.5])


@pytest.mark.parametrize(
    "lens",
    [
        Lens(),
        Lens("plumb_bob", np.array([-0.3, 0.1, 2e-3, -1e-3, 0.01])),
        Lens("rational_polynomial", np.array([0.5, 0.1, 1e-3, 1e-3, 0.01, 0.6, 0.1, 0.0])),
        Lens("equidistant", np.array([0.05, -0.02, 0.01, -0.002])),
        Lens("rational_polynomial", np.array([0.2, 0, 0, 0, 0, 0.1, 0, 0, 1e-3, 0, 0, 0])),
    ],
)
def test_undistort_agrees_with_the_camera(lens: Lens) -> None:
    K = intrinsics_matrix(500.0, 505.0, 320.0, 240.0)
    K[0, 1] = 0.7
    camera = Camera("a", 640, 480, K, lens)
    u, v = np.meshgrid(np.linspace(-100, 740, 15), np.linspace(-100, 580, 12))
    pixels = np.stack([u, v], axis=-1).reshape(-1, 2)
    sigma = np.linspace(0.5, 2.0, len(pixels))
    seen, weight, valid = undistort(camera, pixels, sigma)
    wanted, inverse, right = camera.undistort_with_jacobian(pixels)
    np.testing.assert_array_equal(valid, right)
    np.testing.assert_allclose(seen.T[valid], wanted[valid], atol=1e-10)
    xx, xy, yy = weight[:, valid]
    information = np.moveaxis(np.array([[xx, xy], [xy, yy]]), 2, 0)
    product = inverse[valid] @ np.swapaxes(inverse[valid], 1, 2) @ information
    unit = np.eye(2) / sigma[valid, None, None] ** 2
    np.testing.assert_allclose(product, unit, atol=1e-8)


@given(st.integers(0, 10**6))
def test_undistort_takes_no_place_beyond_the_fold(seed: int) -> None:
    """Lenses that fold once or twice, and pixels beyond the fold's image: what Newton's method
    finds there has the orientation of a true place."""
    rng = np.random.default_rng(seed)
    radial, decentred = rng.normal(0, 0.5, 6), rng.normal(0, 0.01, 2)
    coefficients = [*radial[:2], *decentred, *radial[2:]][: rng.choice([4, 5, 8])]
    model = "rational_polynomial" if len(coefficients) == 8 else "plumb_bob"
    K = intrinsics_matrix(200.0, 210.0, 320.0, 240.0)
    camera = Camera("a", 640, 480, K, Lens(model, np.array(coefficients)))
    u, v = np.meshgrid(np.linspace(-300, 940, 21), np.linspace(-300, 780, 19))
    pixels = np.stack([u, v], axis=-1).reshape(-1, 2)
    seen, _, valid = undistort(camera, pixels, np.ones(len(pixels)))
    wanted, right = camera.undistort(pixels)
    np.testing.assert_array_equal(valid, right)
    np.testing.assert_allclose(seen.T[valid], wanted[valid], atol=1e-7)


def test_iteration_limit_is_kept_and_reported(world, rng) -> None:
    rig = world.rig(1)
    truth = world.head(rng)
    fitter = FrameFitter(world.model, rig, FitConfig(solver=SolverConfig(max_iterations=1)))
    result = fitter.fit(world.see(truth, rig, rng))
    assert result.report is not None
    assert result.report.iterations == 1
    assert result.report.stop is Stop.ITERATIONS


def test_fit_reports_convergence_and_stays_in_the_box(world, rng) -> None:
    rig = world.rig(2)
    truth = world.head(rng)
    result = FrameFitter(world.model, rig).fit(world.see(truth, rig, rng, 3.0))
    assert result.report is not None
    assert result.report.stop is Stop.CONVERGED
    low, high = world.model.expression_bounds.T
    assert np.all((result.state.expression >= low) & (result.state.expression <= high))
    low, high = world.model.joint_bounds[2].T
    assert np.all((result.state.jaw >= low - 1e-12) & (result.state.jaw <= high + 1e-12))
