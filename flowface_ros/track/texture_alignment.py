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

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

_BLUR_PX = 1.0
"""Standard deviation by which crops are blurred before: what is sharper has no useful gradient."""
_NOISE = 3.0
"""Standard deviation of intensities, of 255."""
_SHARE = 0.2
"""Share of the points' information that counts: errors of neighbours are alike."""
_STEPS = 4
_STOP_PX = 0.02
"""Steps that move no point farther end the iteration."""
_MAD_TO_SIGMA = 1.48
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
        return _sampled(self.value, places)

    def gradients_at(self, places: NDArray) -> tuple[Floats, Floats]:
        """d value / dx and d value / dy, (N,) each, at crop pixels (N, 2)."""
        return _sampled(self.dx, places), _sampled(self.dy, places)


def detail_of(crop: NDArray[np.uint8]) -> Detail:
    """crop: (S, S, 3) uint8 RGB."""
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    value = np.asarray(cv2.GaussianBlur(grey, (0, 0), _BLUR_PX), np.float32)
    return Detail(value, _derivative(value, 1, 0), _derivative(value, 0, 1))


def _derivative(value: Floats, dx: int, dy: int) -> Floats:
    return np.asarray(cv2.Scharr(value, -1, dx, dy, scale=_PER_PIXEL), np.float32)


def _sampled(picture: Floats, places: NDArray) -> Floats:
    x, y = np.asarray(places, np.float32).T
    border = cv2.BORDER_REPLICATE
    return np.asarray(cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=border)).ravel()


@dataclass(frozen=True, eq=False)
class Reference:
    """What points of the skin looked like in a picture.

    values: (N,) intensity. seen: (N,) which of them the picture showed.
    """

    values: Floats
    seen: Mask


class Smoother:
    """Means over the neighbourhood on the skin, of points of which some are missing."""

    def __init__(self, places: NDArray, length: float) -> None:
        """places: (N, D) metres. length: standard deviation of the neighbourhood, metres."""
        # Twice over nodes: the sum of both is the Gaussian, at less than its cost.
        once = length / np.sqrt(2)
        nodes = places[_spread(places, once)]
        squared = ((places[:, None] - nodes) ** 2).sum(axis=2)
        self._weights = np.exp(-squared / (2 * once**2)).astype(np.float32)

    def __call__(self, values: Floats, known: Floats) -> Floats:
        """Means (N, K) of those values (N, K) whose known (N, K) is 1; 0 where there is none near.

        Values that are not known must be 0.
        """
        both = np.concatenate([values, known], axis=1)
        sums, counts = np.split(self._weights @ (self._weights.T @ both), 2, axis=1)
        return np.asarray(sums / np.maximum(counts, np.float32(1e-6)), np.float32)


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
    smoother: Smoother,
    trust: float = 1.0,
) -> Array:
    """Amounts (M,) of the motions after which the picture looks as the references do.

    places: (N, 2) crop pixels where the points are said to be. seen: (N,) which of them show.
    motions: (M, 2, N) crop pixels by which one standard deviation of each moves the points.
    start: (M,) amounts to begin with. references: at least one. trust: in where the points are
    said to be; by as much the motions' standard deviations are less.
    """
    amounts = start.copy()
    known = np.stack([r.seen & seen for r in references], axis=1).astype(np.float32)
    told = np.stack([r.values for r in references], axis=1)
    for _ in range(_STEPS):
        at = places + np.tensordot(amounts.astype(np.float32), motions, 1).T
        difference = (detail.values_at(at)[:, None] - told) * known
        difference = (difference - smoother(difference, known)) * known
        weights = _weights(difference, known)
        dx, dy = detail.gradients_at(at)
        jacobian = dx * motions[:, 0] + dy * motions[:, 1]
        normal = (jacobian * weights.sum(axis=1)) @ jacobian.T + trust**2 * np.eye(len(motions))
        slope = jacobian @ (weights * difference).sum(axis=1) + trust**2 * amounts
        step = np.linalg.solve(normal.astype(np.float64), -slope)
        amounts += step
        if np.abs(np.tensordot(step.astype(np.float32), motions, 1)).max() < _STOP_PX:
            break
    return amounts


def _weights(difference: Floats, known: Floats) -> Floats:
    """Inverse variance (N, K) of intensities; next to nothing for outliers.

    A reference that looks different throughout counts less: its scale is its own median.
    """
    weights = np.zeros_like(difference)
    for column, differs in enumerate(difference.T):
        rows = known[:, column] > 0
        if rows.any():
            sigma = max(_NOISE, _MAD_TO_SIGMA * float(np.median(np.abs(differs[rows]))))
            tail = 1 + (differs[rows] / (2 * sigma)) ** 2
            weights[rows, column] = _SHARE / (sigma * tail) ** 2
    return weights
