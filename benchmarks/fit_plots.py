"""Tables and plots of the benchmark of the fit for docs/fit.md."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from fit_sequences import RATE, Track
from harness import machine_description, replace_section

from flowface_ros.head.model_file import load_builtin_head

_tracks: dict[int, Track] = {}
"""Sequences of this run by number of views, for the plot."""
TITLES = {
    "exact": "Exact observations, cold start",
    "noisy": "Noise of 1 px at 640x480, head at 0.7 m (rms over heads; `known_`: shape known)",
    "corrupted": "Outliers of 50 px and a hidden half, as ratios to clean",
    "consistency": "NEES of the pose (6 numbers)",
    "health": "One camera turned by 1 degree",
    "calibration": "Head error against calibration error, 4 views",
    "sequence": "A talking head, without and with the motion prior",
    "identity": "Neutral shape by number of keyframes, one view",
    "step": "Time of a tracking step, 1,000 points, one thread",
}
BLUE, ORANGE, GREY = "#1f5fa8", "#d9762b", "#666666"


def kept_track(views: int, row: dict, track: Track) -> dict:
    """The row; the track is kept for the plot."""
    _tracks[views] = track
    return row


def write_docs(docs: Path, found: dict[str, Any]) -> None:
    """Replace the tables between the markers of docs/fit.md that this run has figures of."""
    page = docs / "fit.md"
    load = os.getloadavg()[0]
    for name, rows in found.items():
        table = _table(rows if isinstance(rows, list) else [rows])
        machine = f"{machine_description()}, load {load:.1f}."
        replace_section(page, name, f"{TITLES[name]}:\n\n{table}\n\n{machine}")
    images = docs / "images"
    images.mkdir(exist_ok=True)
    for name, plot in (
        ("noisy", _plot_noisy),
        ("calibration", _plot_calibration),
        ("identity", _plot_identity),
        ("sequence", _plot_sequence),
    ):
        if name in found:
            _save(images / f"fit_{name}.png", plot, found[name])


def _save(path: Path, plot: Any, rows: list[dict]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3.6), layout="constrained")
    plot(axes, rows)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _plot_noisy(axes: Any, rows: list[dict]) -> None:
    views = np.array([row["views"] for row in rows], float)
    for key, label, colour in (
        ("known_position_mm", "position, person known", BLUE),
        ("known_vertex_mm", "skin, person known", ORANGE),
        ("vertex_mm", "skin, first sight", GREY),
    ):
        axes.loglog(views, [row[key] for row in rows], "o-", color=colour, label=label)
    first = rows[0]["known_position_mm"]
    axes.loglog(views, first / np.sqrt(views), ":", color=BLUE, label="1 / sqrt(views)")
    axes.set(xlabel="views", ylabel="error (mm, rms)", title="Noise of 1 px")
    axes.set_xticks(views, [f"{v:.0f}" for v in views])
    axes.set_xticks([], minor=True)
    axes.legend(frameon=False)


def _plot_calibration(axes: Any, rows: list[dict]) -> None:
    degrees = [row["rotation_error_deg"] for row in rows]
    as_is, refined = ([row[k] for row in rows] for k in ("vertex_mm", "refined_vertex_mm"))
    axes.plot(degrees, as_is, "o-", color=BLUE, label="as calibrated")
    axes.plot(degrees, refined, "o-", color=ORANGE, label="after refinement from 3 frames")
    axes.set(xlabel="rotation error of every camera (deg)", ylabel="skin error (mm, rms)")
    axes.set_title("Calibration error, 4 views")
    axes.legend(frameon=False)


def _plot_identity(axes: Any, rows: list[dict]) -> None:
    count = [row["keyframes"] for row in rows]
    axes.plot(count, [row["shape_error_mm"] for row in rows], "o-", color=BLUE, label="error")
    stated = [row["stated_mm"] for row in rows]
    axes.plot(count, stated, ":", color=GREY, label="what the covariance says")
    axes.set(xlabel="keyframes", ylabel="neutral shape error (mm, rms)", ylim=(0, None))
    axes.set_title("A person's shape, one view, 1 px")
    axes.legend(frameon=False)


def _plot_sequence(axes: Any, _: list[dict]) -> None:
    track = _tracks[min(_tracks)]
    lid = load_builtin_head().expression_names.index("eyeBlinkLeft")
    times = np.arange(len(track.truth)) / RATE
    for states, label, colour, line in (
        (track.truth, "truth", GREY, "-"),
        (track.alone, "each frame alone", ORANGE, "-"),
        (track.filtered, "with the motion prior", BLUE, "-"),
    ):
        blink = [state.expression[lid] for state in states]
        axes.plot(times, blink, line, color=colour, label=label, linewidth=1.2)
    axes.set(xlabel="time (s)", ylabel="eyeBlinkLeft", title="Blinks, one view, 1 px")
    axes.legend(frameon=False)


def _table(rows: list[dict]) -> str:
    """A table in Markdown; turned on its side when it would have too many columns."""
    columns = list(rows[0])
    if len(columns) > 9:
        head, body = [columns[0], *(str(_cell(r[columns[0]])) for r in rows)], columns[1:]
        lines = [[name, *(_cell(row[name]) for row in rows)] for name in body]
    else:
        head, lines = columns, [[_cell(row[name]) for name in columns] for row in rows]
    text = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in text)


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
