"""Correlation of observation errors over the surface, and how to measure it.

The errors of two points at a distance d on the neutral head are modelled as correlated by

    rho(d) = share * exp(-d^2 / (2 length^2)),   rho(0) = 1

in each view and pixel axis alike; errors of different views, and of x and y, as independent. The
fit sums up the robust loss's derivatives, which are a little less alike than the errors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import curve_fit

from flowface_ros.fit.config import NoiseConfig
from flowface_ros.fit.robust import score_correlation
from flowface_ros.head.model import HeadModel
from flowface_ros.head.surface import SurfacePoints

Array = NDArray[np.float64]

_PATCHES_PER_LENGTH = 3.0
"""Side of a patch within which errors are taken as one: a third of a correlation length."""
_MOST_PATCHES = 800
"""Patches grow beyond that; lengths that need more are near the points' own distance."""
_KEPT_VARIANCE = 0.99
"""Of the correlated part that its modes hold; the rest is taken as independent."""


@dataclass(frozen=True, eq=False)
class Correlation:
    """How the scores of N points, the loss's derivatives by their errors, are correlated.

    modes: (N, q); modes @ modes^T is the correlated part. share: of the scores' variance that is
    independent. tempering: effective number of points over N, in (0, 1], to the configured power.
    alike: points whose squared errors are alike, each with itself: sum of the squared correlations
        of a point, at least 1.
    """

    modes: Array
    independent: float
    tempering: float
    alike: float

    def score_covariance(self, whitened: Array, gram: Array) -> Array:
        """Covariance (n, n) of A^T e for whitened A (N, r, n) with A^T A = gram and scores e of
        unit variance that are correlated as here."""
        return self._covariance(self.modes, whitened, gram)

    def view_covariance(self, rows: Array, points: NDArray[np.int32], gram: Array) -> Array:
        """The same for the rows (k, 2, n) of one view and the points (k,) that they are of."""
        return self._covariance(self.modes[points], rows, gram)

    def _covariance(self, modes: Array, rows: Array, gram: Array) -> Array:
        if not modes.shape[1]:
            return gram
        sums = (modes.T @ rows.reshape(len(rows), -1)).reshape(-1, rows.shape[2])
        return self.independent * gram + sums.T @ sums


def make_correlation(model: HeadModel, points: SurfacePoints, noise: NoiseConfig) -> Correlation:
    """Of surface points; independent without a correlation length."""
    count = len(points)
    length = noise.correlation_length
    if length == 0 or noise.correlation_share == 0 or count == 0:
        return Correlation(np.zeros((count, 0)), 1.0, 1.0, 1.0)
    places = neutral_places(model, points)
    patch = _cells(places, length / _PATCHES_PER_LENGTH)
    order = np.argsort(patch, kind="stable")
    start = np.flatnonzero(np.diff(patch[order], prepend=-1))
    sorted_places = places[order]
    correlation = np.empty((len(start), len(start)))
    squares = 0.0
    ends = np.append(start[1:], count)
    for i, (a, b) in enumerate(zip(start, ends, strict=True)):
        squared = ((sorted_places[a:b, None] - sorted_places[None]) ** 2).sum(axis=2)
        errors = noise.correlation_share * np.exp(-0.5 * squared / length**2)
        squares += np.square(errors).sum()
        scores = score_correlation(errors, noise.degrees_of_freedom)
        correlation[i] = np.add.reduceat(scores.sum(axis=0), start)
    share = float(score_correlation(np.array(noise.correlation_share), noise.degrees_of_freedom))
    modes, kept = _patch_modes(correlation, ends - start)
    inflation = 1 + correlation.sum() / count - share
    alike = 1 + squares / count - noise.correlation_share**2
    tempering = float(inflation**-noise.tempering)
    return Correlation(modes[patch], 1 - share * kept, tempering, float(alike))


def _patch_modes(sums: Array, counts: NDArray[np.int64]) -> tuple[Array, float]:
    """Modes (G, q) of patches of so many points (G,) from the sums (G, G) of their pairs'
    correlations, and the share of the variance that they hold."""
    root = np.sqrt(counts)
    variance, vectors = np.linalg.eigh(sums / np.outer(root, root))
    variance, vectors = np.maximum(variance[::-1], 0.0), vectors[:, ::-1]
    held = np.cumsum(variance) / variance.sum()
    count = int(np.searchsorted(held, _KEPT_VARIANCE)) + 1
    return vectors[:, :count] * np.sqrt(variance[:count]) / root[:, None], float(held[count - 1])


def neutral_places(model: HeadModel, points: SurfacePoints) -> Array:
    """Points (N, 3) on the template, metres."""
    return points.interpolate(model.triangles, model.template.astype(np.float64))


def measure_correlation(
    model: HeadModel,
    points: SurfacePoints,
    errors: Array,
    bins: int = 24,
    longest: float = 0.12,
) -> tuple[float, float]:
    """Correlation length (m) and correlated share in [0, 1] of errors (F, N, 2) of F images.

    errors: of the N points divided by their sigmas, best against ground truth: residuals of a fit
    have lost what the head could explain, which makes the length come out too short. NaN marks
    points that are missing. longest: distance (m) up to which pairs are used.
    ValueError for fewer than 8 points or images without any error.
    """
    values = np.asarray(errors, np.float64)
    if values.ndim != 3 or values.shape[1:] != (len(points), 2) or len(points) < 8:
        raise ValueError(f"errors has shape {values.shape}, must be (F, {len(points)}, 2), N >= 8")
    seen = np.isfinite(values)
    filled = np.where(seen, values, 0.0).transpose(1, 0, 2).reshape(len(points), -1)
    mask = seen.transpose(1, 0, 2).reshape(len(points), -1).astype(np.float64)
    pairs, products = mask @ mask.T, filled @ filled.T
    variance = np.trace(products) / max(np.trace(pairs), 1.0)
    if variance <= 0:
        raise ValueError("errors are all zero or missing")
    places = neutral_places(model, points)
    distance = np.sqrt(((places[:, None] - places[None]) ** 2).sum(axis=2))
    upper = np.triu_indices(len(points), 1)
    edges = np.linspace(0.0, longest, bins + 1)
    which = np.digitize(distance[upper], edges) - 1
    use = which < bins
    weight: Array = np.bincount(which[use], pairs[upper][use], bins).astype(np.float64)
    total = np.bincount(which[use], products[upper][use], bins)
    middle = np.bincount(which[use], distance[upper][use] * pairs[upper][use], bins)
    good = weight > 0
    rho = total[good] / weight[good] / variance
    return fit_kernel(np.asarray(middle[good] / weight[good]), rho, weight[good])


def fit_kernel(distance: Array, rho: Array, weight: Array) -> tuple[float, float]:
    """Length (m) and share of correlations (B,) found at distances (B,) in so many pairs; zeros
    when they are no more than chance."""

    def kernel(d: Array, length: float, share: float) -> Array:
        return share * np.exp(-0.5 * (d / length) ** 2)

    noise = 1 / np.sqrt(weight)
    if np.all(np.abs(rho) < 3 * noise):
        return 0.0, 0.0
    bounds = ((1e-4, 0.0), (1.0, 1.0))
    (length, share), _ = curve_fit(kernel, distance, rho, (0.02, 0.5), noise, bounds=bounds)
    return float(length), float(share)


def _cells(places: Array, side: float) -> NDArray[np.int64]:
    """A cell number (N,) of a cubic grid for each place."""
    while True:
        cells = np.floor(places / side).astype(np.int64)
        _, patch = np.unique(cells, axis=0, return_inverse=True)
        if patch.max() < _MOST_PATCHES:
            return patch.reshape(-1)
        side *= 1.2
