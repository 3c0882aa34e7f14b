from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flowface_ros.align.crop import (
    Crop,
    check_image,
    crop_from_points,
    cut,
    distance_outside,
    make_crop,
)

WIDTH, HEIGHT = 640, 480

crops = st.builds(
    make_crop,
    st.tuples(st.floats(-200, 800), st.floats(-200, 700)),
    st.floats(1, 3000),
    st.floats(-np.pi, np.pi),
    st.sampled_from([128, 256]),
)


def blob(centre: NDArray, sigma: float, width: int = WIDTH, height: int = HEIGHT) -> NDArray:
    """A picture (H, W, 3) of one soft bright spot at a sub-pixel position."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    square = (x - centre[0]) ** 2 + (y - centre[1]) ** 2
    grey = 250 * np.exp(-square / (2 * sigma**2))
    return np.repeat(np.round(grey)[..., None], 3, axis=2).astype(np.uint8)


def centroid(image: NDArray) -> NDArray:
    weight = image[..., 0].astype(np.float64)
    y, x = np.indices(weight.shape)
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


@given(crops, st.tuples(st.floats(-500, 1000), st.floats(-500, 1000)))
def test_crop_and_picture_coordinates_are_inverse(crop: Crop, point: tuple) -> None:
    np.testing.assert_allclose(crop.to_image(crop.to_crop(point)), point, atol=1e-6)


def test_corners_of_an_upright_crop() -> None:
    crop = make_crop((100.0, 50.0), 20.0, 0.0, 10)
    # A square of 20 px around (100, 50) in 10 pixels: the first covers 90 to 92, centre 91.
    np.testing.assert_allclose(crop.to_image([[0, 0], [9, 9]]), [[91, 41], [109, 59]])
    np.testing.assert_allclose(crop.to_image([-0.5, -0.5]), [90, 40])


def test_roll_turns_x_towards_y() -> None:
    crop = make_crop((0.0, 0.0), 256.0, np.pi / 2, 256)
    along = crop.to_image([255.0, 127.5]) - crop.to_image([0.0, 127.5])
    np.testing.assert_allclose(along, [0, 255], atol=1e-9)
    assert crop.roll == pytest.approx(np.pi / 2)


@settings(deadline=None, max_examples=40)
@given(
    st.floats(0.3, 7),
    st.floats(-np.pi, np.pi),
    st.tuples(st.floats(0.35, 0.65), st.floats(0.35, 0.65)),
    st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2)),
)
def test_a_pattern_comes_back_where_it_was(
    scale: float, roll: float, place: tuple, shift: tuple
) -> None:
    side = 256 * scale
    centre = np.array(place) * [WIDTH, HEIGHT]
    crop = make_crop(centre + np.array(shift) * min(side, 300), side, roll, 256)
    # Wide enough to be sampled well in the crop, small enough to lie in both.
    sigma = max(4.0 * scale, 4.0)
    spot = centroid(cut(blob(centre, sigma), [crop])[0])
    error_crop = np.linalg.norm(spot - crop.to_crop(centre))
    assert error_crop * min(scale, 1.0) < 0.05


@pytest.mark.parametrize("scale", [2.0, 3.0, 4.0, 6.0])
def test_shrinking_does_not_alias(scale: float) -> None:
    stripes = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    stripes[:, ::2] = 200
    crop = make_crop((320.3, 240.1), 64 * scale, 0.1, 64)
    values = cut(stripes, [crop])[0].astype(int)
    assert abs(values.mean() - 100) < 2
    assert values.std() < 8


def test_grey_pictures_give_three_equal_channels() -> None:
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (60, 80), np.uint8)
    crop = make_crop((40, 30), 50.0, 0.3, 64)
    expected = cut(np.repeat(grey[..., None], 3, axis=2), [crop])
    np.testing.assert_array_equal(cut(grey, [crop]), expected)
    np.testing.assert_array_equal(cut(grey[..., None], [crop]), expected)


def test_views_in_memory_are_taken() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    crop = make_crop((40, 30), 50.0, 0.3, 64)
    expected = cut(image[::-1, :, ::-1].copy(), [crop])
    np.testing.assert_array_equal(cut(image[::-1, :, ::-1], [crop]), expected)


far_crops = st.builds(
    make_crop,
    st.tuples(st.floats(-1e12, 1e12), st.floats(-1e12, 1e12)),
    st.floats(1e-3, 1e15),
    st.floats(-np.pi, np.pi),
    st.just(64),
)


@settings(deadline=None, max_examples=60)
@given(crops | far_crops, st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_any_crop_of_any_picture(crop: Crop, size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 255, np.uint8)
    pixels = cut(image, [crop, crop])
    assert pixels.shape == (2, crop.size, crop.size, 3)
    y, x = np.indices((crop.size, crop.size))
    where = crop.to_image(np.stack([x, y], axis=-1))
    far = distance_outside(where, size[1], size[0]) > 4 * max(crop.scale, 1)
    assert (pixels[0][far] == 0).all()


@pytest.mark.parametrize("scale", [3e2, 1e4, 1e9])
def test_a_picture_smaller_than_a_pixel_of_the_crop_is_no_more_than_a_dot(scale: float) -> None:
    image = np.full((90, 300, 3), 255, np.uint8)
    pixels = cut(image, [make_crop((150, 45), 64 * scale, 0.3, 64)])[0]
    assert np.count_nonzero(pixels[..., 0]) <= 9


def test_beyond_the_border_is_black() -> None:
    image = np.full((100, 100, 3), 255, np.uint8)
    pixels = cut(image, [make_crop((99.5, 50), 64.0, 0.0, 64)])[0]
    assert (pixels[:, :30] == 255).all()
    assert (pixels[:, 34:] == 0).all()


def test_sigma_scales_and_grows_beyond_the_border() -> None:
    crop = make_crop((0.0, 50.0), 128.0, 0.0, 64)
    places = [[10.0, 50.0], [-1.0, 50.0], [-30.0, 50.0]]
    inside, near, far = crop.sigma_to_image(np.full(3, 1.5), places, 100, 100)
    assert inside == pytest.approx(3.0)
    assert near > 10
    assert far > near + 25


def test_distance_outside_known_answers() -> None:
    points = [[0, 0], [-0.5, 99.5], [-3.5, 50], [102.5, 103.5]]
    np.testing.assert_allclose(distance_outside(points, 100, 100), [0, 0, 3, 5])


@given(st.floats(-np.pi, np.pi), st.integers(0, 1000))
def test_crop_from_points_follows_a_turn(turn: float, seed: int) -> None:
    points = np.random.default_rng(seed).normal(0, 30, (20, 2))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    upright, turned = (
        crop_from_points(points, 0.0, 256),
        crop_from_points(points @ rotation.T, turn, 256),
    )
    np.testing.assert_allclose(
        upright.to_crop(points), turned.to_crop(points @ rotation.T), atol=1e-6
    )
    low, high = upright.to_crop(points).min(axis=0), upright.to_crop(points).max(axis=0)
    np.testing.assert_allclose((low + high) / 2, 127.5, atol=1e-6)
    assert (high - low).max() == pytest.approx(256 / 1.5)


def test_crop_from_points_ignores_what_is_not_finite() -> None:
    points = np.array([[0.0, 0.0], [10.0, 10.0], [np.nan, 1.0], [np.inf, 1.0]])
    crop = crop_from_points(points, 0.0, 64)
    np.testing.assert_allclose(
        crop.image_from_crop, crop_from_points(points[:2], 0.0, 64).image_from_crop
    )
    with pytest.raises(ValueError, match="finite"):
        crop_from_points(points[2:], 0.0, 64)


@pytest.mark.parametrize(
    "arguments",
    [((0, 0), 0.0, 0.0), ((0, 0), -1.0, 0.0), ((np.nan, 0), 5.0, 0.0), ((0, 0), 5.0, np.inf)],
)
def test_squares_that_are_none_raise(arguments: tuple) -> None:
    with pytest.raises(ValueError, match="not a square"):
        make_crop(*arguments, 64)


@pytest.mark.parametrize(
    "image",
    [
        None,
        [[1, 2]],
        np.zeros((4, 4, 3)),
        np.full((4, 4, 3), np.nan, np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4,), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 0), np.uint8),
    ],
)
def test_what_is_no_picture_raises(image: object) -> None:
    with pytest.raises(ValueError, match="image"):
        check_image(image)


def test_crops_of_several_sizes_raise() -> None:
    two = [make_crop((0, 0), 5.0, 0.0, size) for size in (32, 64)]
    for bad in (two, []):
        with pytest.raises(ValueError, match="sizes"):
            cut(np.zeros((4, 4, 3), np.uint8), bad)
