from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowface_ros.head.atlas import (
    points_at_uv,
    skin_triangles,
    texel_grid,
    texel_interpolation,
    uv_at_points,
    vertex_points,
)
from flowface_ros.head.model import HeadModel
from flowface_ros.head.surface import SurfacePoints


def with_skin(model: HeadModel, vertices: np.ndarray) -> HeadModel:
    return replace(model, vertex_groups={"skin": vertices})


def random_points(model: HeadModel, count: int, seed: int) -> SurfacePoints:
    rng = np.random.default_rng(seed)
    triangle = rng.integers(0, model.triangle_count, count).astype(np.int32)
    return SurfacePoints(triangle, rng.dirichlet([1, 1, 1], count))


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_a_place_in_the_atlas_leads_back_to_its_point(toy: HeadModel, seed: int) -> None:
    points = random_points(toy, 50, seed)
    again, found = points_at_uv(toy, uv_at_points(toy, points))
    assert found.all()
    before = points.interpolate(toy.triangles, toy.template)
    np.testing.assert_allclose(again.interpolate(toy.triangles, toy.template), before, atol=1e-8)


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_look_up_agrees_with_trying_every_triangle(toy: HeadModel, seed: int) -> None:
    places = np.random.default_rng(seed).uniform(-0.1, 1.1, (40, 2))
    _, found = points_at_uv(toy, places)
    corners = toy.uv[toy.uv_triangles].astype(float)
    for place, was_found in zip(places, found, strict=True):
        edges = np.roll(corners, -1, axis=1) - corners
        to_place = place - corners
        side = edges[..., 0] * to_place[..., 1] - edges[..., 1] * to_place[..., 0]
        inside = np.all(side >= 0, axis=1) | np.all(side <= 0, axis=1)
        assert inside.any() == was_found


def test_edges_and_corners_of_triangles_are_found(toy: HeadModel) -> None:
    _, found = points_at_uv(toy, toy.uv)
    assert found.all()
    _, found = points_at_uv(toy, toy.uv[toy.uv_triangles].astype(float).mean(axis=1))
    assert found.all()


def test_the_grid_holds_the_texels_in_rows(toy: HeadModel) -> None:
    grid = texel_grid(toy, 20)
    rows, columns = np.nonzero(grid.valid)
    assert len(grid.points) == grid.valid.sum() == 18 * 18
    expected = np.stack([(columns + 0.5) / 20, (rows + 0.5) / 20], axis=1)
    np.testing.assert_allclose(uv_at_points(toy, grid.points), expected, atol=1e-12)
    np.testing.assert_array_equal(grid.uv, expected)
    assert grid.index[rows[7], columns[7]] == 7
    image = grid.to_image(np.arange(len(grid.points)), fill=-1)
    np.testing.assert_array_equal(image, grid.index)


def test_the_grid_is_of_the_skin_alone(toy: HeadModel) -> None:
    upper = with_skin(toy, np.arange(60))
    assert set(skin_triangles(upper)) == set(np.flatnonzero((toy.triangles < 60).all(axis=1)))
    grid = texel_grid(upper, 20)
    assert not grid.valid[10:].any() and grid.valid[1:10, 1:19].all()


def test_a_grid_needs_a_skin_and_a_size(toy: HeadModel) -> None:
    with pytest.raises(ValueError, match="no vertex group 'skin'"):
        texel_grid(replace(toy, vertex_groups={}), 8)
    with pytest.raises(ValueError, match="size is 0"):
        texel_grid(toy, 0)


def test_interpolation_keeps_linear_values_inside(toy: HeadModel) -> None:
    grid = texel_grid(toy, 40)
    points = random_points(toy, 300, 3)
    matrix, known = texel_interpolation(toy, grid, points)
    assert matrix.shape == (300, len(grid.points)) and known.all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    uv = uv_at_points(toy, points)
    inner = np.all((uv > 0.09) & (uv < 0.91), axis=1)
    np.testing.assert_allclose((matrix @ grid.uv)[inner], uv[inner], atol=1e-12)


def test_a_point_far_from_every_texel_is_not_known(toy: HeadModel) -> None:
    grid = texel_grid(with_skin(toy, np.arange(36)), 40)
    matrix, known = texel_interpolation(toy, grid, vertex_points(toy))
    assert known[:24].all() and not known[60:].any()
    np.testing.assert_allclose(matrix.sum(axis=1), known)


def test_vertices_as_surface_points(toy: HeadModel) -> None:
    chosen = np.array([5, 0, 107])
    points = vertex_points(toy, chosen)
    np.testing.assert_array_equal(
        points.interpolate(toy.triangles, toy.template), toy.template[chosen]
    )
