"""Errors in a few numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

Array = NDArray[np.float64]
Figures = dict[str, float | int]

CONFIDENCE = 0.95


def figures(errors: Sequence[float] | NDArray[np.floating]) -> Figures:
    """mean, median, p95, rms, max and count of errors that are >= 0; NaN for none."""
    values = np.asarray(errors, np.float64).reshape(-1)
    values = values[np.isfinite(values)]
    if not len(values):
        nothing = float("nan")
        return dict.fromkeys(("mean", "median", "p95", "rms", "max"), nothing) | {"count": 0}
    return {
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "p95": float(np.percentile(values, 95)),
        "rms": float(np.sqrt((values**2).mean())),
        "max": float(values.max()),
        "count": len(values),
    }


def nees_figures(nees: Sequence[float] | NDArray[np.floating], dimension: int) -> Figures:
    """How normalised squared errors e^T C^-1 e compare with chi-square of that many dimensions.

    mean: over the dimension for honest covariances. mean_low, mean_high: where the mean lies 95 %
    of the time if the samples are independent. inside_95: share below chi-square's 95th percentile,
    0.95 for honest covariances.
    """
    values = np.asarray(nees, np.float64)
    values = values[np.isfinite(values)]
    count = len(values)
    edges = (0.5 * (1 - CONFIDENCE), 0.5 * (1 + CONFIDENCE))
    low, high = np.full(2, np.nan)
    if count:
        low, high = np.asarray(chi2.ppf(edges, dimension * count)) / count
    limit = float(chi2.ppf(CONFIDENCE, dimension))
    return {
        "dimension": dimension,
        "mean": float(values.mean()) if count else float("nan"),
        "mean_low": float(low),
        "mean_high": float(high),
        "inside_95": float((values <= limit).mean()) if count else float("nan"),
        "limit_95": limit,
        "count": count,
    }
