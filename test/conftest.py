"""What all tests share: threads of BLAS, no deadlines, and what is left out without a GPU."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# The first call of a compiled function takes as long as its compilation.
settings.register_profile("compiled", deadline=None)
settings.load_profile("compiled")

# Before numpy is imported: more threads only get in each other's way at the sizes here.
for _variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")


def _has_gpu() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `gpu` where torch finds none."""
    marked = [item for item in items if item.get_closest_marker("gpu") is not None]
    if marked and not _has_gpu():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
