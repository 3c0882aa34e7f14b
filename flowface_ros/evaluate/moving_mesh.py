"""A surface over time, and where a camera sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowface_ros import rigid
from flowface_ros.camera.camera import Camera


@dataclass(frozen=True, eq=False)
class MovingMesh:
    """One surface in T frames; any topology.

    triangles: (F, 3) vertex indices.
    vertices: T arrays (V, 3), metres in the rig frame; None where there is no mesh.

    Raises ValueError that names the frame and the shape that does not fit.
    """

    triangles: NDArray[np.integer]
    vertices: Sequence[NDArray[np.floating] | None]

    def __post_init__(self) -> None:
        triangles = np.ascontiguousarray(self.triangles, np.int32)
        if triangles.ndim != 2 or triangles.shape[1] != 3:
            raise ValueError(f"triangles must be (F, 3), got {triangles.shape}")
        object.__setattr__(self, "triangles", triangles)
        needed = int(triangles.max(initial=-1)) + 1
        for frame, vertices in enumerate(self.vertices):
            if vertices is None:
                continue
            if vertices.ndim != 2 or vertices.shape[1] != 3 or len(vertices) < needed:
                raise ValueError(
                    f"vertices of frame {frame} must be (V, 3) with V >= {needed}, "
                    f"got {vertices.shape}"
                )

    def __len__(self) -> int:
        return len(self.vertices)


def project_vertices(camera: Camera, vertices: NDArray[np.floating]) -> NDArray[np.float64]:
    """x px, y px, depth m (V, 3) of points (V, 3) of the rig frame; NaN pixels where not seen."""
    points = rigid.apply(camera.camera_from_rig, vertices)
    pixels, _ = camera.project(points)
    return np.column_stack([pixels, points[:, 2]])


def frontal_length_px(camera: Camera, place: NDArray[np.floating], length_m: float) -> float:
    """Pixels that a length across the line of sight covers at a place (3,) of the rig frame.

    NaN when the camera cannot see the place.
    """
    centre = rigid.apply(camera.camera_from_rig, place)
    half = np.array([0.5 * length_m, 0.0, 0.0])
    ends, _ = camera.project(np.stack([centre - half, centre + half]))
    return float(np.linalg.norm(ends[1] - ends[0]))
