from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowface_ros.synth.render.raster import interpolate, rasterize


def cast_rays(vertices: np.ndarray, triangles: np.ndarray, width: int, height: int):
    """Slow reference: intersect the ray of every pixel with every triangle of a pinhole camera
    with focal length 1 and principal point 0, so that (x, y, z) px is the point (x z, y z, z)."""
    points = np.column_stack([vertices[:, :2] * vertices[:, 2:], vertices[:, 2]]).astype(float)
    index = np.full((height, width), -1)
    depth = np.full((height, width), np.inf)
    weights = np.zeros((height, width, 3))
    for y in range(height):
        for x in range(width):
            for t, corners in enumerate(points[triangles]):
                if abs(np.linalg.det(corners)) < 1e-9:
                    continue
                w = np.linalg.solve(corners.T, np.array([x, y, 1.0]))
                if (w >= 0).all() and 1 / w.sum() < depth[y, x]:
                    index[y, x], depth[y, x], weights[y, x] = t, 1 / w.sum(), w / w.sum()
    return index, weights, depth


def random_soup(seed: int, count: int = 12, size: int = 24):
    rng = np.random.default_rng(seed)
    xy = rng.uniform(-6, size + 6, (3 * count, 2))
    z = rng.uniform(0.3, 3, (3 * count, 1))
    return np.hstack([xy, z]).astype(np.float32), np.arange(3 * count).reshape(-1, 3)


@pytest.mark.parametrize("seed", range(6))
def test_equals_ray_casting(seed):
    vertices, triangles = random_soup(seed)
    fragments = rasterize(vertices, triangles, 24, 20)
    index, weights, depth = cast_rays(vertices, triangles, 24, 20)
    same = fragments.triangle == index
    assert same.mean() > 0.995  # a pixel centre within 1/4096 px of an edge may go either way
    seen = same & (index >= 0)
    assert seen.sum() > 50
    np.testing.assert_allclose(fragments.barycentric[seen], weights[seen], atol=2e-4)
    np.testing.assert_allclose(fragments.depth[seen], depth[seen], rtol=2e-4)
    assert np.isinf(fragments.depth[fragments.triangle < 0]).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_shared_edges_are_drawn_once(seed, on_grid):
    """A fan around an inner point tiles a square: each pixel centre belongs to one triangle."""
    rng = np.random.default_rng(seed)
    centre = rng.integers(2, 14, 2) if on_grid else rng.uniform(2, 14, 2)
    t = np.sort(rng.uniform(0, 4, 9))
    t = np.round(t * 16) / 16 if on_grid else t
    t = np.unique(np.concatenate([t, np.arange(4)]))
    side, along = (t // 1).astype(int) % 4, (t % 1) * 16
    ring = np.stack([np.choose(side, [along, 16, 16 - along, 0]),
                     np.choose(side, [0, along, 16, 16 - along])], 1)  # fmt: skip
    vertices = np.column_stack([np.vstack([ring, centre]), np.ones(len(ring) + 1)])
    n = len(ring)
    count = np.zeros((17, 17), int)
    for i in range(n):
        triangle = np.array([[i, (i + 1) % n, n]])
        count += rasterize(vertices, triangle, 17, 17).triangle >= 0
    assert (count[1:-1, 1:-1] == 1).all()
    assert count.max() == 1
    # the top-left rule: the square owns its top and left border, not its bottom and right one
    assert (count[0, :-1] == 1).all() and (count[:-1, 0] == 1).all()
    assert not count[-1].any() and not count[:, -1].any()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([30, 2000, 100000]))
def test_coverage_is_exact(seed, reach):
    """Against whole numbers without bounds, for triangles that reach far out of the image."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(-reach * 4096, reach * 4096, (3, 2)).astype(np.float32)
    drawn = rasterize(
        np.column_stack([corners / np.float32(4096), np.ones(3)]), np.array([[0, 1, 2]]), 50, 30
    )
    (ax, ay), (bx, by), (cx, cy) = [[int(v) for v in corner] for corner in corners]
    if (bx - ax) * (cy - ay) < (cx - ax) * (by - ay):
        bx, by, cx, cy = cx, cy, bx, by
    inside = np.ones((30, 50), bool)
    for y in range(30):
        for x in range(50):
            for (px, py), (qx, qy) in (
                ((ax, ay), (bx, by)), ((bx, by), (cx, cy)), ((cx, cy), (ax, ay))
            ):  # fmt: skip
                edge = (qx - px) * (4096 * y - py) - (qy - py) * (4096 * x - px)
                owned = (qy == py and qx > px) or qy < py
                inside[y, x] &= edge > 0 or (edge == 0 and owned)
    np.testing.assert_array_equal(drawn.triangle == 0, inside)


def test_pixel_centres_are_integers():
    square = np.array([[2, 1, 1], [5, 1, 1], [5, 3, 1], [2, 3, 1]], np.float32) - [0.5, 0.5, 0]
    seen = rasterize(square, np.array([[0, 1, 2], [0, 2, 3]]), 8, 6).triangle >= 0
    assert np.argwhere(seen).tolist() == [[y, x] for y in (1, 2) for x in (2, 3, 4)]


def test_culling_keeps_faces_that_are_counter_clockwise_to_the_eye():
    up = np.array([[1, 8, 1], [8, 8, 1], [1, 1, 1]], np.float32)  # counter-clockwise, y down
    front, back = np.array([[0, 1, 2]]), np.array([[0, 2, 1]])
    drawn = rasterize(up, front, 9, 9).triangle
    assert (drawn >= 0).sum() > 10
    np.testing.assert_array_equal(drawn, rasterize(up, back, 9, 9).triangle)
    np.testing.assert_array_equal(drawn, rasterize(up, front, 9, 9, cull_back_faces=True).triangle)
    assert (rasterize(up, back, 9, 9, cull_back_faces=True).triangle < 0).all()


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_triangles_that_reach_behind_the_camera_are_skipped(bad):
    vertices = np.array([[0, 0, 1], [8, 0, 1], [0, 8, 1], [0, 8, bad]], np.float32)
    fragments = rasterize(vertices, np.array([[0, 1, 3]]), 8, 8)
    assert (fragments.triangle < 0).all()
    vertices[3] = [np.nan, np.nan, 1]
    assert (rasterize(vertices, np.array([[0, 1, 3]]), 8, 8).triangle < 0).all()
    vertices[3] = [1e9, 1e9, 1]
    assert (rasterize(vertices, np.array([[0, 1, 3]]), 8, 8).triangle < 0).all()


def test_equal_depth_goes_to_the_first_triangle():
    vertices = np.array([[0, 0, 1], [8, 0, 1], [0, 8, 1]], np.float32)
    drawn = rasterize(vertices, np.array([[0, 1, 2], [0, 1, 2]]), 8, 8).triangle
    assert drawn.max() == 0


def test_attributes_are_linear_in_space():
    vertices, triangles = random_soup(3)
    fragments = rasterize(vertices, triangles, 24, 20)
    points = np.column_stack([vertices[:, :2] * vertices[:, 2:], vertices[:, 2]])
    seen = fragments.triangle >= 0
    at = interpolate(fragments, triangles, points)
    y, x = np.nonzero(seen)
    np.testing.assert_allclose(at[seen, 0] / at[seen, 2], x, atol=5e-3)
    np.testing.assert_allclose(at[seen, 1] / at[seen, 2], y, atol=5e-3)
    np.testing.assert_allclose(at[seen, 2], fragments.depth[seen], rtol=1e-5)
    assert not at[~seen].any()


def test_nothing_to_draw():
    fragments = rasterize(np.zeros((0, 3)), np.zeros((0, 3), int), 5, 4)
    assert (fragments.triangle == -1).all() and fragments.triangle.shape == (4, 5)


@pytest.mark.parametrize(
    ("vertices", "triangles", "width", "word"),
    [
        (np.zeros((3, 2)), [[0, 1, 2]], 4, "vertices_px"),
        (np.zeros((3, 3)), [[0, 1]], 4, "triangles"),
        (np.zeros((3, 3)), [[0, 1, 3]], 4, "index 3 vertices"),
        (np.zeros((3, 3)), [[0, 1, -1]], 4, "index 3 vertices"),
        (np.zeros((3, 3)), [[0, 1, 2]], 0, "width"),
    ],
)
def test_bad_arguments_are_named(vertices, triangles, width, word):
    with pytest.raises(ValueError, match=word):
        rasterize(vertices, np.array(triangles), width, 4)
