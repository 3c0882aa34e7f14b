"""The demo's figures: what they are, and that it is loud when one is out of range."""

from __future__ import annotations

import math

import numpy as np
import pytest

from flowface_ros.demo.figures import (
    COMMON_LIMITS,
    TRUTH_LIMITS,
    Limit,
    run_figures,
    table,
    truth_figures,
    violations,
)
from flowface_ros.evaluate.tracking import Face
from flowface_ros.ros.live_run import NOT_RECEIVED, LiveRun, pooled
from flowface_ros.track.tracked_head import Status

RUN = LiveRun(10, 8, {"superseded": 1, NOT_RECEIVED: 1}, [10.0, 20.0, 30.0], 0.5, "cpu")
TRACKED = [Face("a", np.eye(4), status=Status.TRACKED.value)]
TENTATIVE = [Face("a", np.eye(4), status=Status.TENTATIVE.value)]


def test_figures_of_a_run() -> None:
    figures = run_figures(RUN, [TENTATIVE, TRACKED, TRACKED, []])
    assert (figures["sets"], figures["answered"], figures["dropped"]) == (10, 8, 2)
    assert figures["lost_share"] == 0.1
    assert figures["tracked"] == 0.5
    assert figures["latency_ms"] == {"p50": 20.0, "p95": pytest.approx(29.0)}
    assert figures["answers_per_second"] == pytest.approx(14.0)


def test_runs_are_pooled() -> None:
    other = LiveRun(5, 4, {"superseded": 1, "old": 1}, [40.0], 0.25, "cuda:0")
    together = pooled([RUN, other])
    assert together == LiveRun(
        15,
        12,
        {"superseded": 2, "old": 1, NOT_RECEIVED: 1},
        [10.0, 20.0, 30.0, 40.0],
        0.75,
        "cpu, cuda:0",
    )


def test_every_limit_names_a_figure_that_exists() -> None:
    metrics = {
        "position_mm": {"mean": 2.0},
        "rotation_deg": {"mean": 1.0},
        "vertices": {"rig_mm": {"mean": 3.0}},
        "ssme": {"score_px": 1.0},
    }
    figures = run_figures(RUN, [TRACKED]) | truth_figures(metrics)
    assert violations("synthetic", figures, (*COMMON_LIMITS, *TRUTH_LIMITS)) == []
    blind = run_figures(RUN, [TRACKED]) | truth_figures(metrics | {"vertices": None, "ssme": None})
    assert len(violations("synthetic", blind, TRUTH_LIMITS)) == 2


@pytest.mark.parametrize("value", [0.5, 2.5, math.nan, None])
def test_a_figure_out_of_range_is_named(value: float | None) -> None:
    limit = Limit("latency", ("latency_ms", "p95"), 1.0, 2.0)
    (line,) = violations("carphone", {"latency_ms": {"p95": value}}, [limit])
    assert line == f"carphone: latency is {value}, allowed is 1 to 2"


def test_table_has_a_column_for_each_run() -> None:
    rows = table({"a": run_figures(RUN, [TRACKED]), "b": {"device": "cpu"}})
    assert rows[0] == ["", "a", "b"]
    assert all(len(row) == 3 for row in rows)
    assert ["latency p50, ms", "20", "-"] in rows
