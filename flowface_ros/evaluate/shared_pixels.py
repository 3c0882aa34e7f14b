"""Which surface points of two meshes lie under the same pixel, and where they go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from flowface_ros.camera.camera import Camera
from flowface_ros.evaluate.moving_mesh import MovingMesh, project_vertices
from flowface_ros.synth.render.raster import Fragments, rasterize

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SurfaceUnderPixels:
    """The point of one mesh under each of N pixels.

    triangle: (N,) rows of the mesh's triangles. corners: (N, 3) its vertices.
    weights: (N, 3) barycentric. place: (N, 2) where the point projects to, pixels.
    """

    triangle: NDArray[np.int32]
    corners: NDArray[np.int32]
    weights: Array
    place: Array


@dataclass(frozen=True, eq=False)
class SharedPixels:
    """N pixels of one frame that lie inside both visible meshes.

    true_triangle: true triangle under every pixel of the visible true mesh, shared or not.
    """

    truth: SurfaceUnderPixels
    prediction: SurfaceUnderPixels
    true_triangle: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Projected:
    """Both meshes at one moment: x px, y px, depth m (V, 3); None where there is no mesh."""

    truth: Array | None
    prediction: Array | None


class ProjectedMeshes:
    """Two meshes in one view over time; every frame is projected once."""

    def __init__(
        self, truth: MovingMesh, prediction: MovingMesh, cameras: Sequence[Camera]
    ) -> None:
        self._truth, self._prediction, self._cameras = truth, prediction, cameras
        self._frames: dict[int, Projected] = {}

    def at(self, frame: int) -> Projected:
        """Both meshes in a frame."""
        if frame not in self._frames:
            both = (self._truth.vertices[frame], self._prediction.vertices[frame])
            camera = self._cameras[frame]
            projected = (None if v is None else project_vertices(camera, v) for v in both)
            self._frames[frame] = Projected(*projected)
        return self._frames[frame]

    def forget(self, frame: int) -> None:
        """Free the memory of a frame."""
        self._frames.pop(frame, None)

    def shared_pixels(self, frame: int, judged: NDArray[np.bool_] | None = None) -> SharedPixels:
        """The pixels of a frame that lie inside both visible meshes.

        judged: (H, W) only these pixels.
        """
        now, camera = self.at(frame), self._cameras[frame]
        window = None if now.truth is None else _bounds(now.truth, camera)
        if now.truth is None or window is None:
            return SharedPixels(_NOTHING, _NOTHING, _NOTHING.triangle)
        true = _draw(now.truth, self._truth.triangles, window)
        inside = true.triangle >= 0
        if judged is not None:
            x, y, width, height = window
            inside &= judged[y : y + height, x : x + width]
        true_triangle = true.triangle[inside]
        if now.prediction is None:
            return SharedPixels(_NOTHING, _NOTHING, true_triangle)
        predicted = _draw(now.prediction, self._prediction.triangles, window)
        both = inside & (predicted.triangle >= 0)
        return SharedPixels(
            _under(true, both, self._truth.triangles, now.truth),
            _under(predicted, both, self._prediction.triangles, now.prediction),
            true_triangle,
        )


def covered_pixels(mesh: MovingMesh, cameras: Sequence[Camera]) -> list[NDArray[np.bool_]]:
    """(H, W) masks of the pixels that a mesh covers in each frame."""
    masks = []
    for vertices, camera in zip(mesh.vertices, cameras, strict=True):
        covered = np.zeros((camera.height, camera.width), bool)
        if vertices is not None:
            projected = project_vertices(camera, vertices)
            drawn = rasterize(projected, mesh.triangles, camera.width, camera.height)
            covered = drawn.triangle >= 0
        masks.append(covered)
    return masks


_NOTHING = SurfaceUnderPixels(
    np.zeros(0, np.int32), np.zeros((0, 3), np.int32), np.zeros((0, 3)), np.zeros((0, 2))
)


def _bounds(projected: Array, camera: Camera) -> tuple[int, int, int, int] | None:
    """x, y, width, height of the part of the image that a mesh can cover; None for none."""
    seen = projected[np.isfinite(projected).all(axis=1) & (projected[:, 2] > 0)]
    if not len(seen):
        return None
    size = (camera.width, camera.height)
    first = np.maximum(np.floor(seen[:, :2].min(axis=0)), 0).astype(int)
    last = np.minimum(np.ceil(seen[:, :2].max(axis=0)), np.array(size) - 1).astype(int)
    if (last < first).any():
        return None
    width, height = last - first + 1
    return int(first[0]), int(first[1]), int(width), int(height)


def _draw(
    projected: Array, triangles: NDArray[np.integer], window: tuple[int, int, int, int]
) -> Fragments:
    x, y, width, height = window
    # Taken off in float64: the renderer's float32 then has its precision at the face.
    return rasterize(projected - (x, y, 0), triangles, width, height)


def _under(
    fragments: Fragments,
    pixels: NDArray[np.bool_],
    triangles: NDArray[np.integer],
    projected: Array,
) -> SurfaceUnderPixels:
    triangle = fragments.triangle[pixels]
    corners = np.ascontiguousarray(triangles[triangle], np.int32)
    weights = fragments.barycentric[pixels].astype(np.float64)
    return SurfaceUnderPixels(triangle, corners, weights, carried(corners, weights, projected))


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _carry(corners, weights, n, projected):  # type: ignore[no-untyped-def]
    """Pixel of surface point n; NaN when a corner is behind the camera or not projected."""
    x, y, total = 0.0, 0.0, 0.0
    for k in range(3):
        v = corners[n, k]
        depth = projected[v, 2]
        if not depth > 0:
            return np.nan, np.nan
        weight = weights[n, k] * depth
        x += weight * projected[v, 0]
        y += weight * projected[v, 1]
        total += weight
    return x / total, y / total


@njit(nogil=True, cache=True, error_model="numpy")
def carried(corners, weights, projected):  # type: ignore[no-untyped-def]
    """Pixels (N, 2) of surface points, given by corners and weights (N, 3), of a mesh that is
    projected to x px, y px, depth m (V, 3): the projection of the point in space, not of the
    weighted pixels."""
    places = np.empty((len(corners), 2))
    for n in range(len(corners)):
        places[n, 0], places[n, 1] = _carry(corners, weights, n, projected)
    return places


@njit(nogil=True, cache=True, error_model="numpy")
def add_errors(  # type: ignore[no-untyped-def]
    true_corners,
    true_weights,
    true_place,
    true_later,
    predicted_corners,
    predicted_weights,
    predicted_place,
    predicted_later,
    label,
    error,
    count,
):
    """Add the end-point errors of N pixels to `error` and their number to `count`, by label (N,).

    Each side: corners and weights (N, 3), where the points are now (N, 2), the mesh later (V, 3).
    """
    for n in range(len(label)):
        true_x, true_y = _carry(true_corners, true_weights, n, true_later)
        x, y = _carry(predicted_corners, predicted_weights, n, predicted_later)
        dx = (true_x - true_place[n, 0]) - (x - predicted_place[n, 0])
        dy = (true_y - true_place[n, 1]) - (y - predicted_place[n, 1])
        distance = np.sqrt(dx * dx + dy * dy)
        if np.isfinite(distance):
            error[label[n]] += distance
            count[label[n]] += 1
