"""`flowface demo`, whole: over DDS, with clips from the package index."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

from flowface_ros import cli

KEYS = {"sets", "answered", "dropped", "tracked", "latency_ms"}
TRUTH_KEYS = {"position_error_mm", "rotation_error_deg", "vertex_error_mm", "ssme_px"}


@pytest.mark.slow
@pytest.mark.network
def test_demo_tracks_and_reports(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "--out", str(tmp_path)]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["synthetic"].keys() >= KEYS | TRUTH_KEYS
    assert metrics["real"].keys() >= KEYS
    assert metrics["synthetic"]["sets"] == 120
    assert metrics["real"]["sets"] == sum(clip["sets"] for clip in metrics["clips"].values())
    for name in ("synthetic", "carphone", "astronaut"):
        assert (tmp_path / f"{name}.webm").stat().st_size > 10_000
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    assert "position error, mm" in capfd.readouterr().out
