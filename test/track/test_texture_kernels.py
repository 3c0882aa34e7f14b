"""Compiled loops against what they compute, said with numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree
from textured_world import TexturedHead

from flowface_ros.align.embedding import parted_positions
from flowface_ros.head.atlas import texel_grid
from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.model import HeadModel
from flowface_ros.head.state import HeadState, Unknowns, retract
from flowface_ros.rigid import apply, rotation_from_rotvec
from flowface_ros.track import texture_kernels as kernels
from flowface_ros.track.texture_alignment import Smoother


@pytest.fixture(scope="module")
def head(model: HeadModel) -> TexturedHead:
    return TexturedHead(model, 20)


def posed(head: TexturedHead) -> HeadState:
    """A head that is turned, speaks and smiles."""
    step = np.random.default_rng(0).normal(0, 0.1, 12 + head.model.expression_count)
    expressions = tuple(range(head.model.expression_count))
    unknowns = Unknowns(pose=True, neck=True, jaw=True, expression=expressions)
    return retract(head.turned(0.2), unknowns, step)


def test_motions_are_differences_of_projections(head: TexturedHead) -> None:
    state, skin, camera = posed(head), head.skin, head.camera
    crop = head.crop(head.turned(0.2))
    view = skin.view(camera, crop, state)
    assert view is not None
    everywhere = SurfaceEvaluator(head.model, head.points)
    expressions = tuple(range(head.model.expression_count))
    unknowns = Unknowns(pose=True, jaw=True, expression=expressions)
    sizes = [0.005] * 3 + [0.03] * 3 + [0.05] * 3 + [0.15] * len(expressions)

    def places(moved: HeadState) -> np.ndarray:
        points = apply(camera.camera_from_rig, everywhere.positions(moved))
        return crop.to_crop(camera.project(points)[0])

    assert view.places == pytest.approx(places(state)[skin.rows], abs=1e-4)
    for motion, size in enumerate(sizes):
        step = np.zeros(unknowns.size)
        step[motion] = 1e-4 * size
        ends = [places(retract(state, unknowns, sign * step)) for sign in (1, -1)]
        slopes = (ends[0] - ends[1]) / 2e-4
        assert view.motions[:, :, motion] == pytest.approx(slopes[skin.rows], abs=1e-3)
        if motion < 6:
            assert view.other_motions[:, :, motion] == pytest.approx(slopes[skin.others], abs=1e-3)


def test_skin_is_posed_once_for_all_views_and_anew_for_another_face(head: TexturedHead) -> None:
    state, crop = posed(head), head.crop(head.turned(0.2))
    turned = replace(state, rotation=head.turned(-0.2).rotation)
    first, other, again, aside = (
        head.skin.view(head.camera, crop, s) for s in (state, head.turned(0.2), state, turned)
    )
    assert first is not None and other is not None and again is not None and aside is not None
    assert np.array_equal(first.places, again.places)
    assert np.abs(first.places - other.places).max() > 1
    assert head.skin._pose(state) is head.skin._pose(turned)
    assert head.skin._pose(state) is not head.skin._pose(head.turned(0.2))


def test_what_is_compared_lies_between_the_points(head: TexturedHead) -> None:
    """On the skin, and never between two lids or lips."""
    between, model = head.skin.between, head.model
    face = head.points[head.skin.rows].interpolate(model.triangles, model.template)
    fine = texel_grid(model, 2 * 20).points.interpolate(model.triangles, model.template)
    places = between.spread(face)
    assert len(places) > 2 * len(face)
    off, _ = cKDTree(fine).query(places)
    assert np.median(off) < 0.0015 and off.max() < 0.008  # texels are some 11 mm wide
    assert between.shares.sum(axis=1) == pytest.approx(1, abs=1e-6)
    parted = parted_positions(model, head.points[head.skin.rows])[between.rows]
    size = np.ptp(parted, axis=1).max(axis=1)
    assert size.max() < 4 * np.median(size)


def test_means_between_points_are_sums_over_four() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(30, 5)).astype(np.float32)
    rows = rng.integers(0, 30, (50, 4)).astype(np.uint32)
    shares = rng.uniform(size=(50, 4)).astype(np.float32)
    out = np.empty((50, 5), np.float32)
    kernels.spread(rows, shares, values, out)
    assert out == pytest.approx((shares[..., None] * values[rows]).sum(axis=1), abs=1e-5)
    back, given = np.zeros((30, 5), np.float32), np.zeros((30, 5))
    kernels.gather(rows, shares, out, back)
    np.add.at(given, rows, shares[..., None] * out[:, None])
    assert back == pytest.approx(given, abs=1e-4)


def test_samples_are_bilinear_and_the_border_goes_on() -> None:
    rng = np.random.default_rng(0)
    picture = rng.normal(size=(20, 30)).astype(np.float32)
    places = rng.uniform(-5, 35, (500, 2)).astype(np.float32)
    places[:3] = [[0, 0], [29, 19], [28.5, 18.5]]
    out = np.empty(500, np.float32)
    kernels.sample(picture, places, out)
    expected = map_coordinates(picture, places[:, ::-1].T, order=1, mode="nearest")
    assert out == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("columns", [4, 8])
def test_sums_over_the_neighbourhood(columns: int) -> None:
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 0.1, (200, 3))
    values = rng.normal(size=(200, columns)).astype(np.float32)
    smoother = Smoother(places, 0.02)
    start, node, weight = smoother._near
    dense = np.zeros((200, node.max() + 1))
    dense[np.repeat(np.arange(200), np.diff(start)), node] = weight
    assert (dense > 0).mean() < 0.9
    for _ in range(2):
        assert smoother(values) == pytest.approx(dense @ (dense.T @ values), rel=1e-4, abs=1e-4)


def test_weights_are_those_of_a_robust_mean() -> None:
    rng = np.random.default_rng(0)
    known = (rng.uniform(size=(300, 4)) < 0.7).astype(np.float32)
    known[:, 3] = 0
    difference = (rng.normal(size=(300, 4)) * [1, 5, 20, 5]).astype(np.float32) * known
    difference[:20] *= 30
    smooth = rng.normal(size=(300, 4)).astype(np.float32)
    weight, pull = np.empty((2, 300), np.float32)
    tuning = np.float32(3), np.float32(1.5), np.float32(0.2)
    kernels.weigh(difference, smooth, known, *tuning, weight, pull)
    expected, pulled = np.zeros(300), np.zeros(300)
    for column in range(3):
        rows = known[:, column] > 0
        d = (difference - smooth)[rows, column].astype(np.float64)
        sigma = max(3.0, 1.5 * np.median(np.abs(d)))
        weights = 0.2 / (sigma * (1 + (d / (2 * sigma)) ** 2)) ** 2
        expected[rows] += weights
        pulled[rows] += weights * d
    assert weight == pytest.approx(expected, rel=1e-4)
    assert pull == pytest.approx(pulled, rel=1e-3, abs=1e-6)


def test_differences_are_of_what_both_see() -> None:
    rng = np.random.default_rng(0)
    picture = rng.normal(size=(20, 20)).astype(np.float32)
    places = rng.uniform(0, 19, (50, 2)).astype(np.float32)
    told = rng.normal(size=(50, 4)).astype(np.float32)
    known = (rng.uniform(size=(50, 4)) < 0.5).astype(np.float32)
    value, out = np.empty(50, np.float32), np.empty((50, 4), np.float32)
    kernels.sample(picture, places, value)
    kernels.compare(picture, places, told, known, out)
    assert out == pytest.approx((value[:, None] - told) * known, abs=1e-6)


def test_what_places_say_is_handed_to_the_points_around_them() -> None:
    rng = np.random.default_rng(0)
    slopes = rng.normal(size=(2, 20, 20)).astype(np.float32)
    places = rng.uniform(0, 19, (200, 2)).astype(np.float32)
    rows = rng.integers(0, 30, (200, 4)).astype(np.uint32)
    shares = rng.dirichlet(np.ones(4), 200).astype(np.float32)
    weight, pull = rng.uniform(0, 1, (2, 200)).astype(np.float32)
    weight[:10] = pull[:10] = 0
    information, force = np.empty((30, 3), np.float32), np.empty((30, 2), np.float32)
    of_place = rows, shares
    kernels.inform(slopes[0], slopes[1], places, weight, pull, *of_place, information, force)
    gradient = np.empty((200, 2), np.float32)
    kernels.sample(slopes[0], places, gradient[:, 0])
    kernels.sample(slopes[1], places, gradient[:, 1])
    squared = weight[:, None, None] * gradient[:, :, None] * gradient[:, None]
    expected = np.zeros((30, 2, 2))
    np.add.at(expected, rows, shares[..., None, None] * squared[:, None])
    assert information == pytest.approx(expected.reshape(30, 4)[:, [0, 1, 3]], abs=1e-4)
    moves = rng.normal(size=(30, 2, 7)).astype(np.float32)
    of_places = (shares[..., None, None] * moves[rows]).sum(axis=1)
    slope = np.einsum("q,qi,qim->m", pull, gradient, of_places)
    assert np.einsum("ni,nim->m", force, moves) == pytest.approx(slope, abs=1e-3)
    whitened = np.empty_like(moves)
    kernels.whiten(information, moves, whitened)
    normal = np.einsum("nim,nij,njk->mk", moves, expected, moves)
    assert np.einsum("nim,nik->mk", whitened, whitened) == pytest.approx(normal, abs=1e-2)


def test_points_are_scaled_each_by_its_factor() -> None:
    rng = np.random.default_rng(0)
    moves, factor = rng.normal(size=(30, 2, 7)).astype(np.float32), np.arange(30, dtype=np.float32)
    scaled = np.empty_like(moves)
    kernels.scale(moves, factor, scaled)
    assert scaled == pytest.approx(moves * factor[:, None, None], rel=1e-6)


def test_cosines_are_those_between_the_skin_and_the_eye() -> None:
    rng = np.random.default_rng(0)
    points, normals = rng.normal(size=(2, 50, 3))
    eye, skull = rng.normal(size=3), rotation_from_rotvec([0.1, 0.4, -0.2])
    cosines = np.empty(50)
    kernels.facing(points, normals, eye, skull, cosines)
    away = (eye - points) / np.linalg.norm(eye - points, axis=1, keepdims=True)
    assert cosines == pytest.approx(((normals @ skull.T) * away).sum(axis=1))
