"""The demo's figures: how each run went, what they are allowed to be, and the table of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flowface_ros.evaluate.tracking import Face
from flowface_ros.ros.live_run import NOT_RECEIVED, LiveRun
from flowface_ros.track.tracked_head import Status

Figures = dict[str, Any]


@dataclass(frozen=True)
class Limit:
    """A figure's allowed range. what: it is. path: its keys within a run's figures."""

    what: str
    path: tuple[str, ...]
    low: float = -np.inf
    high: float = np.inf


COMMON_LIMITS = (
    Limit("share of the sets that was answered", ("answered_share",), low=0.2),
    Limit("share of the sets that did not reach the tracker", ("lost_share",), high=0.1),
    Limit("share of the answers with a tracked head", ("tracked",), low=0.8),
    Limit("latency from publisher to answer, 95th percentile, ms", ("latency_ms", "p95"), high=1e3),
)
"""Of every run; wide, since the demo runs on machines of any speed, beside other programs."""

TRUTH_LIMITS = (
    Limit("head position error, mean, mm", ("position_error_mm",), high=8.0),
    Limit("head rotation error, mean, deg", ("rotation_error_deg",), high=4.0),
    Limit("vertex error, mean, mm", ("vertex_error_mm",), high=8.0),
    Limit("screen space motion error, px", ("ssme_px",), high=4.0),
)
"""Of the synthetic recording."""

_ROWS = (
    ("position error, mm", ("position_error_mm",)),
    ("rotation error, deg", ("rotation_error_deg",)),
    ("vertex error, mm", ("vertex_error_mm",)),
    ("screen space motion error, px", ("ssme_px",)),
    ("tracked, share of answers", ("tracked",)),
    ("sets", ("sets",)),
    ("answered", ("answered",)),
    ("dropped", ("dropped",)),
    ("latency p50, ms", ("latency_ms", "p50")),
    ("latency p95, ms", ("latency_ms", "p95")),
    ("answers a second", ("answers_per_second",)),
    ("networks ran on", ("device",)),
)


def run_figures(run: LiveRun, answers: Sequence[Sequence[Face]]) -> Figures:
    """Figures that need no truth. answers: the heads of each.
    `tracked` is the share of the answers with a head that is tracked."""
    tracked = [any(face.status == Status.TRACKED.value for face in faces) for faces in answers]
    p50, p95 = np.percentile(run.latency_ms, (50, 95))
    return {
        "sets": run.sets,
        "answered": run.answered,
        "dropped": run.sets - run.answered,
        "dropped_by_cause": run.dropped,
        "answered_share": run.answered / run.sets,
        "lost_share": run.dropped.get(NOT_RECEIVED, 0) / run.sets,
        "tracked": float(np.mean(tracked)),
        "latency_ms": {"p50": float(p50), "p95": float(p95)},
        "answers_per_second": max(run.answered - 1, 0) / run.seconds if run.seconds else 0.0,
        "device": run.device,
    }


def truth_figures(metrics: Mapping[str, Any]) -> Figures:
    """The headline figures of an evaluation; NaN for what it could not tell."""
    vertices, ssme = metrics["vertices"], metrics["ssme"]
    return {
        "position_error_mm": metrics["position_mm"]["mean"],
        "rotation_error_deg": metrics["rotation_deg"]["mean"],
        "vertex_error_mm": vertices["rig_mm"]["mean"] if vertices else np.nan,
        "ssme_px": ssme["score_px"] if ssme else np.nan,
    }


def violations(name: str, figures: Figures, limits: Sequence[Limit]) -> list[str]:
    """One line for each figure that is missing, not finite, or out of its range."""
    lines = []
    for limit in limits:
        value = _at(figures, limit.path)
        if value is None or not limit.low <= value <= limit.high:
            allowed = f"{limit.low:g} to {limit.high:g}"
            lines.append(f"{name}: {limit.what} is {value}, allowed is {allowed}")
    return lines


def table(runs: Mapping[str, Figures]) -> list[list[str]]:
    """Rows of text with the runs as columns; the first row has their names."""
    rows = [["", *runs]]
    for label, path in _ROWS:
        rows.append([label, *(_text(_at(figures, path)) for figures in runs.values())])
    return rows


def _at(figures: Any, path: Sequence[str]) -> Any:
    for key in path:
        figures = figures.get(key) if isinstance(figures, Mapping) else None
    return figures


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
