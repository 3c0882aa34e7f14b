"""Points on a triangle mesh, given by triangle and barycentric coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SurfacePoints:
    """N points on a head's surface; they move with it and do not depend on its pose or shape.

    triangle: (N,) int32, row of `HeadModel.triangles`.
    barycentric: (N, 3) float64, weights of that triangle's corners, which sum to 1.
    """

    triangle: NDArray[np.int32]
    barycentric: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.triangle)

    def __getitem__(self, index: NDArray | slice) -> SurfacePoints:
        return SurfacePoints(self.triangle[index], self.barycentric[index])

    def interpolate(
        self, triangles: NDArray[np.int32], vertex_values: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """Values (N, ...) at the points of values (V, ...) at the vertices of triangles (F, 3)."""
        corners = vertex_values[triangles[self.triangle]]
        weights = self.barycentric.reshape(len(self), 3, *(1,) * (corners.ndim - 2))
        return (corners * weights).sum(axis=1)
