"""Honest sigma: one factor per region, measured on held-out pictures and put into the network."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from flowface_ros.align.network.networks import Network
from flowface_ros.train.regions import REGIONS

_FEWEST_POINTS = 200
"""Regions with fewer visible points keep their sigma."""
_LARGEST_CHANGE = 1.5
"""Of log sigma: beyond this the network is not ready, and one number will not mend it."""


def calibration(
    regions: NDArray[np.integer], position_px: NDArray, log_sigma: NDArray, truth_px: NDArray,
    visible: NDArray,
) -> NDArray[np.float32]:  # fmt: skip
    """What to add to log sigma of each texel (Q,), so that normalised residuals of the visible
    points of each region have an rms of 1.

    regions: (Q,), see `texel_regions`. position_px, truth_px: (B, Q, 2). log_sigma, visible:
    (B, Q).
    """
    square = 0.5 * ((np.asarray(position_px, np.float64) - truth_px) ** 2).sum(axis=2)
    normalised = square * np.exp(-2 * np.asarray(log_sigma, np.float64))
    change = np.zeros(len(regions))
    for row in (-1, *range(len(REGIONS))):
        chosen = visible & (regions == row)
        if chosen.sum() >= _FEWEST_POINTS:
            mean = max(float(normalised[chosen].mean()), 1e-12)
            change[regions == row] = np.clip(0.5 * np.log(mean), -_LARGEST_CHANGE, _LARGEST_CHANGE)
    return change.astype(np.float32)


@torch.no_grad()
def calibrate(network: Network, change: NDArray[np.float32]) -> None:
    """Add a change (Q,) to the network's log sigma, in place.

    ValueError for a network that is asked about another grid than it answers on.
    """
    network.add_log_sigma(torch.from_numpy(change))
