"""Correlation of observation errors over the surface, and how to measure it.

The errors of two points at a distance d on the neutral head are modelled as correlated by

    rho(d) = share * exp(-d^2 / (2 length^2)),   rho(0) = 1

in each view and pixel axis alike; errors of different views, and of x and y, as independent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import curve_fit

from flowface_ros.fit.config import NoiseConfig
from flowface_ros.head.model import HeadModel
from flowface_ros.head.surface import SurfacePoints

Array = NDArray[np.float64]

_PATCHES_PER_LENGTH = 2.0
"""Side of a patch within which errors are taken as one: half a correlation length."""
_MOST_PATCHES = 400
"""Patches grow beyond that; lengths that need more are near the points' own distance."""


@dataclass(frozen=True, eq=False)
class Patches:
    """N points in G patches, and how their errors are correlated.

    order: (N,) points sorted by patch. start: (G,) where each patch begins in that order.
    correlation: (G, G) mean over pairs of points of the correlated part, which is 1 at distance 0.
    share: of the variance that is correlated.
    tempering: effective number of points over N, in (0, 1], to the configured power.
    alike: points whose squared errors are alike, each with itself: sum of the squared correlations
        of a point, at least 1.
    """

    order: NDArray[np.int64]
    start: NDArray[np.int64]
    correlation: Array
    share: float
    tempering: float
    alike: float = 1.0

    def score_covariance(self, whitened: Array, gram: Array) -> Array:
        """Covariance (n, n) of A^T e for whitened A (N, 3, n) with A^T A = gram and errors e of
        unit variance that are correlated as here."""
        if self.share == 0 or not len(self.start):
            return gram
        sums = np.add.reduceat(whitened[self.order], self.start, axis=0)
        return self._blend(sums, gram)

    def view_covariance(self, rows: Array, points: NDArray[np.int32], gram: Array) -> Array:
        """The same for the rows (k, 2, n) of one view and the points (k,) that they are of."""
        if self.share == 0 or not len(self.start):
            return gram
        patch = np.zeros(len(self.order), np.int64)
        patch[self.order] = np.searchsorted(self.start, np.arange(len(self.order)), "right") - 1
        sums = np.zeros((len(self.start), *rows.shape[1:]))
        np.add.at(sums, patch[points], rows)
        return self._blend(sums, gram)

    def _blend(self, sums: Array, gram: Array) -> Array:
        total = np.zeros_like(gram)
        for axis in range(sums.shape[1]):
            total += sums[:, axis].T @ (self.correlation @ sums[:, axis])
        return (1 - self.share) * gram + self.share * total


def make_patches(model: HeadModel, points: SurfacePoints, noise: NoiseConfig) -> Patches:
    """Patches of surface points; one point each, independent, without a correlation length."""
    count = len(points)
    length = noise.correlation_length
    if length == 0 or noise.correlation_share == 0 or count == 0:
        none = np.zeros(0, np.int64)
        return Patches(np.arange(count), none, np.zeros((0, 0)), 0.0, 1.0)
    places = neutral_places(model, points)
    patch = _cells(places, length / _PATCHES_PER_LENGTH)
    order = np.argsort(patch, kind="stable")
    start = np.flatnonzero(np.diff(patch[order], prepend=-1))
    sorted_places = places[order]
    correlation = np.empty((len(start), len(start)))
    total, squares = 0.0, 0.0
    ends = np.append(start[1:], count)
    for i, (a, b) in enumerate(zip(start, ends, strict=True)):
        squared = ((sorted_places[a:b, None] - sorted_places[None]) ** 2).sum(axis=2)
        rho = np.exp(-0.5 * squared / length**2)
        total += rho.sum()
        squares += np.square(rho).sum()
        correlation[i] = np.add.reduceat(rho.sum(axis=0), start) / (b - a) / (ends - start)
    inflation = 1 + noise.correlation_share * (total / count - 1)
    tempering = inflation**-noise.tempering
    share = noise.correlation_share
    alike = 1 + share**2 * (squares / count - 1)
    return Patches(order, start, correlation, share, tempering, alike)


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
