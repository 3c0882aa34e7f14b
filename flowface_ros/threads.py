"""Cores, and how many threads numerical libraries take of them; import nothing numerical before."""

from __future__ import annotations

import os

_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
"""BLAS reads these when numpy is imported."""


def keep_blas_to_one_thread() -> None:
    """Unless the user set another number.

    The fit's matrices are small: with two threads on two busy cores they took ten times as long.
    """
    for variable in _VARIABLES:
        os.environ.setdefault(variable, "1")


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
