from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

from flowface_ros.head.normals import triangle_normals, vertex_normals


def test_a_sphere_has_radial_normals() -> None:
    points = np.random.default_rng(0).normal(size=(2000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    triangles = ConvexHull(points).simplices.astype(np.int32)
    outward = (
        np.einsum("fi,fi->f", triangle_normals(points, triangles), points[triangles[:, 0]]) > 0
    )
    triangles[~outward] = triangles[~outward][:, ::-1]
    cosines = np.einsum("vi,vi->v", vertex_normals(points, triangles), points)
    assert cosines.min() > 0.99


@given(st.integers(0, 10**6))
def test_vertex_normals_are_sums_over_the_triangles(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vertices, triangles = rng.normal(size=(12, 3)), rng.integers(0, 12, (20, 3)).astype(np.int32)
    expected = np.zeros((12, 3))
    for triangle, normal in zip(triangles, triangle_normals(vertices, triangles), strict=True):
        for corner in triangle:
            expected[corner] += normal
    lengths = np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(vertex_normals(vertices, triangles) * lengths, expected, atol=1e-12)


def test_a_triangle_normal_is_twice_the_area_and_right_handed() -> None:
    vertices = np.array([[0, 0, 0], [2, 0, 0], [0, 3, 0.0]])
    np.testing.assert_array_equal(triangle_normals(vertices, np.array([[0, 1, 2]])), [[0, 0, 6]])


def test_a_vertex_without_area_has_no_normal() -> None:
    normals = vertex_normals(np.eye(4, 3), np.array([[0, 1, 2]], np.int32))
    np.testing.assert_array_equal(normals[3], 0)
