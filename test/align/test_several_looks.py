"""Several looks at a face are the mean of one look each, and mirrored looks are put right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from flowface_ros.align.aligner import FaceAlignment, Picture, make_aligner
from flowface_ros.align.crop import Crop, cut, make_crop
from flowface_ros.align.landmark_errors import query_points
from flowface_ros.align.observation import Observation
from flowface_ros.align.onnx_session import Device
from flowface_ros.align.several_looks import SeveralLooks, mirror_rows, mirrored
from flowface_ros.head.atlas import TexelGrid, texel_grid
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.surface import SurfacePoints

MODEL = load_builtin_head()
GRID = texel_grid(MODEL, 16)
POINTS = query_points(MODEL, GRID)
PLACES = 40 * POINTS.interpolate(MODEL.triangles, MODEL.template)[:, :2] * [100, -100] / 10
CROP = make_crop((3.0, -2.0), 50.0, 0.3, 32)

Said = Callable[[Crop], tuple[NDArray, NDArray]]


@dataclass
class Scripted:
    """An aligner that says what a function of the crop says: crop pixels (N, 2), NaN of what it
    does not know, and sigma (N,)."""

    said: Said
    points: SurfacePoints = POINTS
    grid: TexelGrid = GRID
    crop_size: int = CROP.size
    device: Device | None = None
    asked: int = 0

    def align(
        self, pictures: Sequence[Picture], crops: Sequence[Sequence[Crop]]
    ) -> list[list[FaceAlignment]]:
        self.asked += sum(map(len, crops))
        return [[self._answer(p, c) for c in of] for p, of in zip(pictures, crops, strict=True)]

    def _answer(self, picture: Picture, crop: Crop) -> FaceAlignment:
        places, sigma = self.said(crop)
        known = np.isfinite(places[:, 0])
        pixels = crop.to_image(places)[known]
        observation = Observation(
            POINTS[known], pixels, sigma[known], picture.camera, picture.stamp_ns
        )
        return FaceAlignment(observation, 0.5, crop, np.zeros((2, 2, 3), np.uint8))


def _is_mirrored(crop: Crop) -> bool:
    return bool(np.linalg.det(crop.image_from_crop[:, :2]) < 0)


def _truthful(bias_px: tuple[float, float]) -> Said:
    """Says where the points are, off by so many crop pixels; a mirrored face is a face like any
    other to it, so the left half of it is called the right half."""

    def said(crop: Crop) -> tuple[NDArray, NDArray]:
        rows = mirror_rows(GRID, len(POINTS)) if _is_mirrored(crop) else np.arange(len(POINTS))
        return crop.to_crop(PLACES[rows]) + bias_px, np.ones(len(POINTS))

    return said


def _joined(said: Said, looks: int) -> FaceAlignment:
    picture = Picture(np.zeros((8, 8, 3), np.uint8), "left", 7)
    ((answer,),) = SeveralLooks(Scripted(said), looks).align([picture], [[CROP]])
    return answer


@pytest.mark.parametrize("looks", [2, 4, 8])
def test_what_every_look_says_is_said(looks: int) -> None:
    answer = _joined(_truthful((0.0, 0.0)), looks)
    np.testing.assert_allclose(answer.observation.pixels, PLACES, atol=1e-9)
    np.testing.assert_allclose(answer.observation.sigma, 1.0)
    assert (answer.observation.camera, answer.observation.stamp_ns) == ("left", 7)
    assert (answer.presence, answer.crop) == (0.5, CROP)


def test_a_bias_along_the_crops_rows_cancels() -> None:
    answer = _joined(_truthful((3.0, 0.0)), 2)
    np.testing.assert_allclose(answer.observation.pixels, PLACES, atol=1e-9)


def test_a_bias_along_its_columns_stays() -> None:
    answer = _joined(_truthful((0.0, 3.0)), 2)
    off = np.linalg.norm(answer.observation.pixels - PLACES, axis=1)
    np.testing.assert_allclose(off, 3 * CROP.scale)


def test_surer_looks_weigh_more() -> None:
    def said(crop: Crop) -> tuple[NDArray, NDArray]:
        places, sigma = _truthful((0.0, 0.0))(crop)
        wrong = _is_mirrored(crop)
        return places + np.array([0.0, 10.0 * wrong]), sigma * (3.0 if wrong else 1.0)

    answer = _joined(said, 2)
    off = np.linalg.norm(answer.observation.pixels - PLACES, axis=1)
    np.testing.assert_allclose(off, 10 * CROP.scale / (1 + 9))
    np.testing.assert_allclose(answer.observation.sigma, (1 * 9 + 3 * 1) / 10)


def test_the_picture_of_the_crop_is_kept_where_it_was_cut() -> None:
    assert _joined(_truthful((0.0, 0.0)), 2).pixels is not None
    assert _joined(_truthful((0.0, 0.0)), 8).pixels is None


@pytest.mark.parametrize("looks", [2, 8])
def test_where_a_look_lacks_points_the_first_one_stands(looks: int) -> None:
    def said(crop: Crop) -> tuple[NDArray, NDArray]:
        places, sigma = _truthful((0.0, 3.0))(crop)
        if _is_mirrored(crop):
            places[5] = np.nan
        return places, sigma

    answer = _joined(said, looks)
    assert len(answer.observation) == len(POINTS)
    off = np.linalg.norm(answer.observation.pixels - PLACES, axis=1)
    zoom = 1.0 if looks == 2 else 0.9
    np.testing.assert_allclose(off, 3 * zoom * CROP.scale)
    assert answer.crop is CROP
    assert (answer.pixels is None) == (looks == 8)


def test_faces_of_several_pictures_stay_apart() -> None:
    other = make_crop((40.0, 9.0), 60.0, -0.2, CROP.size)
    aligner = Scripted(lambda crop: (np.full((len(POINTS), 2), 5.0), np.ones(len(POINTS))))
    picture = Picture(np.zeros((8, 8, 3), np.uint8))
    answers = SeveralLooks(aligner, 8).align([picture, picture], [[CROP, other], [other]])
    assert [[a.crop for a in of] for of in answers] == [[CROP, other], [other]]
    assert aligner.asked == 24


@pytest.mark.parametrize("grid", [16, 48])
def test_mirror_rows_swap_the_sides_of_the_head(grid: int) -> None:
    texels = texel_grid(MODEL, grid)
    points = query_points(MODEL, texels)
    rows = mirror_rows(texels, len(points))
    np.testing.assert_array_equal(rows[rows], np.arange(len(points)))
    places = points.interpolate(MODEL.triangles, MODEL.template)
    np.testing.assert_allclose(places[rows] * [-1, 1, 1], places, atol=1e-3)


@given(st.floats(-3, 3), st.floats(5, 200), st.floats(-50, 50))
def test_a_mirrored_crop_shows_the_same_square(roll: float, side: float, x: float) -> None:
    crop = make_crop((x, 3.0), side, roll, 32)
    seen = mirrored(crop)
    places = np.array([[0.0, 0.0], [31.0, 4.0], [7.5, 31.0]])
    flipped = [31, 0] + places * [-1, 1]
    np.testing.assert_allclose(seen.to_image(flipped), crop.to_image(places), atol=1e-9)
    np.testing.assert_allclose(seen.to_crop(crop.to_image(places)), flipped, atol=1e-9)


def test_a_mirrored_crop_is_cut_with_its_columns_the_other_way_round() -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    crop = make_crop((25.0, 20.0), 32.0, 0.0, 32)
    plain, other = cut(image, [crop, mirrored(crop)])
    np.testing.assert_array_equal(other, plain[:, ::-1])


def test_other_numbers_of_looks_are_refused() -> None:
    with pytest.raises(ValueError, match="looks is 3, allowed are 1, 2, 4, 8"):
        make_aligner("landmarks", MODEL, device="cpu", looks=3)
    for looks in (0, 1, 3):
        with pytest.raises(ValueError, match=f"looks is {looks}, allowed are 2, 4, 8"):
            SeveralLooks(Scripted(_truthful((0.0, 0.0))), looks)


def test_looks_of_a_real_network_are_the_mean_of_its_answers() -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 255, (300, 300, 3), np.uint8)
    picture = Picture(image)
    crop = make_crop((150.0, 150.0), 200.0, 0.0, 256)
    aligner = make_aligner("network", MODEL, device="cpu")
    ((two,),) = make_aligner("network", MODEL, device="cpu", looks=2).align([picture], [[crop]])
    ((plain, turned),) = aligner.align([picture], [[crop, mirrored(crop)]])
    rows = mirror_rows(aligner.grid, len(aligner.points))
    a, b = plain.observation, turned.observation[rows]
    weight = (b.sigma**2 / (a.sigma**2 + b.sigma**2))[:, None]
    expected = weight * a.pixels + (1 - weight) * b.pixels
    np.testing.assert_allclose(two.observation.pixels, expected, atol=1e-4)
