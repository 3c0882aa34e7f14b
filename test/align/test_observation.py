from __future__ import annotations

import numpy as np
import pytest

from flowface_ros.align.crop import make_crop
from flowface_ros.align.observation import Observation, observation_from_crop
from flowface_ros.head.surface import SurfacePoints


def surface(count: int) -> SurfacePoints:
    return SurfacePoints(np.arange(count, dtype=np.int32), np.tile([1.0, 0.0, 0.0], (count, 1)))


def test_keeps_float64_and_slices() -> None:
    pixels = np.arange(6, dtype=np.float32).reshape(3, 2)
    observation = Observation(surface(3), pixels, np.ones(3), "left", 7)
    assert observation.pixels.dtype == np.float64
    part = observation[np.array([2, 0])]
    assert len(part) == 2
    assert part.points.triangle.tolist() == [2, 0]
    np.testing.assert_array_equal(part.pixels, pixels[[2, 0]])
    assert (part.camera, part.stamp_ns) == ("left", 7)


def test_what_holds_arrays_is_equal_to_itself_only() -> None:
    crops = [make_crop((1.0, 2.0), 3.0, 0.0, 4) for _ in range(2)]
    seen = [Observation(surface(3), np.zeros((3, 2)), np.ones(3), "left", 7) for _ in range(2)]
    for first, second in (crops, seen):
        assert first == first
        assert first != second
        assert len({first, second}) == 2


@pytest.mark.parametrize(
    ("pixels", "sigma", "message"),
    [
        (np.zeros((2, 2)), np.ones(3), "pixels"),
        (np.zeros((3, 3)), np.ones(3), "pixels"),
        (np.zeros((3, 2)), np.ones(2), "sigma"),
        (np.zeros((3, 2)), np.ones((3, 1)), "sigma"),
        (np.array([[0, 0], [0, np.nan], [0, 0]]), np.ones(3), "pixels"),
        (np.zeros((3, 2)), np.array([1, 0, 1]), "sigma"),
        (np.zeros((3, 2)), np.array([1, np.inf, 1]), "sigma"),
        (np.zeros((3, 2)), np.array([1, np.nan, 1]), "sigma"),
    ],
)
def test_bad_values_raise(pixels: np.ndarray, sigma: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Observation(surface(3), pixels, sigma, "left", 0)


def test_from_crop_maps_positions_and_sigma() -> None:
    crop = make_crop((100.0, 80.0), 512.0, 0.3, 256)
    places = np.array([[127.5, 127.5], [200.0, 10.0], [0.0, 0.0]])
    observation = observation_from_crop(surface(3), places, np.full(3, 2.0), crop, (640, 480))
    np.testing.assert_allclose(observation.pixels[0], [100, 80])
    np.testing.assert_allclose(observation.pixels, crop.to_image(places))
    assert observation.sigma[0] == pytest.approx(4.0)
    assert (observation.pixels[2] < 0).any()
    assert observation.sigma[2] > 50


def test_from_crop_leaves_out_what_is_not_finite() -> None:
    crop = make_crop((100.0, 80.0), 256.0, 0.0, 256)
    places = np.array([[1.0, 1.0], [np.nan, 1.0], [2.0, 2.0]])
    sigma = np.array([1.0, 1.0, np.inf])
    observation = observation_from_crop(surface(3), places, sigma, crop, (640, 480))
    assert observation.points.triangle.tolist() == [0]
    with pytest.raises(ValueError, match="finite"):
        observation_from_crop(surface(3), places, np.full(3, np.nan), crop, (640, 480))
