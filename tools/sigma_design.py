"""The model of the errors' sigma as a linear function of its tables, for learning them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sigma_samples import Samples

from flowface_ros.align.landmark_errors import (
    FACING_KNOTS,
    IRIS_COUNT,
    MISFIT_KNOTS_MM,
    OPENNESS_KNOTS,
    PRESENCE_KNOTS,
    SIZE_KNOTS_PX,
    TABLE_GRID,
    TURN_KNOTS_DEG,
    hat_weights,
    lid_shares,
    logit,
    normals_of,
)
from flowface_ros.head.atlas import texel_grid
from flowface_ros.head.model import HeadModel

Array = NDArray[np.float64]


class SigmaDesign:
    """Log sigma (F, R) as a linear function of all tables' values in one vector.

    model: the head. samples: pictures, of which those that are chosen, (all,) bool, count.
    """

    def __init__(self, model: HeadModel, samples: Samples, chosen: NDArray[np.bool_]) -> None:
        grid = texel_grid(model, TABLE_GRID)
        self._texels = len(grid.points)
        row_count = self._texels + IRIS_COUNT
        self._shapes: dict[str, tuple[int, ...]] = {
            "log_sigma": (row_count,),
            "turn": (row_count,),
            "facing": (len(FACING_KNOTS), len(TURN_KNOTS_DEG)),
            "presence": (len(PRESENCE_KNOTS),),
            "misfit": (len(MISFIT_KNOTS_MM),),
            "size": (len(SIZE_KNOTS_PX),),
            "openness": (len(OPENNESS_KNOTS),),
            "lids": (len(OPENNESS_KNOTS),),
        }
        ends = np.cumsum([np.prod(shape) for shape in self._shapes.values()]).astype(int)
        starts = [0, *ends[:-1]]
        self._slices = {n: slice(a, b) for n, a, b in zip(self._shapes, starts, ends, strict=True)}
        self.size, self.rows = int(ends[-1]), self._slices["log_sigma"]
        index = np.flatnonzero(chosen)
        misfit_mm = np.array([1e3 * samples.poses[i].misfit for i in index])
        odds = np.array([logit(p) for p in samples.presence[index]])
        misfit = hat_weights(np.log(misfit_mm), np.log(MISFIT_KNOTS_MM))
        size = hat_weights(np.log(samples.size_px[index]), np.log(SIZE_KNOTS_PX))
        self._shared = np.column_stack([hat_weights(odds, PRESENCE_KNOTS), misfit, size])
        self._lids = lid_shares(model, grid.points)
        self._turn = np.radians(samples.turn_deg[index])
        self._openness = hat_weights(samples.openness[index], OPENNESS_KNOTS)
        self._facing = self._facing_matrix(normals_of(model, grid.points), samples, index)

    def _facing_matrix(
        self, normals: Array, samples: Samples, index: NDArray[np.int64]
    ) -> csr_array:
        """(F R, facing values): bilinear between the knots; an iris faces as its head does."""
        parts = []
        for i in index:
            pose = samples.poses[i]
            facing = np.concatenate([normals @ pose.toward_camera, np.ones(IRIS_COUNT)])
            at_facing = hat_weights(facing, FACING_KNOTS)
            at_turn = hat_weights(pose.off_axis_deg, TURN_KNOTS_DEG)
            parts.append((at_facing[:, :, None] * at_turn).reshape(len(facing), -1))
        return csr_array(np.concatenate(parts).astype(np.float32))

    def log_sigma(self, values: Array) -> Array:
        """(F, R)."""
        shared = self._shared @ values[self._slices["presence"].start : self._slices["size"].stop]
        result = (self._facing @ values[self._slices["facing"]]).reshape(len(shared), -1)
        result += values[self.rows] + shared[:, None]
        result += self._turn[:, None] * values[self._slices["turn"]]
        result[:, : self._texels] += self._openness @ values[self._slices["lids"]] @ self._lids.T
        openness = self._openness @ values[self._slices["openness"]]
        result[:, self._texels :] += np.repeat(openness, IRIS_COUNT // 2, axis=1)
        return result

    def pulled(self, gradient: Array) -> Array:
        """The transpose of `log_sigma`: (F, R) to (size,)."""
        of_lids = gradient[:, : self._texels] @ self._lids
        of_irises = gradient[:, self._texels :].reshape(len(gradient), 2, -1).sum(axis=2)
        return np.concatenate(
            [
                gradient.sum(axis=0),
                self._turn @ gradient,
                self._facing.T @ gradient.ravel(),
                self._shared.T @ gradient.sum(axis=1),
                np.einsum("fek,fe->k", self._openness, of_irises),
                np.einsum("fek,fe->k", self._openness, of_lids),
            ]
        )

    def split(self, values: Array) -> dict[str, Array]:
        """The tables by name."""
        return {n: values[self._slices[n]].reshape(shape) for n, shape in self._shapes.items()}
