"""Ground truth: what hides a head, and which head is seen."""

from __future__ import annotations

import numpy as np

from flowface_ros.synth.render.raster import rasterize
from flowface_ros.synth.render.truth import resolve_truth

SIZE = 8


def two_heads() -> tuple[np.ndarray, np.ndarray]:
    """Two triangles at depths 2 and 1 m, of a head each; they overlap in the middle."""
    far = [[-1, -1, 2.0], [-1, 9, 2.0], [5, -1, 2.0]]
    near = [[9, -1, 1.0], [3, 9, 1.0], [9, 9, 1.0]]
    return np.array([*far, *near], np.float32), np.array([[0, 1, 2], [3, 4, 5]], np.int32)


def resolved(sample_triangle: np.ndarray, sample_inverse: np.ndarray):
    pixels, triangles = two_heads()
    seen = rasterize(pixels, triangles, SIZE, SIZE)
    triangle = seen.triangle.copy()
    inverse = np.where(triangle >= 0, 1 / seen.depth, 0).astype(np.float32)
    barycentric = np.empty((SIZE, SIZE, 3), np.float32)
    depth, face = np.empty((SIZE, SIZE), np.float32), np.empty((SIZE, SIZE), np.int32)
    resolve_truth(
        pixels, triangles, np.array([0, 1, 2]), sample_triangle, sample_inverse, inverse, triangle,
        barycentric, depth, face,
    )  # fmt: skip
    return seen, triangle, barycentric, depth, face


def test_uncovered_heads_are_as_rasterized():
    free = np.full((2 * SIZE, 2 * SIZE), -1, np.int32)
    seen, triangle, barycentric, depth, face = resolved(free, np.zeros(free.shape, np.float32))
    np.testing.assert_array_equal(face, seen.triangle)  # one triangle a head
    np.testing.assert_array_equal(triangle, np.where(seen.triangle >= 0, 0, -1))
    np.testing.assert_array_equal(barycentric, seen.barycentric)
    np.testing.assert_array_equal(depth, seen.depth)
    assert {-1, 0, 1} == set(np.unique(face))


def test_two_of_four_samples_hide_a_pixel():
    """Random things at random depths over every sample, against counting them."""
    rng = np.random.default_rng(0)
    cover = rng.choice(np.array([-1, 0, 1, 2, 7], np.int32), (2 * SIZE, 2 * SIZE))
    near = rng.choice(np.array([0.4, 0.8, 1.5], np.float32), cover.shape)
    seen, triangle, barycentric, depth, face = resolved(cover, near)
    own = np.where(np.isfinite(seen.depth), 1 / seen.depth, 0)
    blocks = [a.reshape(SIZE, 2, SIZE, 2).transpose(0, 2, 1, 3) for a in (cover, near)]
    before = (blocks[0] >= 2) & (blocks[1] > own[..., None, None])
    hidden = before.sum(axis=(2, 3)) >= 2
    assert 0.1 < hidden.mean() < 0.9
    np.testing.assert_array_equal(face, np.where(hidden, -1, seen.triangle))
    assert (triangle[hidden] == -1).all() and not barycentric[hidden].any()
    nearest = np.where(before, blocks[1], 0).max(axis=(2, 3))
    np.testing.assert_allclose(depth[hidden], 1 / nearest[hidden], rtol=1e-6)
    np.testing.assert_array_equal(depth[~hidden], seen.depth[~hidden])
