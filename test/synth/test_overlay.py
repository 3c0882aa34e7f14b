"""Drawing meshes: lines where they project, none where something hides them."""

from __future__ import annotations

import numpy as np
import pytest

from flowface_ros.camera.camera import pinhole
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.rigid import rotation_from_rotvec
from flowface_ros.synth.sheets.contact_sheet import View, contact_sheet
from flowface_ros.synth.sheets.overlay import (
    Wireframe,
    draw_mesh,
    draw_points,
    visible_points,
    wireframe,
)

CAMERA = pinhole(160, 120, np.radians(60))
BLACK = np.zeros((120, 160, 3), np.uint8)


def square(depth: float, half: float) -> np.ndarray:
    return np.array(
        [[-half, -half, depth], [half, -half, depth], [half, half, depth], [-half, half, depth]]
    )


# Counter-clockwise seen from the camera, whose y axis points down.
TRIANGLES = np.array([[0, 2, 1], [0, 3, 2]], np.int32)
EDGES = np.array([[0, 1], [1, 2], [2, 3], [0, 3], [0, 2]], np.int32)
SIDES = np.array([[0, 0], [0, 0], [1, 1], [1, 1], [0, 1]], np.int32)
MESH = Wireframe(TRIANGLES, EDGES, SIDES, np.zeros(5, np.int32), ((255, 0, 0),))


def test_lines_lie_where_the_mesh_projects() -> None:
    drawn = draw_mesh(BLACK, CAMERA, square(1.0, 0.2), MESH, opacity=1.0)[..., 0].astype(float)
    (left, top), (right, bottom) = CAMERA.project([[-0.2, -0.2, 1.0], [0.2, 0.2, 1.0]])[0]
    rows = np.arange(120)
    middle = drawn[:, 70]
    upper = middle[: int(top) + 8]
    # The centre of a line's anti-aliased weight is the line, to a fraction of a pixel.
    assert (upper * rows[: len(upper)]).sum() / upper.sum() == pytest.approx(top, abs=0.15)
    assert drawn[: int(top) - 2].max() == 0
    assert drawn[:, : int(left) - 2].max() == 0
    assert drawn[int(bottom) + 4 :].max() == 0
    assert drawn[:, int(right) + 4 :].max() == 0


def test_back_of_a_mesh_is_not_drawn() -> None:
    turned = Wireframe(TRIANGLES[:, ::-1].copy(), EDGES, SIDES, MESH.edge_color, MESH.palette)
    np.testing.assert_array_equal(draw_mesh(BLACK, CAMERA, square(1.0, 0.2), turned), BLACK)


def test_hidden_part_of_a_mesh_is_not_drawn() -> None:
    two = Wireframe(
        np.vstack([TRIANGLES, TRIANGLES + 4]),
        np.vstack([EDGES, EDGES + 4]),
        np.vstack([SIDES, SIDES + 2]),
        np.repeat(np.array([0, 1], np.int32), 5),
        ((255, 0, 0), (0, 255, 0)),
    )
    vertices = np.vstack([square(1.0, 0.2), square(1.5, 0.1)])
    drawn = draw_mesh(BLACK, CAMERA, vertices, two)
    assert drawn[..., 0].max() > 0
    assert drawn[..., 1].max() == 0
    seen = visible_points(CAMERA, vertices, vertices, two)
    np.testing.assert_array_equal(seen, [True] * 4 + [False] * 4)


def test_behind_the_camera_and_outside_draw_nothing() -> None:
    for vertices in (
        square(-1.0, 0.2),
        square(1.0, 0.2) + np.array([5.0, 0, 0]),
        square(np.nan, 0.1),
    ):
        np.testing.assert_array_equal(draw_mesh(BLACK, CAMERA, vertices, MESH), BLACK)
        np.testing.assert_array_equal(draw_points(BLACK, CAMERA, vertices), BLACK)


def test_points_are_centred_on_their_projection() -> None:
    point = np.array([[0.013, -0.021, 1.0]])
    pixel = CAMERA.project(point)[0][0]
    drawn = draw_points(BLACK, CAMERA, point, radius_px=3.0)[..., 0].astype(float)
    rows, columns = np.mgrid[0:120, 0:160]
    centre = [(drawn * columns).sum() / drawn.sum(), (drawn * rows).sum() / drawn.sum()]
    np.testing.assert_allclose(centre, pixel, atol=0.1)


def test_input_image_is_left_alone() -> None:
    image = BLACK.copy()
    draw_mesh(image, CAMERA, square(1.0, 0.2), MESH)
    draw_points(image, CAMERA, square(1.0, 0.2))
    assert not image.any()


def test_head_wireframe_has_each_edge_once_with_its_triangles() -> None:
    model = load_builtin_head()
    mesh = wireframe(model)
    assert len(np.unique(np.sort(mesh.edges, axis=1), axis=0)) == len(mesh.edges)
    for side in range(2):
        owners = model.triangles[mesh.edge_triangles[:, side]]
        for end in range(2):
            assert (owners == mesh.edges[:, end, None]).any(axis=1).all()
    assert mesh.edge_color.max() < len(mesh.palette)


def test_contact_sheet_holds_all_views() -> None:
    model = load_builtin_head()
    facing = rotation_from_rotvec([np.pi, 0, 0])
    vertices = model.template @ facing.T + [0.0, 0.0, 0.8]
    view = View(BLACK, CAMERA, [vertices])
    sheet = contact_sheet(model, [[view, view], [view, View(BLACK, CAMERA, [])]], ["a", "b"])
    height, width = sheet.shape[0] // 2, sheet.shape[1] // 2
    quarters = [sheet[r * height :, c * width :][:height, :width] for r in (0, 1) for c in (0, 1)]
    coloured = [int((q.max(axis=2) - q.min(axis=2) > 40).sum()) for q in quarters]
    assert min(coloured[:3]) > 2000
    assert coloured[3] == 0


def test_contact_sheet_of_a_head_that_all_but_left_the_image() -> None:
    """One vertex of it is still there."""
    model = load_builtin_head()
    vertices = model.template + np.array([50.0, 0.0, 0.8])
    vertices[7] = (0.3, 0.1, 0.8)
    assert contact_sheet(model, [[View(BLACK, CAMERA, [vertices])]], ["a"]).size
