"""Shaking: the part of the error that changes from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_WHITE_GAIN = 1.5
"""Variance of x_t - (x_{t-1} + x_{t+1}) / 2 for white noise of variance 1."""


def jitter_mm(signal: Sequence[NDArray[np.floating] | None]) -> float:
    """Root mean square of the high-frequency part of points (N, 3) over frames, millimetres.

    signal: T arrays, metres; None where there is none. The high-frequency part is what a point
    deviates from the mean of its neighbours in time, scaled such that independent noise of standard
    deviation s in each coordinate gives sqrt(3) s. Given the error (prediction minus truth), steady
    motion and a constant offset cost nothing. NaN with fewer than three frames in a row.
    """
    total, count = 0.0, 0
    for before, now, after in zip(signal, signal[1:], signal[2:], strict=False):
        if before is None or now is None or after is None:
            continue
        deviation = np.asarray(now, np.float64) - 0.5 * (before + after)
        total += float((deviation**2).sum())
        count += len(deviation)
    return 1e3 * float(np.sqrt(total / count / _WHITE_GAIN)) if count else float("nan")
