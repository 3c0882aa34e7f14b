"""What is known about the errors of positions carried over from the landmarks.

Learned by `tools/learn_sigma.py` from pictures whose truth is known, in metres on the head:

- a systematic part that depends on how the head is turned (points near the ear slide towards the
  face on the far side, the back of the head is not a plane), which is taken off;
- the rest, whose standard deviation is a product: a factor per place on the face, and one for each
  thing that can be seen at run time (how a place faces the camera, how far the head is turned, how
  sure the network is of a face, how badly the points fit a head, how large the face is, how open
  the eyes are);
- what is added where the network may have taken something else for a face: all points are off then,
  by centimetres.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from flowface_ros.align.atlas_table import check_atlas, read_table, write_table
from flowface_ros.align.embedding import IRIS_POINTS, landmark_points
from flowface_ros.align.landmark_pose import LandmarkPose
from flowface_ros.head.atlas import TexelGrid, texel_grid, texel_interpolation
from flowface_ros.head.model import HeadModel
from flowface_ros.head.normals import vertex_normals
from flowface_ros.head.surface import SurfacePoints

Array = NDArray[np.float64]

ERRORS_FILE = Path(__file__).parent / "data" / "landmark_errors.npz"

TABLE_GRID = 48
"""Texels a side of the grid that the file's rows are of; the ten iris points follow."""
IRIS_COUNT = IRIS_POINTS.stop - IRIS_POINTS.start

FACING_KNOTS = np.array([-1.0, -0.5, -0.2, 0.0, 0.2, 0.5, 1.0])
"""Cosine of the angle between a place's normal and the direction of the camera."""
TURN_KNOTS_DEG = np.array([0.0, 20.0, 40.0, 60.0, 90.0])
PRESENCE_KNOTS = np.array([0.0, 3.0, 6.0, 9.0])
"""Logit of the presence, where it says that there is a face."""
FAILURE_KNOTS = np.array([-9.0, -6.0, -3.0, 0.0, 4.0, 9.0])
"""Logit of the presence, for the part of all points' errors that comes with a failure."""
MISFIT_KNOTS_MM = np.array([2.0, 3.0, 4.0, 6.0, 10.0])
FAILURE_MISFIT_KNOTS_MM = np.array([4.0, 8.0, 16.0])
"""For failures too: points that fit no head are no face's."""
SIZE_KNOTS_PX = np.array([30.0, 60.0, 120.0, 240.0])
"""Picture pixels per 0.16 m, the height of a face."""
OPENNESS_KNOTS = np.array([0.0, 0.1, 0.2, 0.3])
"""Gap between the lids over the width of the eye; for the irises and the lids."""

FACE_HEIGHT_M = 0.16
_SMALLEST_SIGMA_PX = 0.4
"""Crop pixels: as well as the network's points repeat on a picture that hardly changes."""
_SMALLEST_SCALE = 700.0
"""Crop pixels per metre of a face that fills two thirds of what a crop is made for; points that
have collapsed to less say nothing about how large the face is."""
_LIDS = ((159, 145, 33, 133), (386, 374, 263, 362))
"""Upper and lower lid, outer and inner corner; right eye, left eye."""


@dataclass(frozen=True, eq=False)
class ErrorTables:
    """Content of `ERRORS_FILE`; R rows: the valid texels of `TABLE_GRID`, then the iris points.

    correction: (R, 6, 2) metres per entry of `turn_features`; x, y of an upright crop.
    log_sigma: (R,) log metres. turn: (R,) per radian that the face is turned away, and facing:
    (7, 5), presence: (4,), misfit: (5,), size: (4,), and for an eye's iris openness: (4,), for its
    lids lids: (4,), at the knots above, are added to it.
    failure: (6, 3) square metres at `FAILURE_KNOTS` and `FAILURE_MISFIT_KNOTS_MM`, which are added
    to the variance of every point.
    provenance: how it was made, for which head, and the figures reached.
    """

    atlas_hash: int
    correction: Array
    log_sigma: Array
    turn: Array
    facing: Array
    presence: Array
    misfit: Array
    size: Array
    openness: Array
    lids: Array
    failure: Array
    provenance: dict[str, Any]


_ARRAYS = [f.name for f in fields(ErrorTables) if f.name not in ("atlas_hash", "provenance")]


@cache
def read_errors(path: Path = ERRORS_FILE) -> ErrorTables:
    """The tables of a file. ValueError names the file and the field that is missing or broken."""
    atlas_hash, arrays, header = read_table(path, "a table of landmark errors", _ARRAYS)
    rows = (arrays["log_sigma"].size,)
    expected = {
        "correction": (*rows, 6, 2),
        "log_sigma": rows,
        "turn": rows,
        "facing": (len(FACING_KNOTS), len(TURN_KNOTS_DEG)),
        "presence": PRESENCE_KNOTS.shape,
        "misfit": MISFIT_KNOTS_MM.shape,
        "size": SIZE_KNOTS_PX.shape,
        "openness": OPENNESS_KNOTS.shape,
        "lids": OPENNESS_KNOTS.shape,
        "failure": (len(FAILURE_KNOTS), len(FAILURE_MISFIT_KNOTS_MM)),
    }
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{path}: {name} has shape {arrays[name].shape}, must be {shape}")
    return ErrorTables(atlas_hash, **arrays, provenance=header)


def write_errors(path: Path, tables: ErrorTables) -> None:
    """Writes the tables; `provenance` must be fit for JSON."""
    arrays = {name: getattr(tables, name).astype(np.float32) for name in _ARRAYS}
    write_table(path, tables.atlas_hash, arrays, tables.provenance)


class LandmarkErrors:
    """The tables for the texels of a grid on a head, then the ten iris points.

    Raises ValueError when the tables are of another atlas than the head wears.
    """

    def __init__(
        self, model: HeadModel, grid: TexelGrid, tables: ErrorTables | None = None
    ) -> None:
        tables = tables or read_errors()
        remedy = "run tools/learn_sigma.py, or import the head anew"
        check_atlas("the table of landmark errors", tables.atlas_hash, model, remedy)
        rows = _rows(model, grid, len(tables.log_sigma) - IRIS_COUNT)
        irises = slice(-IRIS_COUNT, None)
        self._log_sigma = _extended(rows, tables.log_sigma, irises)
        self._turn = _extended(rows, tables.turn, irises)
        self._correction = _extended(rows, tables.correction, irises)
        self._normals = normals_of(model, grid.points)
        self._lids = lid_shares(model, grid.points)
        self._tables = tables

    @property
    def correction_table(self) -> Array:
        """(N + 10, 6, 2) metres of an upright crop, by `turn_features`."""
        return self._correction

    def correction(self, pose: LandmarkPose) -> Array:
        """What to add to the positions, (N + 10, 2) crop pixels."""
        upright = np.einsum("nfc,f->nc", self._correction, turn_features(pose))
        return pose.scale * upright @ pose.crop_from_upright.T

    def sigma(
        self, pose: LandmarkPose, points_crop: Array, presence: float, picture_scale: float
    ) -> Array:
        """Standard deviation per axis, (N + 10,) crop pixels.

        points_crop: (478, 2) the landmarks. picture_scale: picture pixels per crop pixel.
        """
        t = self._tables
        size_px = FACE_HEIGHT_M * pose.scale * picture_scale
        log_misfit, odds = np.log(max(1e3 * pose.misfit, 1e-3)), logit(presence)
        shared = np.interp(odds, PRESENCE_KNOTS, t.presence)
        shared += np.interp(log_misfit, np.log(MISFIT_KNOTS_MM), t.misfit)
        shared += np.interp(np.log(max(size_px, 1.0)), np.log(SIZE_KNOTS_PX), t.size)
        turned = hat_weights(pose.off_axis_deg, TURN_KNOTS_DEG) @ t.facing.T
        log_sigma = self._log_sigma + shared + np.radians(pose.off_axis_deg) * self._turn
        facing = self._normals @ pose.toward_camera
        log_sigma[:-IRIS_COUNT] += np.interp(facing, FACING_KNOTS, turned)
        log_sigma[-IRIS_COUNT:] += turned[-1]
        openness = eye_openness(points_crop)
        log_sigma[:-IRIS_COUNT] += self._lids @ np.interp(openness, OPENNESS_KNOTS, t.lids)
        of_iris = np.interp(openness, OPENNESS_KNOTS, t.openness)
        log_sigma[-IRIS_COUNT:] += np.repeat(of_iris, IRIS_COUNT // 2)
        of_misfit = hat_weights(log_misfit, np.log(FAILURE_MISFIT_KNOTS_MM))
        failure = hat_weights(odds, FAILURE_KNOTS) @ t.failure @ of_misfit
        sigma = np.sqrt(np.exp(2 * log_sigma) + failure) * max(pose.scale, _SMALLEST_SCALE)
        return np.maximum(sigma, _SMALLEST_SIGMA_PX)


def turn_features(pose: LandmarkPose) -> Array:
    """(6,): 1 and the polynomials up to the second order in the direction of the camera."""
    x, y, _ = pose.toward_camera
    return np.array([1.0, x, y, x * x, y * y, x * y])


def eye_openness(points_crop: Array) -> Array:
    """Gap between the lids over the width of the eye, (2,): right, left."""
    upper, lower, outer, inner = (points_crop[list(rows)] for rows in np.transpose(_LIDS))
    gap = np.linalg.norm(upper - lower, axis=1)
    return gap / np.maximum(np.linalg.norm(outer - inner, axis=1), 1e-6)


def lid_shares(model: HeadModel, points: SurfacePoints) -> Array:
    """How much (N, 2) surface points belong to the lids of the right and the left eye, 0 to 1."""
    inside = np.zeros((model.vertex_count, 2))
    for column, side in enumerate(("right", "left")):
        inside[model.vertex_groups[f"{side}_eyelids"], column] = 1
    return points.interpolate(model.triangles, inside)


def logit(presence: float) -> float:
    """Log odds, within the range of the knots."""
    p = np.clip(presence, 1e-4, 1 - 1e-4)
    return float(np.log(p / (1 - p)))


def hat_weights(value: float | Array, knots: Array) -> Array:
    """(..., K) weights of the knots for linear interpolation at a value, constant beyond."""
    place = np.interp(value, knots, np.arange(len(knots), dtype=np.float64))
    return np.maximum(0, 1 - np.abs(np.asarray(place)[..., None] - np.arange(len(knots))))


def normals_of(model: HeadModel, points: SurfacePoints) -> Array:
    """Unit normals (N, 3) of the mean head at surface points."""
    normals = points.interpolate(model.triangles, vertex_normals(model.template, model.triangles))
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)


def query_points(model: HeadModel, grid: TexelGrid) -> SurfacePoints:
    """The texels of a grid, then the ten iris points."""
    irises = landmark_points(model)[IRIS_POINTS]
    return SurfacePoints(
        np.concatenate([grid.points.triangle, irises.triangle]),
        np.concatenate([grid.points.barycentric, irises.barycentric]),
    )


def _rows(model: HeadModel, grid: TexelGrid, count: int) -> csr_array:
    """Matrix (N, count) from the rows of the file's grid to the texels of another."""
    table = texel_grid(model, TABLE_GRID)
    if len(table.points) != count:
        raise ValueError(f"the head has {len(table.points)} texels where the table has {count}")
    matrix, found = texel_interpolation(model, table, grid.points)
    # At the border of the island, where no texel is around: the nearest one.
    lonely = np.flatnonzero(~found)
    distance = ((table.uv[None] - grid.uv[lonely, None]) ** 2).sum(axis=2)
    nearest = (np.ones(len(lonely)), (lonely, distance.argmin(axis=1)))
    return matrix + csr_array(nearest, shape=matrix.shape)


def _extended(rows: csr_array, values: Array, irises: slice) -> Array:
    flat = values.reshape(len(values), -1)
    joined = np.concatenate([rows @ flat[: irises.start], flat[irises]])
    return joined.reshape(-1, *values.shape[1:])
