"""Direct alignment: where skin that was seen before is in a new picture.

Gauss-Newton on the difference of intensities (Lucas and Kanade 1981; Baker and Matthews, IJCV
2004), over motions that a head can make. Light that changes as a head turns does so smoothly over
the skin, so the smooth part of the difference is taken off and only detail is compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from flowface_ros.track import texture_kernels as kernels
from flowface_ros.track.texture_kernels import LANES

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

_BLUR_PX = 0.6
"""Standard deviation by which crops are blurred before: what is sharper has no useful gradient."""
_NOISE = np.float32(3.0)
"""Standard deviation of intensities, of 255."""
_SHARE = np.float32(0.2)
"""Share of the points' information that counts: errors of neighbours are alike."""
_STEPS = 4
_STOP_PX = 0.02
"""Steps that move no point farther end the iteration."""
_MAD_TO_SIGMA = np.float32(1.48)
_REACH = 3.7
"""Standard deviations beyond which a neighbour's weight, below a thousandth, is taken for none."""
_PER_PIXEL = 1 / 32
"""Scale of Scharr's filter."""


@dataclass(frozen=True, eq=False)
class Detail:
    """A crop's intensity, of 255, and its derivatives per pixel; (S, S) each."""

    value: Floats
    dx: Floats
    dy: Floats

    def values_at(self, places: NDArray) -> Floats:
        """(N,) at crop pixels (N, 2)."""
        values = np.empty(len(places), np.float32)
        kernels.sample(self.value, np.asarray(places, np.float32), values)
        return values


def detail_of(crop: NDArray[np.uint8]) -> Detail:
    """crop: (S, S, 3) uint8 RGB."""
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    value = np.asarray(cv2.GaussianBlur(grey, (0, 0), _BLUR_PX), np.float32)
    return Detail(value, _derivative(value, 1, 0), _derivative(value, 0, 1))


def _derivative(value: Floats, dx: int, dy: int) -> Floats:
    return np.asarray(cv2.Scharr(value, -1, dx, dy, scale=_PER_PIXEL), np.float32)


@dataclass(frozen=True, eq=False)
class Reference:
    """What points of the skin looked like in a picture.

    values: (N,) intensity. seen: (N,) which of them the picture showed.
    """

    values: Floats
    seen: Mask


@dataclass(frozen=True, eq=False)
class Between:
    """Q places, each the mean of four of N points.

    rows: (Q, 4) uint32 which. shares: (Q, 4) float32 of the mean.
    """

    rows: NDArray[np.uint32]
    shares: Floats
    point_count: int

    def spread(self, values: NDArray) -> Floats:
        """(Q, C) at the places, of values (N, C) at the points."""
        out = np.empty((len(self.rows), values.shape[1]), np.float32)
        kernels.spread(self.rows, self.shares, np.ascontiguousarray(values, np.float32), out)
        return out

    def gather(self, values: Floats) -> Floats:
        """Sums (N, C) of what values (Q, C) at the places give to the points around them."""
        out = np.zeros((self.point_count, values.shape[1]), np.float32)
        kernels.gather(self.rows, self.shares, values, out)
        return out


class Smoother:
    """Sums over the neighbourhood on the skin; over those of ones they are means."""

    def __init__(self, places: NDArray, length: float) -> None:
        """places: (N, D) metres. length: standard deviation of the neighbourhood, metres."""
        # Twice over nodes: the sum of both is the Gaussian, at less than its cost.
        once = length / np.sqrt(2)
        nodes = places[_spread(places, length)]
        distance = np.linalg.norm(places[:, None] - nodes, axis=2) / once
        near = csr_array(np.where(distance < _REACH, np.exp(-(distance**2) / 2), 0.0))
        # unsigned: compiled code then does not look for negative indices
        self._near = (
            near.indptr.astype(np.uint32),
            near.indices.astype(np.uint32),
            near.data.astype(np.float32),
        )
        self._nodes = np.zeros((len(nodes), LANES), np.float32)

    def __call__(self, values: Floats) -> Floats:
        """Weighted sums (N, K) of values (N, K); K is a multiple of `LANES`."""
        sums = np.empty_like(values)
        kernels.smooth(*self._near, values, self._nodes, sums)
        return sums


def _spread(places: NDArray, spacing: float) -> list[int]:
    """Rows of places no two of which are nearer than `spacing`, with every other near one."""
    chosen: list[int] = []
    free = np.ones(len(places), bool)
    for row, place in enumerate(places):
        if free[row]:
            chosen.append(row)
            free &= ((places - place) ** 2).sum(axis=1) > spacing**2
    return chosen


def align_texture(
    detail: Detail,
    seen: Mask,
    references: Sequence[Reference],
    places: Array,
    motions: Floats,
    start: Array,
    between: Between,
    smoother: Smoother,
    trust: float = 1.0,
) -> Array:
    """Amounts (M,) of the motions after which the picture looks as the references do.

    places: (N, 2) crop pixels where the points are said to be. smoother: of these points.
    motions: (N, 2, M) crop pixels by which one standard deviation of each moves the points.
    between: the Q places at which intensities are compared. seen: (Q,) which of them show.
    start: (M,) amounts to begin with. references: at least one. trust: in where the points are
    said to be; by as much the motions' standard deviations are less.
    """
    amounts, prior = start.copy(), trust**2 * np.eye(len(start))
    told, known = _side_by_side(references, seen)
    near = np.maximum(smoother(between.gather(known)), np.float32(1e-6))
    difference = np.empty_like(told)
    weight, pull = np.empty((2, len(seen)), np.float32)
    information = np.empty((len(places), 3), np.float32)
    force = np.empty((len(places), 2), np.float32)
    whitened = np.empty_like(motions)
    for _ in range(_STEPS):
        at = between.spread(places + moved(motions, amounts))
        kernels.compare(detail.value, at, told, known, difference)
        smooth = between.spread(smoother(between.gather(difference)) / near)
        kernels.weigh(difference, smooth, known, _NOISE, _MAD_TO_SIGMA, _SHARE, weight, pull)
        # What each place says is handed to the points around it: the slope is that of the places,
        # the curvature a little more, as if neighbours did not move exactly alike.
        slopes, of_place = (detail.dx, detail.dy), (between.rows, between.shares)
        kernels.inform(*slopes, at, weight, pull, *of_place, information, force)
        kernels.whiten(information, motions, whitened)
        jacobian = whitened.reshape(-1, len(start))
        normal = jacobian.T @ jacobian + prior
        slope = force.ravel() @ motions.reshape(-1, len(start)) + trust**2 * amounts
        step = np.linalg.solve(normal, -slope)
        amounts += step
        if np.abs(moved(motions, step)).max() < _STOP_PX:
            break
    return amounts


def _side_by_side(references: Sequence[Reference], seen: Mask) -> tuple[Floats, Floats]:
    """Values (N, K) of the references, and 1 where they and we see the point, else 0.

    K is the next multiple of `LANES`; nothing is known of those beyond the references.
    """
    columns = -(-len(references) // LANES) * LANES
    told, known = np.zeros((2, len(seen), columns), np.float32)
    for column, reference in enumerate(references):
        told[:, column] = reference.values
        known[:, column] = reference.seen & seen
    return told, known


def moved(motions: Floats, amounts: NDArray) -> Floats:
    """Shifts (N, 2) by amounts (M,) of motions (N, 2, M)."""
    flat = motions.reshape(-1, motions.shape[2])
    return np.asarray(flat @ amounts.astype(np.float32)).reshape(-1, 2)
