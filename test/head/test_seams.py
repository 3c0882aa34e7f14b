from __future__ import annotations

import numpy as np

from flowface_ros.head.atlas import uv_at_points, vertex_points
from flowface_ros.head.model import HeadModel
from flowface_ros.head.seams import atlas_triangles


def on_itself(
    model: HeadModel, on_atlas: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    known = np.ones(model.vertex_count, bool) if on_atlas is None else on_atlas
    template = model.template.astype(float)
    return atlas_triangles(model, template, vertex_points(model), model.triangles, known)


def test_a_head_on_itself_keeps_its_atlas_but_for_the_seams(builtin: HeadModel) -> None:
    uv, uv_triangles = on_itself(builtin)
    whole = np.ptp(uv_triangles, axis=1) > 0
    seam_free = (
        np.bincount(
            np.unique(np.stack([builtin.triangles.ravel(), builtin.uv_triangles.ravel()]), axis=1)[
                0
            ]
        )[builtin.triangles].max(axis=1)
        == 1
    )
    np.testing.assert_array_equal(whole[seam_free], True)
    own = builtin.uv[builtin.uv_triangles]
    np.testing.assert_allclose(uv[uv_triangles][seam_free], own[seam_free], atol=1e-7)
    # At a seam every vertex takes one side: the triangles of the other side shrink to points.
    gap = np.abs(uv[uv_triangles][whole] - own[whole]).max()
    assert gap < 0.05
    assert 0.9 < whole.mean() < 1


def test_a_triangle_with_a_corner_beside_the_atlas_shrinks(toy: HeadModel) -> None:
    on_atlas = np.ones(toy.vertex_count, bool)
    on_atlas[40] = False
    _, uv_triangles = on_itself(toy, on_atlas)
    shrunk = np.ptp(uv_triangles, axis=1) == 0
    np.testing.assert_array_equal(shrunk, (toy.triangles == 40).any(axis=1))


def test_a_triangle_over_a_seam_shrinks(toy: HeadModel) -> None:
    """The toy rolled up to a tube: its first and last columns meet, as at a seam."""
    angle = 2 * np.pi * np.asarray(toy.uv[:, 0], np.float64)
    tube = np.stack([np.cos(angle), 3 * toy.uv[:, 1], np.sin(angle)], axis=1) * 0.1
    places = vertex_points(toy, np.array([24, 36, 35, 25]))
    across, beside = [0, 1, 2], [0, 1, 3]
    triangles = np.array([across, beside], np.int32)
    uv, uv_triangles = atlas_triangles(toy, tube, places, triangles, np.ones(4, bool))
    np.testing.assert_allclose(uv, uv_at_points(toy, places))
    assert np.ptp(uv_triangles[0]) == 0
    assert uv_triangles[1].tolist() == beside
