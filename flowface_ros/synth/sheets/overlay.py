"""Drawing a head on an image: the mesh with hidden lines removed, and points."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flowface_ros import rigid
from flowface_ros.camera.camera import Camera
from flowface_ros.head.model import HeadModel
from flowface_ros.synth.render import visibility

Image = NDArray[np.uint8]
Color = tuple[int, int, int]

_SHIFT = 4
"""Bits after the binary point of the coordinates that OpenCV draws: a sixteenth of a pixel."""

REGION_COLORS: dict[str, Color] = {
    "skin": (190, 200, 210),
    "neck": (140, 160, 190),
    "scalp": (150, 140, 210),
    "ears": (240, 170, 90),
    "face": (90, 220, 130),
    "eyelids": (250, 220, 80),
    "lips": (255, 100, 120),
    "mouth_cavity": (140, 40, 60),
    "tongue": (230, 90, 150),
    "teeth": (240, 240, 230),
    "left_eyeball": (80, 200, 255),
    "right_eyeball": (80, 200, 255),
}
"""RGB by vertex group; where groups overlap the later one holds."""


@dataclass(frozen=True, eq=False)
class Wireframe:
    """Edges of a triangle mesh, prepared once for drawing.

    triangles: (F, 3); edges: (E, 2) vertex indices; edge_color: (E,) rows of `palette`.
    edge_triangles: (E, 2) triangles at either side, twice the same at a border.
    """

    triangles: NDArray[np.int32]
    edges: NDArray[np.int32]
    edge_triangles: NDArray[np.int32]
    edge_color: NDArray[np.int32]
    palette: tuple[Color, ...]


def wireframe(model: HeadModel) -> Wireframe:
    """All edges of a head, coloured by region."""
    edges, sides = _edges(model.triangles)
    names = [name for name in REGION_COLORS if name in model.vertex_groups]
    region = np.zeros(model.vertex_count, np.int32)
    for row, name in enumerate(names, start=1):
        region[model.vertex_groups[name]] = row
    palette = (REGION_COLORS["skin"], *(REGION_COLORS[name] for name in names))
    # An edge between two regions takes the later one's colour.
    return Wireframe(model.triangles, edges, sides, region[edges].max(axis=1), palette)


def plain_wireframe(triangles: NDArray[np.int32]) -> Wireframe:
    """All edges of any mesh, in the face's colour."""
    edges, sides = _edges(triangles)
    return Wireframe(
        triangles, edges, sides, np.zeros(len(edges), np.int32), (REGION_COLORS["face"],)
    )


def _edges(triangles: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Edges (E, 2) of triangles (F, 3), and the triangles (E, 2) at either side."""
    corner = np.concatenate([triangles[:, [i, (i + 1) % 3]] for i in range(3)])
    owner = np.tile(np.arange(len(triangles), dtype=np.int32), 3)
    edges, inverse = np.unique(np.sort(corner, axis=1), axis=0, return_inverse=True)
    sides = np.zeros((len(edges), 2), np.int32)
    sides[inverse.reshape(-1)[::-1], 0] = owner[::-1]
    sides[inverse.reshape(-1), 1] = owner
    return edges.astype(np.int32), sides


def draw_mesh(
    image: Image,
    camera: Camera,
    vertices: NDArray[np.floating],
    mesh: Wireframe,
    opacity: float = 0.6,
) -> Image:
    """A copy of an RGB image (H, W, 3) with the visible edges of a mesh on it.

    vertices: (V, 3) metres in the rig frame.
    """
    pixels, edge_color = visible_lines(camera, vertices, mesh)
    lines = np.round(pixels * 2**_SHIFT).astype(np.int32)
    layer = image.copy()
    for row in np.unique(edge_color):
        cv2.polylines(
            layer,
            list(lines[edge_color == row]),
            isClosed=False,
            color=mesh.palette[row],
            thickness=1,
            lineType=cv2.LINE_AA,
            shift=_SHIFT,
        )
    return cv2.addWeighted(layer, opacity, image, 1 - opacity, 0)


def visible_lines(
    camera: Camera, vertices: NDArray[np.floating], mesh: Wireframe
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Ends (L, 2, 2), pixels, of the edges that the camera sees, and rows (L,) of the palette.

    vertices: (V, 3) metres in the rig frame.
    """
    depth_px = _projected(camera, vertices)
    shown = _visible_edges(depth_px, mesh, camera.width, camera.height)
    return depth_px[mesh.edges[shown], :2], mesh.edge_color[shown]


def visible_points(
    camera: Camera,
    points: NDArray[np.floating],
    vertices: NDArray[np.floating],
    mesh: Wireframe,
) -> NDArray[np.bool_]:
    """Which points (N, 3) the camera sees, that a mesh with vertices (V, 3) may hide; rig frame."""
    projected, hiding = _projected(camera, points), _projected(camera, vertices)
    return visibility.visible_points(projected, hiding, mesh.triangles, camera.width, camera.height)


def draw_points(
    image: Image,
    camera: Camera,
    points: NDArray[np.floating],
    color: Color = (255, 255, 255),
    radius_px: float = 1.5,
) -> Image:
    """A copy of an RGB image with points (N, 3), metres in the rig frame, as filled dots."""
    result = image.copy()
    for pixel in _projected(camera, points)[:, :2]:
        if np.isfinite(pixel).all():
            centre = _fixed_point(pixel)
            radius = round(radius_px * 2**_SHIFT)
            cv2.circle(result, centre, radius, color, -1, cv2.LINE_AA, _SHIFT)
    return result


def _fixed_point(pixel: NDArray[np.floating]) -> tuple[int, int]:
    x, y = np.round(pixel * 2**_SHIFT).astype(int)
    return int(x), int(y)


def _projected(camera: Camera, points_rig: NDArray[np.floating]) -> NDArray[np.float64]:
    """Pixels and depth (N, 3) of points (N, 3); NaN where the camera cannot see."""
    points = rigid.apply(camera.camera_from_rig, points_rig)
    pixels, _ = camera.project(points)
    return np.column_stack([pixels, points[:, 2]])


def _visible_edges(
    projected: NDArray[np.float64], mesh: Wireframe, width: int, height: int
) -> NDArray[np.bool_]:
    """Edges (E,) that face the camera and whose ends nothing hides."""
    visible = visibility.visible_points(projected, projected, mesh.triangles, width, height)
    a, b, c = (projected[mesh.triangles[:, i], :2] for i in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    # Counter-clockwise from outside is a negative area where y points down.
    facing = (area < 0)[mesh.edge_triangles].any(axis=1)
    ends = np.asarray(visible[mesh.edges].all(axis=1))
    return ends & facing
