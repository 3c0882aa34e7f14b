"""Learning rate by step: warm-up, constant, then down to almost nothing."""

from __future__ import annotations

WARM_UP_STEPS = 500
DECAY_FROM = 0.8
"""Share of the run after which the rate falls. A constant rate before lets a run be ended early or
made longer by setting `steps` anew."""
LAST_FACTOR = 0.02


def rate_factor(step: int, steps: int) -> float:
    """Factor on the highest rate at a step of a run of `steps`."""
    warm = min(1.0, (step + 1) / min(WARM_UP_STEPS, max(steps // 10, 1)))
    progress = step / steps
    fall = min(max((progress - DECAY_FROM) / (1 - DECAY_FROM), 0.0), 1.0)
    return warm * (1.0 - (1.0 - LAST_FACTOR) * fall)
