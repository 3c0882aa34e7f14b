"""The built-in head's atlas and landmarks."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from flowface_ros.head.model import HeadModel
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.synth.render.raster import rasterize

MODEL = load_builtin_head()


def test_every_atlas_triangle_turns_the_same_way() -> None:
    corners = MODEL.uv[MODEL.uv_triangles].astype(float)
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    assert (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0] < 0).all()
    assert (MODEL.uv >= 0).all()
    assert (MODEL.uv <= 1).all()


def coverage(model: HeadModel, triangles: NDArray, size: int = 1024) -> float:
    pixels = np.column_stack([model.uv * size - 0.5, np.ones(len(model.uv))])
    return float((rasterize(pixels, triangles, size, size).triangle >= 0).mean())


def test_atlas_does_not_overlap_and_the_face_has_half_of_it() -> None:
    corners = MODEL.uv[MODEL.uv_triangles].astype(float)
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]).sum() / 2
    assert coverage(MODEL, MODEL.uv_triangles) == pytest.approx(area, abs=0.002)
    inside = np.zeros(MODEL.vertex_count, bool)
    inside[MODEL.vertex_groups["face"]] = True
    assert coverage(MODEL, MODEL.uv_triangles[inside[MODEL.triangles].all(axis=1)]) > 0.5


def test_iris_is_where_the_documentation_says() -> None:
    for side, u in (("left", 0.932), ("right", 0.068)):
        uv = MODEL.landmarks[f"{side}_iris"].interpolate(MODEL.uv_triangles, MODEL.uv.astype(float))
        np.testing.assert_allclose(uv, [[u, 0.068]], atol=1e-6)


def test_landmarks_are_symmetric_and_in_order() -> None:
    points = MODEL.landmarks["ibug68"].interpolate(MODEL.triangles, MODEL.template.astype(float))
    swap = [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31]
    swap += [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    swap += [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
    np.testing.assert_allclose(points[swap] * [-1, 1, 1], points, atol=5e-4)
    assert points[0, 0] < 0 < points[16, 0]
    assert points[8, 1] < points[57, 1] < points[51, 1] < points[33, 1] < points[27, 1]
    assert points[37, 1] > points[41, 1]
