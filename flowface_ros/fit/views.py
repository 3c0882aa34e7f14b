"""Observations of one moment, undistorted and stacked over the cameras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.observation import Observation
from flowface_ros.camera.camera import Camera
from flowface_ros.camera.rig import Rig
from flowface_ros.fit import kernels
from flowface_ros.fit.undistort import undistort
from flowface_ros.head.surface import SurfacePoints

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Views:
    """K observed points of C cameras, of N distinct surface points.

    points: the N surface points. cameras: C names.
    row: (K,) int32, the point of each observation.
    start: (C + 1,) where each camera's observations begin, and where the last one's end.
    seen: (K, 2) undistorted place on the camera's z = 1 plane.
    weight: (K, 3) information of that place: xx, xy, yy. Both in column-major order.
    sigma: (K,) as observed, pixels.
    rotation, translation: (C, 3, 3), (C, 3) camera_from_rig.
    zoom: (C,) factor on the nominal focal length.
    """

    points: SurfacePoints
    cameras: tuple[str, ...]
    row: NDArray[np.int32]
    start: NDArray[np.int64]
    seen: Array
    weight: Array
    sigma: Array
    rotation: Array
    translation: Array
    zoom: Array

    def __len__(self) -> int:
        return len(self.row)

    def squared_residuals(self, points: Array) -> tuple[Array, int]:
        """r^T W r (K,) for points (N, 3) of the rig frame, metres; NaN where one is behind the
        camera, and how many are."""
        squared = np.empty(len(self))
        behind = kernels.residuals(points, *self._stacked, squared)
        return squared, behind

    def vertex_information(self, points: Array, nu: float, scale: float) -> tuple[Array, Array]:
        """The per-point form: M_v (N, 6: xx, xy, xz, yy, yz, zz) and b_v (N, 3).

        M_v = sum_c w P_cv^T W_cv P_cv / scale^2, b_v = sum_c w P_cv^T W_cv r_cv / scale^2, with w
        the Student-t weight.
        """
        information, vector = np.zeros((len(points), 6)), np.zeros((len(points), 3))
        kernels.accumulate(points, *self._stacked, nu, scale, information, vector)
        return information, vector

    def vertex_vector(self, points: Array, nu: float, scale: float) -> Array:
        """b_v (N, 3) of the per-point form alone."""
        vector = np.zeros((len(points), 3))
        kernels.accumulate(points, *self._stacked, nu, scale, np.empty((0, 6)), vector)
        return vector

    def information_by_view(
        self, points: Array, rows: NDArray[np.intp], nu: float, scale: float
    ) -> Array:
        """(C, m, 6): what each camera on its own says about some of the points, as
        `vertex_information` has it of all."""
        cameras, count = len(self.cameras), len(rows)
        place = np.full(len(points), -1, np.int32)
        place[rows] = np.arange(count)
        use = np.flatnonzero(place[self.row] >= 0)
        row = place[self.row[use]] + count * self.view[use]
        information, vector = np.zeros((cameras * count, 6)), np.zeros((cameras * count, 3))
        _, _, seen, weight, *poses = self._stacked
        kernels.accumulate(
            np.tile(points[rows], (cameras, 1)),
            row,
            np.searchsorted(use, self.start),
            np.ascontiguousarray(seen[:, use]),
            np.ascontiguousarray(weight[:, use]),
            *poses,
            nu,
            scale,
            information,
            vector,
        )
        return information.reshape(cameras, count, 6)

    def softened(self, variance: Array) -> Views:
        """The same views with variance (K,) in squared units of the z = 1 plane added to each
        point's covariance."""
        a, b, d = self.weight.T
        determinant = a * d - b * b
        xx, xy, yy = d / determinant + variance, -b / determinant, a / determinant + variance
        determinant = xx * yy - xy * xy
        return replace(self, weight=(np.stack([yy, -xy, xx]) / determinant).T)

    def with_zoom(self, camera: str, zoom: float) -> Views:
        """The same views with a camera's focal length multiplied by zoom."""
        zooms = self.zoom.copy()
        zooms[self.cameras.index(camera)] = zoom
        return replace(self, zoom=zooms)

    def of(self, camera: int) -> slice:
        """Rows of one camera."""
        return slice(int(self.start[camera]), int(self.start[camera + 1]))

    @cached_property
    def view(self) -> NDArray[np.int32]:
        """(K,) the camera of each observation."""
        return np.repeat(np.arange(len(self.cameras), dtype=np.int32), np.diff(self.start))

    @cached_property
    def _stacked(self) -> tuple[NDArray, ...]:
        return (
            self.row,
            self.start,
            np.ascontiguousarray(self.seen.T),
            np.ascontiguousarray(self.weight.T),
            self.rotation,
            self.translation,
            self.zoom,
        )


def check_rig(rig: Rig) -> None:
    """ValueError that names two cameras of the same pose: one of the two must be wrong."""
    for i, a in enumerate(rig):
        for b in list(rig)[i + 1 :]:
            if np.allclose(a.rig_from_camera, b.rig_from_camera, atol=1e-9):
                raise ValueError(
                    f"cameras {a.name!r} and {b.name!r} have the same rig_from_camera; "
                    "calibrate their extrinsics before fitting them together"
                )


def check_observations(observations: Sequence[Observation], rig: Rig) -> None:
    """ValueError that names the camera and the field of an observation that cannot be used."""
    for observation in observations:
        name, count = observation.camera, len(observation.points)
        pixels, sigma = observation.pixels, observation.sigma
        if name not in rig.names:
            raise ValueError(f"observation of camera {name!r}; the rig has {', '.join(rig.names)}")
        for label, array, shape in (("pixels", pixels, (count, 2)), ("sigma", sigma, (count,))):
            if array.shape != shape:
                raise ValueError(f"{label} of {name!r}: shape {array.shape}, must be {shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"{label} of {name!r} holds values that are not finite")
        if count and sigma.min() <= 0:
            raise ValueError(f"sigma of {name!r} is {sigma.min()}, must be > 0")


def stack_views(observations: Sequence[Observation], rig: Rig) -> Views:
    """Undistort and stack observations; several of one camera are allowed.

    Pixels that no ray of the lens leads to are left out. ValueError as `check_observations`.
    """
    check_observations(observations, rig)
    used = [name for name in rig.names if any(o.camera == name for o in observations)]
    ordered = sorted(observations, key=lambda o: used.index(o.camera))
    points, rows = union([o.points for o in ordered])
    parts = [_undistorted(o, rig[o.camera], row) for o, row in zip(ordered, rows, strict=True)]
    empty = (np.zeros(0, np.int32), np.zeros((2, 0)), np.zeros((3, 0)), np.zeros(0))
    row, seen, weight, sigma = (
        np.concatenate(arrays, axis=-1) for arrays in zip(empty, *parts, strict=True)
    )
    counts = np.zeros(len(used) + 1, np.int64)
    for observation, part in zip(ordered, parts, strict=True):
        counts[used.index(observation.camera) + 1] += len(part[0])
    poses = [rig[name].camera_from_rig for name in used]
    poses_array = np.array(poses, np.float64).reshape(-1, 4, 4)
    return Views(
        points=points,
        cameras=tuple(used),
        row=row,
        start=np.cumsum(counts),
        seen=seen.T,
        weight=weight.T,
        sigma=sigma,
        rotation=np.ascontiguousarray(poses_array[:, :3, :3]),
        translation=np.ascontiguousarray(poses_array[:, :3, 3]),
        zoom=np.ones(len(used)),
    )


def union(sets: Sequence[SurfacePoints]) -> tuple[SurfacePoints, list[NDArray[np.int32]]]:
    """One set that holds all points of several, and where (n,) each one's points are in it.

    Views of one aligner share their points, which costs nothing here; sets that differ are merged.
    """
    if not sets:
        return SurfacePoints(np.zeros(0, np.int32), np.zeros((0, 3))), []
    first = sets[0]
    if all(_same(first, other) for other in sets[1:]):
        row = np.arange(len(first), dtype=np.int32)
        return first, [row] * len(sets)
    triangle = np.concatenate([s.triangle for s in sets])
    barycentric = np.concatenate([np.asarray(s.barycentric, np.float64) for s in sets])
    keys = np.column_stack([triangle, barycentric])
    _, index, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    ends = np.cumsum([len(s) for s in sets])[:-1]
    rows = np.split(inverse.reshape(-1).astype(np.int32), ends)
    return SurfacePoints(triangle[index].astype(np.int32), barycentric[index]), rows


def _same(a: SurfacePoints, b: SurfacePoints) -> bool:
    return a is b or (
        np.array_equal(a.triangle, b.triangle) and np.array_equal(a.barycentric, b.barycentric)
    )


def _undistorted(
    observation: Observation, camera: Camera, row: NDArray[np.int32]
) -> tuple[NDArray, ...]:
    """row (k,), seen (2, k), weight (3, k), sigma (k,) of one observation's usable points."""
    pixels = np.ascontiguousarray(observation.pixels, np.float64)
    sigma = np.ascontiguousarray(observation.sigma, np.float64)
    seen, weight, valid = undistort(camera, pixels, sigma)
    if not valid.all():
        row, seen, weight, sigma = row[valid], seen[:, valid], weight[:, valid], sigma[valid]
    return row, seen, weight, sigma
