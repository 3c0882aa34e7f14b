"""Which looks are fitted, and which are kept for sigma."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import fit_light
import look_gatherer


@pytest.mark.parametrize("kind", ["drawn", "moments", "traced"])
@pytest.mark.parametrize("first", [0, 1, 20_000])
def test_no_hard_batch_is_kept_wherever_a_run_begins(kind: str, first: int) -> None:
    numbers = range(first, first + 60)
    kept = [n for n in numbers if fit_light.is_kept(Path(f"{kind}_{n:05d}.npz"))]
    assert len(kept) == 4
    assert not any(look_gatherer.is_hard(number) for number in kept)
