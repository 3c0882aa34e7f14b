"""Smooth functions of time, from which synthetic motion is put together.

All of them are twice continuously differentiable and can be evaluated at any time, so that cameras
with different stamps, and the sub-frames of a blurred exposure, sample one and the same motion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def smootherstep(x: ArrayLike) -> Array:
    """Quintic ramp: 0 for x <= 0, 1 for x >= 1, first and second derivatives zero at both ends."""
    u = np.clip(np.asarray(x, np.float64), 0.0, 1.0)
    return u * u * u * (u * (6 * u - 15) + 10)


def soft_limit(value: ArrayLike, limit: ArrayLike) -> Array:
    """`value` squeezed smoothly into (-limit, limit); slope 1 at 0."""
    bound = np.maximum(np.asarray(limit, np.float64), 1e-9)
    return bound * np.tanh(np.asarray(value, np.float64) / bound)


@dataclass(frozen=True)
class Pulses:
    """N pulses that rise from 0 to 1, hold and fall; all (N,) seconds."""

    start: Array
    rise: Array
    hold: Array
    fall: Array

    def values(self, t: ArrayLike) -> Array:
        """Heights (..., N) in [0, 1] at times (...)."""
        since = np.asarray(t, np.float64)[..., None] - self.start
        up = smootherstep(since / self.rise)
        return up * (1.0 - smootherstep((since - self.rise - self.hold) / self.fall))


@dataclass(frozen=True)
class Waves:
    """Band-limited signals: each of C channels is a sum of K sines.

    amplitude, phase: (C, K); frequency_hz: (C, K); offset: (C,).
    """

    amplitude: Array
    frequency_hz: Array
    phase: Array
    offset: Array

    def values(self, t: ArrayLike) -> Array:
        """Values (..., C) at times (...)."""
        time = np.asarray(t, np.float64)[..., None, None]
        angle = 2 * np.pi * self.frequency_hz * time + self.phase
        return self.offset + (self.amplitude * np.sin(angle)).sum(axis=-1)


def sample_waves(
    rng: np.random.Generator,
    rms: ArrayLike,
    band_hz: tuple[float, float],
    components: int = 5,
    offset: ArrayLike = 0.0,
) -> Waves:
    """Random signals, one per entry of `rms` (C,), whose frequencies lie in `band_hz`.

    Amplitudes fall with the frequency, as those of natural motion do; every channel has the given
    root mean square.
    """
    level = np.atleast_1d(np.asarray(rms, np.float64))
    shape = (len(level), components)
    frequency = np.exp(rng.uniform(np.log(band_hz[0]), np.log(band_hz[1]), shape))
    amplitude = rng.uniform(0.5, 1.0, shape) / frequency
    amplitude *= np.sqrt(2.0) / np.linalg.norm(amplitude, axis=1, keepdims=True)
    return Waves(
        amplitude * level[:, None],
        frequency,
        rng.uniform(0.0, 2 * np.pi, shape),
        np.broadcast_to(np.asarray(offset, np.float64), level.shape).copy(),
    )


def event_times(
    rng: np.random.Generator, start: float, end: float, mean_gap_s: float, min_gap_s: float
) -> Array:
    """Times (N,) of a Poisson process with a dead time, from `start` to `end`."""
    times = []
    now = start + rng.uniform(0.2, 1.0) * mean_gap_s
    while now < end:
        times.append(now)
        now += min_gap_s + rng.exponential(max(mean_gap_s - min_gap_s, 1e-3))
    return np.array(times)
