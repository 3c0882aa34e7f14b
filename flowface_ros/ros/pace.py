"""Limits how often something costly is done."""

from __future__ import annotations

import time


class Pace:
    """Says when it is time again. Clock: monotonic."""

    def __init__(self) -> None:
        self._last_s = -float("inf")

    def is_due(self, rate_hz: float) -> bool:
        """Whether 1 / rate_hz has passed since it was last due; never for a rate of 0."""
        now_s = time.monotonic()
        if rate_hz <= 0 or now_s - self._last_s < 1 / rate_hz:
            return False
        self._last_s = now_s
        return True
