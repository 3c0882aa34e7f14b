"""SSME, the screen space motion error (Taubner et al., CVPR 2024, arXiv 2404.09819, section 4).

For a horizon h and every pixel x of frame t that lies inside both the visible true mesh and the
visible predicted mesh, take the surface point under x in each mesh, carry it with its mesh to frame
t + h and project it. With u the 2D displacement of such a point,

    SSME(h) = mean over t and x of || u_true(x, t, h) - u_predicted(x, t, h) ||

and the score is the mean of SSME(h) over h = 1..30. Pixels are matched, not vertices, so meshes of
any two topologies can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowface_ros.camera.camera import Camera
from flowface_ros.evaluate.moving_mesh import MovingMesh
from flowface_ros.evaluate.shared_pixels import (
    Projected,
    ProjectedMeshes,
    SharedPixels,
    add_errors,
)

Array = NDArray[np.float64]

MAX_HORIZON = 30
"""Frames: the score's longest horizon, as in the paper."""
OVERALL = "overall"


@dataclass(frozen=True, eq=False)
class Ssme:
    """Sums over pixel pairs, by region (row) and horizon (column h - 1).

    regions: R names, the first is "overall".
    error_px: (R, H) sum of end-point errors, pixels.
    error_relative: (R, H) the same, each over the inter-ocular distance of its frame; NaN when that
        is not known.
    count: (R, H) pixels summed over.
    true_count: (R, H) pixels of the visible true mesh in frames that have a frame h later: what
        could have been compared.
    """

    regions: tuple[str, ...]
    error_px: Array
    error_relative: Array
    count: Array
    true_count: Array

    def __add__(self, other: Ssme) -> Ssme:
        """Both together, as if they were one clip; raises ValueError for other regions."""
        if self.regions != other.regions or self.count.shape != other.count.shape:
            raise ValueError(f"regions differ: {self.regions} and {other.regions}")
        return Ssme(
            self.regions,
            self.error_px + other.error_px,
            self.error_relative + other.error_relative,
            self.count + other.count,
            self.true_count + other.true_count,
        )

    def by_horizon_px(self, region: str = OVERALL) -> Array:
        """SSME(h) (H,), pixels; NaN for a horizon that no pixel reaches."""
        row = self.regions.index(region)
        return _ratio(self.error_px[row], self.count[row])

    def by_horizon_percent(self, region: str = OVERALL) -> Array:
        """SSME(h) (H,) in percent of the inter-ocular distance."""
        row = self.regions.index(region)
        return 100 * _ratio(self.error_relative[row], self.count[row])

    def score_px(self, region: str = OVERALL) -> float:
        """Mean over the horizons that the clip reaches, pixels; NaN when there is none."""
        return _mean(self.by_horizon_px(region))

    def score_percent(self, region: str = OVERALL) -> float:
        """The same in percent of the inter-ocular distance."""
        return _mean(self.by_horizon_percent(region))

    def coverage(self, region: str = OVERALL) -> float:
        """Share [0, 1] of what could have been compared that was: a tracker that gives no mesh, or
        one beside the face, has no error there but no coverage either."""
        row = self.regions.index(region)
        return float(_ratio(self.count[row].sum(), self.true_count[row].sum()))


def ssme(
    truth: MovingMesh,
    prediction: MovingMesh,
    cameras: Sequence[Camera],
    regions: Mapping[str, NDArray[np.bool_]] | None = None,
    inter_ocular_px: NDArray[np.floating] | None = None,
    max_horizon: int = MAX_HORIZON,
    judged: Sequence[NDArray[np.bool_]] | None = None,
) -> Ssme:
    """Compare a predicted with the true surface in one view of T frames.

    cameras: T cameras, the view in each frame (a moving rig moves them).
    regions: (F,) masks of the true mesh's triangles by name; they may overlap.
    inter_ocular_px: (T,) for the relative error.
    max_horizon: frames.
    judged: T masks (H, W) of the pixels that count, e.g. those that several trackers cover.

    Visible is what the mesh alone does not hide, in the image; a point may leave the image or be
    hidden at t + h. Within a triangle the lens's distortion is taken as linear.
    Raises ValueError when lengths differ.
    """
    frames = len(truth)
    lengths: dict[str, Sized | None] = {
        "prediction": prediction,
        "cameras": cameras,
        "inter_ocular_px": inter_ocular_px,
        "judged": judged,
    }
    _check(len(truth), lengths, max_horizon)
    names, label, members = _region_classes(truth.triangles, regions or {})
    sizes = np.full(frames, np.nan) if inter_ocular_px is None else np.asarray(inter_ocular_px)
    views = ProjectedMeshes(truth, prediction, cameras)
    shape = (len(members), max_horizon)
    error, relative, count, possible = (np.zeros(shape) for _ in range(4))
    for t in range(frames):
        pixels = views.shared_pixels(t, None if judged is None else judged[t])
        reach = min(max_horizon, frames - 1 - t)
        seen = np.bincount(label[pixels.true_triangle], minlength=len(members))
        possible[:, :reach] += seen[:, None]
        sums, counts = np.zeros(shape), np.zeros(shape)
        for h in range(1, reach + 1):
            _add_horizon(pixels, views.at(t + h), label, sums[:, h - 1], counts[:, h - 1])
        error += sums
        relative += np.where(counts > 0, sums / sizes[t], 0)
        count += counts
        views.forget(t)
    combine = members.T.astype(np.float64)
    return Ssme(names, *(combine @ table for table in (error, relative, count, possible)))


def _add_horizon(
    pixels: SharedPixels, later: Projected, label: NDArray[np.int64], error: Array, count: Array
) -> None:
    """Add the end-point errors of a frame's pixels to sums and counts (classes,)."""
    if later.truth is None or later.prediction is None:
        return
    true, predicted = pixels.truth, pixels.prediction
    add_errors(
        true.corners, true.weights, true.place, later.truth,
        predicted.corners, predicted.weights, predicted.place, later.prediction,
        label[true.triangle], error, count,
    )  # fmt: skip


def _check(frames: int, arguments: Mapping[str, Sized | None], max_horizon: int) -> None:
    for name, argument in arguments.items():
        if argument is not None and len(argument) != frames:
            raise ValueError(f"{name} has {len(argument)} frames, truth has {frames}")
    if max_horizon < 1:
        raise ValueError(f"max_horizon is {max_horizon}, must be at least 1")


def _region_classes(
    triangles: NDArray[np.integer], regions: Mapping[str, NDArray[np.bool_]]
) -> tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.bool_]]:
    """Names (R,), class (F,) of each triangle, and members (classes, R): which regions it is in.

    Triangles in the same regions form a class, so that overlapping regions are summed once.
    """
    masks = [np.ones(len(triangles), bool)]
    for name, mask in regions.items():
        if np.shape(mask) != (len(triangles),):
            raise ValueError(f"region {name!r} is {np.shape(mask)}, not ({len(triangles)},)")
        masks.append(np.asarray(mask, bool))
    members, label = np.unique(np.stack(masks, axis=1), axis=0, return_inverse=True)
    return (OVERALL, *regions), label.reshape(-1), members


def _ratio(numerator: Array | float, denominator: Array | float) -> Array:
    top, bottom = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)


def _mean(values: Array) -> float:
    reached = values[~np.isnan(values)]
    return float(reached.mean()) if len(reached) else float("nan")
