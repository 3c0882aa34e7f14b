"""`flowface evaluate`: known errors are found again, and the report opens."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import jsonschema
import numpy as np
import pytest

from flowface_ros import cli
from flowface_ros.evaluate.report import SCHEMA_PATH
from flowface_ros.head.model_file import load_builtin_head

Judge = Callable[..., dict[str, Any]]


@pytest.fixture
def judge(truth_bag: Path, tmp_path: Path, write_prediction: Callable[..., None]) -> Judge:
    def run(change: Any = lambda frame, message: message, **options: Any) -> dict[str, Any]:
        prediction, out = tmp_path / f"{uuid4()}.mcap", tmp_path / "report"
        write_prediction(truth_bag, prediction, change, **options)
        arguments = [str(prediction), "--truth", str(truth_bag), "--out", str(out)]
        assert cli.main(["evaluate", *arguments]) == 0
        metrics = json.loads((out / "metrics.json").read_text())
        jsonschema.validate(metrics, json.loads(SCHEMA_PATH.read_text()))
        return metrics

    return run


def test_the_truth_itself_has_no_error(judge: Judge) -> None:
    metrics = judge()
    assert metrics["same_topology"] is True
    assert metrics["tracking"]["tracked_share"] == 1
    assert metrics["tracking"]["latency_ms"] is None
    assert metrics["ssme"]["coverage"] > 0.99
    for value in (
        metrics["ssme"]["score_px"],
        metrics["position_mm"]["max"],
        metrics["rotation_deg"]["max"],
        metrics["vertices"]["rig_mm"]["max"],
        metrics["neutral_shape_mm"]["max"],
        metrics["expression"]["blendshapes"]["rms"],
        metrics["jitter"]["vertices_mm"],
    ):
        assert value == pytest.approx(0, abs=1e-3)


def test_a_constant_offset(judge: Judge, shift_by: Callable) -> None:
    metrics = judge(shift_by(lambda frame: np.array([0.0, 0.003, 0.004])))
    assert metrics["position_mm"]["mean"] == pytest.approx(5, abs=1e-3)
    assert metrics["vertices"]["rig_mm"]["mean"] == pytest.approx(5, abs=1e-2)
    assert metrics["vertices"]["aligned_mm"]["mean"] == pytest.approx(0, abs=1e-2)
    assert metrics["jitter"]["position_mm"] == pytest.approx(0, abs=1e-6)
    assert 0 < metrics["ssme"]["score_px"] < 0.2


def test_jitter_drops_ids_covariance_weights_and_delay(judge: Judge, shift_by: Callable) -> None:
    """Everything that a tracker can do wrong at once."""
    shift = shift_by(lambda frame: np.array([0.002 * (-1) ** frame, 0, 0]))

    def change(frame: int, message: Any) -> Any:
        message = shift(frame, message)
        face = message.faces[0]
        face.id = "a" if frame < 3 else "b"
        face.pose.covariance = np.diag([1e-6] * 3 + [1e-4] * 3).reshape(-1)
        face.blendshapes = np.clip(face.blendshapes + np.float32(0.1), 0, 1)
        face.status = 3 if frame == 1 else 2
        return None if frame == 5 else message

    metrics = judge(change, delay_ns=40_000_000)
    tracking = metrics["tracking"]
    assert tracking["face_arrays"] == 5 and tracking["true_frames"] == 6
    assert tracking["unanswered_frames"] == 1 and tracking["id_switches"] == 1
    assert tracking["tracked_share"] == pytest.approx(5 / 6)
    assert tracking["measured_share"] == pytest.approx(4 / 6)
    assert tracking["latency_ms"]["median"] == pytest.approx(40)
    assert metrics["pose_nees"]["mean"] == pytest.approx(4, rel=1e-3)
    assert metrics["jitter"]["position_mm"] == pytest.approx(4 / np.sqrt(1.5), rel=1e-3)
    assert 0.05 < metrics["expression"]["blendshapes"]["mean_absolute"] <= 0.1001
    # Meshes carry the true ids, which these faces no longer have.
    assert metrics["ssme"]["coverage"] == 0 and metrics["ssme"]["score_px"] is None


def test_another_topology_of_the_same_surface(judge: Judge, shift_by: Callable) -> None:
    """Vertices in another order, under another hash: nothing corresponds, all else is the same."""
    order = np.random.default_rng(0).permutation(load_builtin_head().vertex_count)
    place = np.argsort(order)

    def remesh(message: Any) -> Any:
        if hasattr(message, "triangles"):
            message.triangles = place[message.triangles].astype(np.uint32)
        else:
            message.vertices = message.vertices.reshape(-1, 3)[order].reshape(-1)
        message.model_hash = 5
        return message

    shift = np.array([0.0, 0.002, 0.0])
    plain = judge(shift_by(lambda frame: shift * (-1) ** frame))
    other = judge(shift_by(lambda frame: shift * (-1) ** frame), remesh=remesh)
    assert plain["same_topology"] is True and other["same_topology"] is False
    assert other["ssme"]["score_px"] == pytest.approx(plain["ssme"]["score_px"], rel=1e-4)
    assert other["vertices"]["method"] == "closest"
    assert other["vertices"]["rig_mm"]["mean"] < plain["vertices"]["rig_mm"]["mean"]
    assert other["vertices"]["aligned_mm"]["mean"] < 0.05
    assert other["neutral_shape_mm"] is None
    assert other["jitter"]["vertices_against"] == "true_pose"
    assert other["jitter"]["vertices_mm"] == pytest.approx(plain["jitter"]["vertices_mm"], rel=0.2)


def test_an_empty_tracker(judge: Judge) -> None:
    def nobody(frame: int, message: Any) -> Any:
        message.faces = []
        return message

    metrics = judge(nobody)
    assert metrics["tracking"]["tracked_share"] == 0
    assert metrics["position_mm"]["mean"] is None and metrics["vertices"] is None


def test_the_report_needs_nothing_else(judge: Judge, tmp_path: Path) -> None:
    judge()
    page = (tmp_path / "report" / "report.html").read_text()
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert page.count("data:image/jpeg") == 6
    assert page.count("<svg") >= 4


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chromium-headless-shell")


def opened(page: Path, folder: Path) -> tuple[str, Path]:
    """What Chromium says about a page, and its picture."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("chromium is not installed")
    picture = folder / "page.png"
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
        f"--user-data-dir={folder / 'profile'}", "--window-size=900,2400",
        f"--screenshot={picture}", str(page),
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    return result.stderr, picture


def test_the_report_in_a_browser(judge: Judge, tmp_path: Path) -> None:
    """Chromium loads it without an error of a script, and lays it out."""
    judge()
    said, picture = opened(tmp_path / "report" / "report.html", tmp_path)
    assert "CONSOLE" not in said, said
    assert picture.stat().st_size > 20_000


def test_a_browser_tells_of_an_error_of_a_script(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<!doctype html><title>x</title><script>nothing.there()</script>")
    said, _ = opened(page, tmp_path)
    assert "CONSOLE" in said and "nothing is not defined" in said


def test_bags_that_lack_something(
    truth_bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "report")
    assert cli.main(["evaluate", str(truth_bag), "--out", out]) == 2
    assert "no FaceArray topic" in capsys.readouterr().err
    arguments = ["--namespace", "/ground_truth", "--out", out]
    assert cli.main(["evaluate", str(truth_bag), *arguments]) == 0
    assert cli.main(["evaluate", str(tmp_path / "none.mcap"), "--out", out]) == 2
    assert "no such bag" in capsys.readouterr().err
