import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flowface_ros import rigid
from flowface_ros.camera.camera import Camera, intrinsics_matrix, pinhole
from flowface_ros.camera.camera_info import camera_from_info, camera_from_values, info_values
from flowface_ros.camera.lens import Lens
from flowface_ros.camera.rig import Rig

K = intrinsics_matrix(600, 610, 322, 238)
LENS = Lens("plumb_bob", [-0.2, 0.05, 0.001, -0.0005, 0.0])


def posed(rotvec, translation) -> np.ndarray:
    return rigid.transform(Rotation.from_rotvec(rotvec).as_matrix(), translation)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"width": 0}, "image width of camera 'c' is 0; must be > 0"),
        ({"height": -3}, "image height of camera 'c' is -3"),
        ({"intrinsics": np.eye(4)}, r"intrinsics of camera 'c': K must have shape \(3, 3\)"),
        ({"intrinsics": np.diag([0, 1, 1])}, "focal length fx is 0.0; must be > 0"),
        ({"intrinsics": np.diag([1, -2, 1])}, "focal length fy is -2.0"),
        ({"intrinsics": np.diag([np.nan, 1, 1])}, "K must be finite"),
        ({"intrinsics": np.diag([1, np.inf, 1])}, "K must be finite"),
        ({"intrinsics": np.ones((3, 3))}, "K must be upper triangular"),
        (
            {"rig_from_camera": np.eye(3)},
            r"rig_from_camera of camera 'c': must have shape \(4, 4\)",
        ),
        ({"rig_from_camera": 2 * np.eye(4)}, "must be a rotation and a translation"),
        ({"rig_from_camera": np.diag([1, 1, -1, 1])}, "must be a rotation and a translation"),
        ({"rig_from_camera": np.full((4, 4), np.nan)}, "must be a rotation and a translation"),
    ],
)
def test_wrong_cameras(fields, said):
    with pytest.raises(ValueError, match=said):
        Camera(**{"name": "c", "width": 640, "height": 480, "intrinsics": K, **fields})


def test_cameras_are_values():
    one, same = (Camera("c", 640, 480, K.copy(), LENS) for _ in range(2))
    assert one == same
    assert hash(one) == hash(same)
    assert one != Camera("c", 640, 480, K + np.diag([1, 0, 0]), LENS)
    assert pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(ValueError, match="read-only"):
        one.intrinsics[0, 0] = 3


def test_camera_from_rig_is_the_inverse():
    camera = Camera("c", 640, 480, K, rig_from_camera=posed([0.1, 0.2, 0.3], [1, 2, 3]))
    np.testing.assert_allclose(
        camera.camera_from_rig @ camera.rig_from_camera, np.eye(4), atol=1e-15
    )


def test_skew_is_projected_and_taken_out():
    skewed = K + np.array([[0, 25, 0], [0, 0, 0], [0, 0, 0]])
    camera = Camera("c", 640, 480, skewed, LENS)
    points = np.array([[0.2, -0.1, 1.1], [-0.3, 0.25, 0.9]])
    pixels, jacobian, valid = camera.project_with_jacobian(points)
    straight = Camera("c", 640, 480, K, LENS)
    expected = straight.project(points)[0]
    expected[:, 0] += 25 * (expected[:, 1] - 238) / 610
    np.testing.assert_allclose(pixels, expected, rtol=1e-14)
    assert valid.all()
    numeric = (camera.project(points + np.array([0, 1e-6, 0]))[0] - pixels) / 1e-6
    np.testing.assert_allclose(jacobian[..., 1], numeric, rtol=1e-4, atol=1e-3)
    normalised, _ = camera.undistort(pixels)
    np.testing.assert_allclose(normalised, points[:, :2] / points[:, 2:], atol=1e-10)


def test_contains_knows_the_borders_of_pixels():
    camera = pinhole(4, 3, 1.0)
    inside = camera.contains([[-0.5, -0.5], [3.5, 2.5], [3.6, 0], [0, -0.6], [np.nan, 0]])
    np.testing.assert_array_equal(inside, [True, True, False, False, False])


def test_cropping_moves_pixels():
    camera = Camera("c", 640, 480, K, LENS)
    point = [0.1, 0.05, 1.0]
    window = camera.cropped(100, 50, 200, 150)
    assert (window.width, window.height) == (200, 150)
    np.testing.assert_allclose(window.project(point)[0], camera.project(point)[0] - [100, 50])


def test_scaling_keeps_the_corners_of_the_image():
    camera = Camera("c", 640, 480, K, LENS)
    small = camera.scaled(320, 120)
    corners, _ = camera.unproject([[-0.5, -0.5], [639.5, 479.5]])
    np.testing.assert_allclose(small.project(corners)[0], [[-0.5, -0.5], [319.5, 119.5]], atol=1e-9)


def test_pinhole_has_the_field_of_view():
    camera = pinhole(640, 480, np.deg2rad(60))
    rays, _ = camera.unproject([[-0.5, 239.5], [639.5, 239.5]])
    assert np.isclose(np.rad2deg(np.arccos(rays[0] @ rays[1])), 60)
    for angle in (0, np.pi, -1, np.nan):
        with pytest.raises(ValueError, match="horizontal_fov is"):
            pinhole(640, 480, angle)


def test_binned_pixels_have_the_centre_of_what_they_cover():
    values = ("c", 641, 480, "plumb_bob", LENS.coefficients, K)
    full, binned = camera_from_values(*values), camera_from_values(*values, binning=(2, 3))
    assert (binned.width, binned.height) == (320, 160)
    rays, _ = full.unproject([[10, 30], [11, 32]])
    centre = rays / rays[:, 2:]
    between, _ = binned.project(centre)
    # Sensor pixels 10 and 11, 30 to 32 make up the binned pixel (5, 10).
    np.testing.assert_allclose(between.mean(axis=0), [5, 10], atol=1e-9)


def test_region_of_interest_is_cut_before_binning():
    values = ("c", 640, 480, "plumb_bob", LENS.coefficients, K)
    camera = camera_from_values(*values, binning=(2, 2), roi=(100, 60, 200, 120))
    assert (camera.width, camera.height) == (100, 60)
    ray, _ = camera_from_values(*values).unproject([100 - 0.5, 60 - 0.5])
    np.testing.assert_allclose(camera.project(ray)[0], [-0.5, -0.5], atol=1e-9)
    # An offset alone means the rest of the image.
    rest = camera_from_values(*values, roi=(100, 60, 0, 0))
    assert (rest.width, rest.height) == (540, 420)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"roi": (600, 0, 100, 100)}, "roi of camera 'c' is x=600 y=0 100x100, outside the image"),
        ({"roi": (-1, 0, 100, 100)}, "roi of camera 'c'"),
        ({"binning": (-1, 1)}, "binning of camera 'c'"),
        ({"binning": (1, 1000)}, "more than 640 x 480 pixels"),
        ({"k": np.zeros(9)}, "focal length fx is 0.0"),
        ({"k": np.zeros(4)}, "K of camera 'c' must have 9 values, got 4"),
        ({"distortion_model": "mystery"}, "distortion_model is 'mystery'"),
    ],
)
def test_wrong_camera_info_values(fields, said):
    values = {"distortion_model": "plumb_bob", "d": LENS.coefficients, "k": K}
    with pytest.raises(ValueError, match=said):
        camera_from_values("c", 640, 480, **{**values, **fields})


def test_camera_info_messages_round_trip():
    pose = posed([0.3, 0, 0], [0, 1, 2])
    camera = Camera("left", 640, 480, K, LENS, pose, "left_optical_frame")
    message = SimpleNamespace(
        **info_values(camera),
        header=SimpleNamespace(frame_id="left_optical_frame"),
        roi=SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0),
    )
    assert camera_from_info(message, "left", pose) == camera
    undistorted = info_values(Camera("c", 640, 480, K))
    np.testing.assert_array_equal(undistorted["d"], np.zeros(5))
    np.testing.assert_array_equal(undistorted["p"].reshape(3, 4)[:, :3], K)


def ring(count: int, lens: Lens = LENS) -> Rig:
    """Cameras on a circle of 1 m that look at its centre."""
    cameras = []
    for index, angle in enumerate(np.linspace(-0.8, 0.8, count)):
        backwards = np.array([np.sin(angle), 0, -np.cos(angle)])
        pose = posed([0, -angle, 0], backwards)
        cameras.append(Camera(f"camera{index}", 640, 480, K, lens, pose))
    return Rig(tuple(cameras))


def views_of(rig: Rig, points: np.ndarray) -> dict[str, np.ndarray]:
    return {c.name: c.project(rigid.apply(c.camera_from_rig, points))[0] for c in rig}


def test_rig_knows_its_cameras():
    rig = ring(3)
    assert rig.names == ("camera0", "camera1", "camera2")
    assert [camera.name for camera in rig] == list(rig.names)
    assert len(rig) == 3
    np.testing.assert_array_equal(rig.rig_from_camera("camera2"), rig["camera2"].rig_from_camera)
    with pytest.raises(KeyError, match="no camera 'x'; the rig has camera0, camera1, camera2"):
        rig["x"]
    with pytest.raises(ValueError, match=r"twice: \['camera0'\]"):
        Rig((*rig.cameras, rig["camera0"]))
    with pytest.raises(ValueError, match="cameras is empty"):
        Rig(())


@pytest.mark.parametrize("lens", [LENS, Lens(), Lens("equidistant", [0.01, -0.02, 0.003, 0.0])])
def test_triangulation_finds_the_points(lens):
    rig = ring(4, lens)
    points = np.random.default_rng(1).uniform(-0.2, 0.2, (50, 3))
    np.testing.assert_allclose(rig.triangulate(views_of(rig, points)), points, atol=1e-9)


def test_triangulation_minimises_the_reprojection_error():
    rig = ring(4)
    rng = np.random.default_rng(2)
    points = rng.uniform(-0.2, 0.2, (200, 3))
    noisy = {
        name: seen + rng.normal(0, 1, seen.shape) for name, seen in views_of(rig, points).items()
    }

    def cost(estimate):
        errors = [views_of(rig, estimate)[name] - noisy[name] for name in rig.names]
        return (np.array(errors) ** 2).sum(axis=(0, 2))

    found = rig.triangulate(noisy)
    at_minimum = cost(found)
    for offset in 1e-5 * np.concatenate([np.eye(3), -np.eye(3)]):
        assert (cost(found + offset) >= at_minimum).all()


def test_what_cannot_be_triangulated_is_nan():
    rig = ring(3)
    views = views_of(rig, np.tile([0.05, 0.02, 0.01], (3, 1)))
    views["camera0"][1] = views["camera1"][1] = np.nan
    views["camera0"][2] = np.nan
    found = rig.triangulate(views)
    np.testing.assert_array_equal(np.isfinite(found).all(axis=1), [True, False, True])
    one = {"camera0": views["camera0"]}
    assert np.isnan(rig.triangulate(one)).all()
    # Two cameras at the same place see the same ray.
    twins = Rig((rig.cameras[0], Camera("twin", 640, 480, K, LENS, rig.cameras[0].rig_from_camera)))
    assert np.isnan(twins.triangulate(views_of(twins, np.zeros((2, 3))))).all()
    # The left camera looks to the left, the right one to the right: the rays meet behind them.
    right = pinhole(640, 480, 1.0, "right").moved(posed([0, 0, 0], [1, 0, 0]))
    beside = Rig((pinhole(640, 480, 1.0, "left"), right))
    apart = {"left": np.array([[100.0, 238.0]]), "right": np.array([[500.0, 238.0]])}
    assert np.isnan(beside.triangulate(apart)).all()
    with pytest.raises(ValueError, match="pixels differ in shape"):
        rig.triangulate({"camera0": np.zeros((2, 2)), "camera1": np.zeros((3, 2))})
