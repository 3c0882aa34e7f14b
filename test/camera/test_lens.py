"""Lens and Camera against OpenCV, finite differences and themselves."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowface_ros.camera.camera import Camera, intrinsics_matrix
from flowface_ros.camera.lens import Lens

PIXEL_TOLERANCE = 1e-6
FAR_PX = 20_000
AT_THE_FOLD = 1e-3
POINTS = 200


def lens_strategy(model: str, size: int):
    """Lenses of the strength that real ones have."""
    k = st.floats(-0.3, 0.3)
    small, tiny = st.floats(-0.01, 0.01), st.floats(-0.005, 0.005)
    tilt = st.floats(-0.05, 0.05)
    fields = [st.floats(-0.1, 0.1)] * 4
    if model != "equidistant":
        fields = [k, k, small, small, k, k, k, k, tiny, tiny, tiny, tiny, tilt, tilt][:size]
    return st.tuples(*fields).map(lambda values: Lens(model, np.array(values)))


KINDS = [
    ("plumb_bob", 0),
    ("plumb_bob", 4),
    ("plumb_bob", 5),
    ("rational_polynomial", 8),
    ("rational_polynomial", 12),
    ("rational_polynomial", 14),
    ("equidistant", 4),
]
lenses = st.one_of(*(lens_strategy(*kind) for kind in KINDS))
pinholes = st.one_of(*(lens_strategy(*kind) for kind in KINDS[:-1]))
cameras = st.builds(
    lambda lens, fx, aspect, cx, cy: Camera(
        "c", 1280, 720, intrinsics_matrix(fx, fx * aspect, cx, cy), lens
    ),
    lenses,
    st.floats(200, 2000),
    st.floats(0.8, 1.25),
    st.floats(500, 700),
    st.floats(300, 400),
)
seeds = st.integers(0, 2**32 - 1)


def random_points(seed: int, spread: float = 0.8, count: int = POINTS) -> np.ndarray:
    """Points (count, 3) before the camera, at up to `spread` from the axis at z = 1."""
    rng = np.random.default_rng(seed)
    depth = rng.uniform(0.3, 3, (count, 1))
    return np.c_[rng.uniform(-spread, spread, (count, 2)), np.ones(count)] * depth


def opencv_project(camera: Camera, points: np.ndarray) -> np.ndarray:
    zero, coefficients = np.zeros(3), camera.lens.coefficients
    if camera.lens.model == "equidistant":
        pixels, _ = cv2.fisheye.projectPoints(
            points[:, None], zero, zero, camera.intrinsics, coefficients
        )
    else:
        pixels, _ = cv2.projectPoints(points, zero, zero, camera.intrinsics, coefficients)
    return pixels[:, 0]


@settings(max_examples=100, deadline=None)
@given(cameras, seeds)
def test_projection_equals_opencv(camera, seed):
    points = random_points(seed)
    pixels, valid = camera.project(points)
    expected = opencv_project(camera, points)
    np.testing.assert_allclose(pixels[valid], expected[valid], rtol=0, atol=PIXEL_TOLERANCE)
    assert np.isnan(pixels[~valid]).all()


@settings(max_examples=60, deadline=None)
@given(cameras, seeds)
def test_undistortion_equals_opencv(camera, seed):
    pixels, valid = camera.project(random_points(seed, 0.4))
    pixels = pixels[valid]
    if not len(pixels):
        return
    until = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 500, 1e-14)
    if camera.lens.model == "equidistant":
        expected = cv2.fisheye.undistortPoints(
            pixels[:, None], camera.intrinsics, camera.lens.coefficients, criteria=until
        )
    else:
        expected = cv2.undistortPoints(
            pixels[:, None], camera.intrinsics, camera.lens.coefficients, criteria=until
        )
    expected = expected[:, 0]
    # OpenCV's fixed-point iteration does not converge for every lens: compare where it did.
    again = opencv_project(camera, np.c_[expected, np.ones(len(expected))])
    converged = np.abs(again - pixels).max(axis=1) < 1e-9
    normalised, valid = camera.undistort(pixels)
    assert valid.all()
    focal = camera.intrinsics[0, 0]
    np.testing.assert_allclose(
        normalised[converged] * focal, expected[converged] * focal, rtol=0, atol=PIXEL_TOLERANCE
    )


@settings(max_examples=200, deadline=None)
@given(cameras, seeds)
def test_rays_go_back_through_the_points(camera, seed):
    points = random_points(seed, 1.0)
    pixels, valid = camera.project(points)
    # Next to a rational lens's pole pixels are millions away and have no digits left.
    near = ~(np.abs(pixels) > FAR_PX).any(axis=1)
    # At the fold itself neighbours have one pixel.
    radius = np.hypot(points[:, 0], points[:, 1]) / points[:, 2]
    near &= np.abs(radius / camera.lens.max_radius - 1) > AT_THE_FOLD
    pixels, valid = pixels[near], valid[near]
    rays, found = camera.unproject(pixels)
    assert found[valid].all()
    assert not found[~valid].any()
    np.testing.assert_allclose(np.linalg.norm(rays[valid], axis=1), 1, rtol=1e-14)
    again, still_valid = camera.project(rays[valid])
    assert still_valid.all()
    np.testing.assert_allclose(again, pixels[valid], rtol=0, atol=PIXEL_TOLERANCE)


@settings(max_examples=100, deadline=None)
@given(cameras, seeds)
def test_jacobian_equals_finite_differences(camera, seed):
    points = random_points(seed, 0.5, count=20)
    pixels, jacobian, valid = camera.project_with_jacobian(points)
    step = 1e-6
    for axis in range(3):
        offset = step * np.eye(3)[axis]
        upper, lower = camera.project(points + offset)[0], camera.project(points - offset)[0]
        numeric = (upper - lower) / (2 * step)
        inside = valid & np.isfinite(numeric).all(axis=1)
        np.testing.assert_allclose(jacobian[inside, :, axis], numeric[inside], rtol=1e-5, atol=1e-2)
    assert np.isnan(jacobian[~valid]).all()
    np.testing.assert_array_equal(pixels, camera.project(points)[0])


@settings(max_examples=50, deadline=None)
@given(cameras, seeds)
def test_jacobian_of_undistortion_is_the_inverse(camera, seed):
    points = random_points(seed, 0.4, count=20)
    pixels, valid = camera.project(points)
    normalised, jacobian, found = camera.undistort_with_jacobian(pixels)
    np.testing.assert_array_equal(found, valid)
    step = 1e-4
    for axis in range(2):
        offset = step * np.eye(2)[axis]
        numeric = (camera.undistort(pixels + offset)[0] - camera.undistort(pixels - offset)[0]) / (
            2 * step
        )
        inside = found & np.isfinite(numeric).all(axis=1)
        np.testing.assert_allclose(jacobian[inside, :, axis], numeric[inside], rtol=1e-3, atol=1e-7)
    np.testing.assert_array_equal(normalised, camera.undistort(pixels)[0])


def unit_camera(lens: Lens, size: int = 1000) -> Camera:
    focal, centre = 500.0, (size - 1) / 2
    return Camera("c", size, size, intrinsics_matrix(focal, focal, centre, centre), lens)


def on_axis_points(radii: np.ndarray) -> np.ndarray:
    return np.stack([radii, np.zeros_like(radii), np.ones_like(radii)], axis=-1)


def test_barrel_distortion_is_valid_up_to_where_it_folds_back():
    # r (1 + k1 r^2) grows up to r = 1 / sqrt(-3 k1).
    camera = unit_camera(Lens("plumb_bob", [-0.3, 0, 0, 0, 0]))
    fold = 1 / np.sqrt(0.9)
    pixels, valid = camera.project(on_axis_points(np.array([0.5, 0.99, 1.01, 1.5]) * fold))
    np.testing.assert_array_equal(valid, [True, True, False, False])
    assert np.isnan(pixels[2:]).all()
    edge = camera.intrinsics[0, 2] + 500 * fold * (1 - 0.3 * fold**2)
    _, valid = camera.unproject([[edge - 1e-3, 499.5], [edge + 1e-3, 499.5]])
    np.testing.assert_array_equal(valid, [True, False])


@settings(max_examples=50, deadline=None)
@given(pinholes)
def test_within_the_valid_region_pixels_move_outwards(lens):
    camera = unit_camera(lens)
    for direction in np.linspace(0, 2 * np.pi, 8, endpoint=False):
        radii = np.linspace(0.01, 3, 300)
        x, y = radii * np.cos(direction), radii * np.sin(direction)
        _, jacobian, valid = camera.project_with_jacobian(np.stack([x, y, np.ones(300)], axis=-1))
        assert (np.linalg.det(jacobian[valid][:, :, :2]) > 0).all()


def test_rational_pole_ends_the_valid_region():
    # The denominator 1 - 0.5 r^2 vanishes at r = sqrt(2).
    camera = unit_camera(Lens("rational_polynomial", [0, 0, 0, 0, 0, -0.5, 0, 0]))
    _, valid = camera.project(on_axis_points(np.sqrt(2) * np.array([0.9, 0.999, 1.001, 2])))
    np.testing.assert_array_equal(valid, [True, True, False, False])


def test_points_beyond_a_fold_in_one_direction_are_not_valid():
    """Past the diagonal where p1 and p2 fold this lens back, its image runs outwards again."""
    k = [0, 0, 0, 0.0084, 0.1042, 0.1367, -0.0039, 0.2192, 0.0039, -0.0004, 0.002, 0.0039]
    camera = unit_camera(Lens("rational_polynomial", k))
    radii = np.linspace(0, 2, 401)
    points = np.stack([-radii * np.sqrt(0.5), radii * np.sqrt(0.5), np.ones_like(radii)], axis=-1)
    pixels, valid = camera.project(points)
    assert valid[radii < 1.15].all()
    assert not valid[radii > 1.4].any()
    normalised, found = camera.undistort(pixels[valid])
    assert found.all()
    np.testing.assert_allclose(normalised, points[valid, :2], atol=1e-6)


def test_points_close_to_the_fold_still_come_back():
    camera = unit_camera(Lens("plumb_bob", [-0.25, 0.01, 0.002, -0.001, 0]))
    angle = np.linspace(0, 2 * np.pi, 400)
    for radius in np.linspace(0.9, 1.2, 100):
        points = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.ones(400)], -1)
        pixels, jacobian, valid = camera.project_with_jacobian(points)
        clear = valid & (np.linalg.det(jacobian[..., :2]) > 1e-2 * 500**2)
        normalised, found = camera.undistort(pixels[clear])
        assert found.all()
        np.testing.assert_allclose(normalised, points[clear][:, :2], rtol=0, atol=1e-7)


def test_a_pinhole_sees_nothing_behind_it():
    camera = unit_camera(Lens())
    _, valid = camera.project([[0, 0, 1], [0, 0, 0], [0.1, 0, -1], [1, 1, 1e-100], [np.nan, 0, 1]])
    np.testing.assert_array_equal(valid, [True, False, False, True, False])


def test_fisheye_sees_beyond_90_degrees():
    camera = unit_camera(Lens("equidistant", [0, 0, 0, 0]))
    angle = np.deg2rad([0, 60, 89, 90, 91, 120, 170, 180])
    points = np.stack([np.sin(angle), np.zeros(8), np.cos(angle)], axis=-1)
    points[-1] = (0, 0, -1)
    pixels, valid = camera.project(points)
    np.testing.assert_array_equal(valid, [True] * 7 + [False])
    np.testing.assert_allclose(pixels[:7, 0], 499.5 + 500 * angle[:7], atol=1e-9)
    rays, valid = camera.unproject(pixels[:7])
    assert valid.all()
    np.testing.assert_allclose(rays, points[:7], atol=1e-12)
    _, valid = camera.undistort(pixels[:7])
    np.testing.assert_array_equal(valid, [True] * 3 + [False] * 4)
    _, valid = camera.unproject([[499.5 + 500 * 3.2, 499.5]])
    assert not valid.any()


def test_fisheye_that_folds_back():
    # theta (1 - 0.1 theta^2) grows up to theta = 1 / sqrt(0.3).
    camera = unit_camera(Lens("equidistant", [-0.1, 0, 0, 0]))
    angle = np.array([0.99, 1.01]) / np.sqrt(0.3)
    points = np.stack([np.sin(angle), np.zeros(2), np.cos(angle)], axis=-1)
    np.testing.assert_array_equal(camera.project(points)[1], [True, False])
    peak = 500 * (1 / np.sqrt(0.3)) * (2 / 3)
    _, valid = camera.unproject([[499.5 + peak - 0.01, 499.5], [499.5 + peak + 0.01, 499.5]])
    np.testing.assert_array_equal(valid, [True, False])


@pytest.mark.parametrize("kind", KINDS)
def test_the_axis_itself(kind):
    camera = unit_camera(Lens(kind[0], np.zeros(kind[1])))
    pixels, jacobian, valid = camera.project_with_jacobian([0.0, 0.0, 2.0])
    assert valid
    np.testing.assert_allclose(pixels, [499.5, 499.5])
    np.testing.assert_allclose(jacobian, [[250, 0, 0], [0, 250, 0]])
    ray, valid = camera.unproject([499.5, 499.5])
    assert valid
    np.testing.assert_allclose(ray, [0, 0, 1])


def test_shapes_follow_the_arguments():
    camera = unit_camera(Lens("plumb_bob", [-0.1, 0, 0, 0]))
    pixels, jacobian, valid = camera.project_with_jacobian(np.ones((4, 5, 3)))
    assert (pixels.shape, jacobian.shape, valid.shape) == ((4, 5, 2), (4, 5, 2, 3), (4, 5))
    rays, valid = camera.unproject(pixels)
    assert (rays.shape, valid.shape) == ((4, 5, 3), (4, 5))
    assert camera.undistort_with_jacobian(pixels)[1].shape == (4, 5, 2, 2)
    assert camera.project(np.zeros((0, 3)))[0].shape == (0, 2)
    assert camera.unproject(np.zeros((0, 2)))[0].shape == (0, 3)
    with pytest.raises(ValueError, match=r"points_camera must have shape \(..., 3\), got \(2,\)"):
        camera.project([1, 2])
    with pytest.raises(ValueError, match=r"pixels must have shape \(..., 2\), got \(3,\)"):
        camera.unproject([1, 2, 3])


@pytest.mark.parametrize(
    ("model", "coefficients", "said"),
    [
        ("brown", [0] * 5, "distortion_model is 'brown'; known are plumb_bob"),
        ("", [0.1, 0, 0, 0, 0], "distortion_model is ''"),
        ("plumb_bob", [0.1] * 3, "has 3 values; plumb_bob takes 0 or 4 or 5"),
        ("plumb_bob", [0.1] * 8, "has 8 values; plumb_bob"),
        ("rational_polynomial", [0.1] * 5, "has 5 values; rational_polynomial takes 8 or 12 or 14"),
        ("equidistant", [], "has 0 values; equidistant takes 4"),
        ("equidistant", [0.1] * 5, "has 5 values"),
        ("plumb_bob", [0, 0, np.nan, 0], "distortion_coefficients must be finite"),
    ],
)
def test_wrong_lenses(model, coefficients, said):
    with pytest.raises(ValueError, match=said):
        Lens(model, coefficients)


def test_padding_and_empty_models_of_drivers_are_understood():
    assert Lens("equidistant", [0.1, 0, 0, 0, 0]) == Lens("equidistant", [0.1, 0, 0, 0])
    assert Lens("", []) == Lens("", [0, 0, 0, 0, 0]) == Lens()
    assert Lens("plumb_bob", [0.1, 0, 0, 0]) != Lens("plumb_bob", [0.2, 0, 0, 0])
    assert len({Lens("plumb_bob", [0.1, 0, 0, 0]), Lens("plumb_bob", [0.1, 0, 0, 0])}) == 1
