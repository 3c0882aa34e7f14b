"""Figures of alignment: error in percent of the inter-ocular distance, calibration of sigma."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from flowface_ros.train.regions import REGIONS, SKIN_REGIONS

_MOST_VALUES = 400_000
"""Kept per figure for medians and percentiles; means are over all."""


@dataclass
class _Series:
    """Errors (percent) and squared normalised residuals of one set of points."""

    count: int = 0
    error_sum: float = 0.0
    square_sum: float = 0.0
    kept: list[NDArray[np.float32]] = field(default_factory=list)

    def add(self, error: NDArray, square: NDArray) -> None:
        self.count += len(error)
        self.error_sum += float(error.sum())
        self.square_sum += float(square.sum())
        if sum(map(len, self.kept)) < _MOST_VALUES:
            self.kept.append(error.astype(np.float32))

    def figures(self) -> dict[str, float]:
        errors = np.concatenate(self.kept)
        return {
            "mean_iod_percent": self.error_sum / self.count,
            "median_iod_percent": float(np.median(errors)),
            "p95_iod_percent": float(np.percentile(errors, 95)),
            "sigma_rms": float(np.sqrt(self.square_sum / self.count)),
            "points": self.count,
        }


class AlignmentMetrics:
    """Collects answers about pictures with truth. regions: (Q,), see `texel_regions`."""

    def __init__(self, regions: NDArray[np.integer], crop_px: int) -> None:
        self._regions, self._crop_px = regions, crop_px
        self._skin = np.isin(regions, SKIN_REGIONS)
        self._series: dict[str, _Series] = {}

    def add(
        self, position_px: NDArray, log_sigma: NDArray, truth_px: NDArray, visible: NDArray,
        iod_px: NDArray,
    ) -> None:  # fmt: skip
        """position_px, truth_px: (B, Q, 2). log_sigma: (B, Q). visible: (B, Q). iod_px: (B,)."""
        residual = np.asarray(position_px, np.float64) - truth_px
        distance = np.linalg.norm(residual, axis=2)
        error = 100 * distance / iod_px[:, None]
        # Per axis: sigma is that of one coordinate.
        square = 0.5 * (distance / np.exp(np.asarray(log_sigma, np.float64))) ** 2
        inside = ((truth_px > -0.5) & (truth_px < self._crop_px - 0.5)).all(axis=2)
        hidden = inside & ~visible
        sets = {"visible": visible & self._skin, "hidden": hidden & self._skin}
        sets |= {"visible_all": visible, "hidden_all": hidden}
        sets |= {name: visible & (self._regions == k) for k, name in enumerate(REGIONS)}
        for name, chosen in sets.items():
            if chosen.any():
                self._series.setdefault(name, _Series()).add(error[chosen], square[chosen])

    def figures(self) -> dict[str, dict[str, float]]:
        """By set: visible, hidden (the face's skin), visible_all, hidden_all, regions (visible)."""
        return {name: series.figures() for name, series in self._series.items()}


def format_figures(figures: dict[str, dict[str, float]]) -> str:
    """A table for people."""
    lines = [f"{'points':12} {'mean %':>7} {'median':>7} {'p95':>7} {'sigma rms':>9} {'count':>9}"]
    for name, row in figures.items():
        lines.append(
            f"{name:12} {row['mean_iod_percent']:7.2f} {row['median_iod_percent']:7.2f} "
            f"{row['p95_iod_percent']:7.2f} {row['sigma_rms']:9.2f} {row['points']:9.0f}"
        )
    return "\n".join(lines)
