"""The report: one HTML file without scripts or other files, and metrics.json."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from flowface_ros.evaluate.charts import Line, bar_chart, line_chart
from flowface_ros.evaluate.report_parts import number, share, table
from flowface_ros.evaluate.report_peers import peers_section
from flowface_ros.evaluate.report_style import STYLE

SCHEMA_PATH = Path(__file__).with_name("metrics_schema.json")
"""JSON schema (2020-12) of metrics.json."""


@dataclass(frozen=True)
class Picture:
    """A picture of the report: a JPEG file's bytes and what it shows."""

    jpeg: bytes
    caption: str


def write_report(
    folder: Path, metrics: Mapping[str, Any], pictures: Sequence[Picture] = ()
) -> None:
    """Write report.html and metrics.json into a folder, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    finite = finite_or_none(metrics)
    text = json.dumps(finite, indent=1, allow_nan=False) + "\n"
    (folder / "metrics.json").write_text(text)
    (folder / "report.html").write_text(report_html(metrics, pictures), encoding="utf-8")


def finite_or_none(value: Any) -> Any:
    """The same with None in place of numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {key: finite_or_none(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_none(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def format_summary(metrics: Mapping[str, Any]) -> str:
    """The main figures as lines of text."""
    return "\n".join(f"{name:26} {value}" for name, value in _headlines(metrics))


def report_html(metrics: Mapping[str, Any], pictures: Sequence[Picture] = ()) -> str:
    """The whole page."""
    sections = [
        _tiles(metrics),
        _pictures(pictures),
        peers_section(metrics),
        _ssme_section(metrics["ssme"]),
        _image_section(metrics["image"]),
        _pose_section(metrics),
        _surface_section(metrics),
        _expression_section(metrics["expression"]),
        _alignment_section(metrics["alignment"]),
        _tracking_section(metrics["tracking"]),
    ]
    sources = " against ".join(
        escape(str(metrics[name])) for name in ("prediction", "truth") if name in metrics
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Tracking report</title><style>{STYLE}</style></head><body>"
        f"<h1>Tracking report</h1><p>{sources}</p>{''.join(sections)}</body></html>\n"
    )


def _headlines(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    ssme, vertices, tracking = metrics["ssme"], metrics["vertices"], metrics["tracking"]
    nees, neutral = metrics["pose_nees"], metrics["neutral_shape_mm"]
    rows = [("Faces tracked", share(tracking["tracked_share"]))]
    if ssme is not None:
        rows += [
            ("SSME", number(ssme["score_px"], "px")),
            ("SSME, inter-ocular", number(ssme["score_percent"], "%")),
        ]
    rows += [
        ("Position, mean", number(metrics["position_mm"]["mean"], "mm")),
        ("Rotation, mean", number(metrics["rotation_deg"]["mean"], "deg")),
    ]
    if vertices is not None:
        rows += [
            ("Surface, mean", number(vertices["rig_mm"]["mean"], "mm")),
            ("Surface, aligned", number(vertices["aligned_mm"]["mean"], "mm")),
        ]
    if neutral is not None:
        rows.append(("Neutral shape, median", number(neutral["median"], "mm")))
    if metrics["image"] is not None and metrics["image"]["vertices"] is not None:
        image = metrics["image"]["vertices"]["percent"]
        rows.append(("In the image, inter-ocular", number(image["mean"], "%")))
    rows.append(("Shaking of vertices", number(metrics["jitter"]["vertices_mm"], "mm")))
    if nees["count"]:
        rows.append(("Poses in 95 % ellipse", share(nees["inside_95"])))
    if tracking["latency_ms"] is not None:
        rows.append(("Latency, p95", number(tracking["latency_ms"]["p95"], "ms")))
    return rows


def _tiles(metrics: Mapping[str, Any]) -> str:
    tiles = "".join(
        f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>"
        for name, value in _headlines(metrics)
    )
    return f'<div class="tiles">{tiles}</div>'


def _pictures(pictures: Sequence[Picture]) -> str:
    if not pictures:
        return ""
    figures = "".join(
        f'<figure><img alt="{escape(p.caption)}" '
        f'src="data:image/jpeg;base64,{base64.b64encode(p.jpeg).decode()}">'
        f"<figcaption>{escape(p.caption)}</figcaption></figure>"
        for p in pictures
    )
    return f'<h2>Pictures</h2><p>The predicted mesh.</p><div class="pictures">{figures}</div>'


def _ssme_section(ssme: Mapping[str, Any] | None) -> str:
    if ssme is None:
        return "<h2>Screen space motion</h2><p>One of the two has no meshes.</p>"
    horizons = np.arange(1.0, len(ssme["by_horizon_px"]) + 1)
    lines = [Line("all", horizons, np.array(ssme["by_horizon_px"]))]
    lines += [
        Line(name, horizons, np.array(row["by_horizon_px"]), dashed=True)
        for name, row in ssme["cameras"].items()
    ]
    rows = [
        [
            name,
            number(row["score_px"]),
            number(row["score_percent"]),
            share(row["coverage"]),
        ]
        for name, row in [("all", ssme), *ssme["regions"].items()]
    ]
    return (
        "<h2>Screen space motion error</h2><p>How far, after so many frames, a point of the "
        "predicted surface has moved away from the true point that lay under the same pixel.</p>"
        + line_chart(lines, "frames", "SSME, px")
        + table(["region", "px", "% of inter-ocular", "compared"], rows)
    )


def _image_section(image: Mapping[str, Any] | None) -> str:
    if image is None:
        return ""
    known = {name: row for name, row in image.items() if row is not None}
    names = {"vertices": "vertices", "landmarks": "478 landmarks"}
    rows = [_figure_row(names[name], row["percent"]) for name, row in known.items()]
    regions = next(iter(known.values()))["regions_percent"]
    return (
        "<h2>In the images</h2><p>Distance between the predicted and the true place in the image, "
        "of what the true head does not hide, in percent of the inter-ocular distance.</p>"
        + table(["", *_FIGURES], rows)
        + f"<p>Mean by region:</p>{bar_chart(list(regions), list(regions.values()), '%')}"
    )


_FIGURES = ("mean", "median", "p95", "rms", "max")


def _figure_row(name: str, row: Mapping[str, Any] | None) -> list[str]:
    return [name, *(number(None if row is None else row[key]) for key in _FIGURES)]


def _pose_section(metrics: Mapping[str, Any]) -> str:
    nees = metrics["pose_nees"]
    rows = [
        _figure_row("position, mm", metrics["position_mm"]),
        _figure_row("rotation, deg", metrics["rotation_deg"]),
    ]
    charts = [
        line_chart(
            [
                Line(name, np.array(person["time_s"]), np.array(person[key], np.float64))
                for name, person in metrics["people"].items()
            ],
            "time, s",
            label,
        )
        for key, label in (("position_mm", "position error, mm"), ("rotation_deg", "rotation, deg"))
    ]
    honest = ""
    if nees["count"]:
        honest = (
            f"<p>{share(nees['inside_95'])} of the poses lie in their own 95 % ellipse; the mean "
            f"normalised squared error is {number(nees['mean'])}, "
            f"{nees['dimension']} for honest covariances.</p>"
        )
    return f"<h2>Pose</h2>{table(['', *_FIGURES], rows)}{honest}{''.join(charts)}"


def _surface_section(metrics: Mapping[str, Any]) -> str:
    vertices, neutral, jitter = (metrics[k] for k in ("vertices", "neutral_shape_mm", "jitter"))
    if vertices is None:
        return ""
    rows = [
        _figure_row("in the rig", vertices["rig_mm"]),
        _figure_row("rigidly aligned", vertices["aligned_mm"]),
        _figure_row("neutral shape", neutral),
    ]
    how = {
        "corresponding": "between corresponding vertices",
        "closest": "from true vertices of the face to the nearest point of the prediction",
    }[vertices["method"]]
    regions = vertices["regions"]
    bars = bar_chart(list(regions), [row["aligned_mm"] for row in regions.values()], "mm")
    return (
        f"<h2>Surface, mm</h2><p>Distances {how}.</p>{table(['', *_FIGURES], rows)}"
        + (f"<p>Rigidly aligned, by region:</p>{bars}" if regions else "")
        + f"<p>Shaking from frame to frame: {number(jitter['vertices_mm'], 'mm')} of the "
        f"vertices, {number(jitter['position_mm'], 'mm')} of the face's frame.</p>"
    )


def _expression_section(expression: Mapping[str, Any] | None) -> str:
    if expression is None or expression["blendshapes"] is None:
        return ""
    weights = expression["blendshapes"]["by_name"]
    names = sorted(weights, key=lambda name: -weights[name])
    bars = bar_chart(names, [weights[name] for name in names], "")
    return f"<h2>ARKit weights, mean absolute error</h2>{bars}"


def _alignment_section(alignment: Mapping[str, Any] | None) -> str:
    if alignment is None:
        return ""
    rows = [
        _figure_row("visible", alignment["visible_percent"]),
        _figure_row("hidden", alignment["hidden_percent"]),
    ]
    curve = alignment["sigma"]["reliability"]
    said = np.array([point["sigma_px"] for point in curve])
    found = np.array([point["rms_px"] for point in curve])
    regions = alignment["regions_percent"]
    bars = bar_chart(list(regions), list(regions.values()), "%")
    chart = line_chart(
        [Line("found", said, found), Line("honest", said, said, dashed=True)],
        "sigma as said, px",
        "rms error, px",
    )
    return (
        "<h2>Observed points</h2><p>Distance in percent of the inter-ocular distance, and whether "
        f"sigma says the truth.</p>{table(['', *_FIGURES], rows)}"
        f"<p>Visible ones by region:</p>{bars}{chart}"
    )


def _tracking_section(tracking: Mapping[str, Any]) -> str:
    rows = [
        ["frames of the truth", str(tracking["true_frames"])],
        ["FaceArrays", str(tracking["face_arrays"])],
        ["frames without answer", str(tracking["unanswered_frames"])],
        ["people", str(tracking["people"])],
        ["faces in view", str(tracking["faces_in_view"])],
        ["of these tracked", share(tracking["tracked_share"])],
        ["of these measured, not predicted", share(tracking["measured_share"])],
        ["faces of nobody", str(tracking["false_faces"])],
        ["changes of id", str(tracking["id_switches"])],
    ]
    if tracking["latency_ms"] is not None:
        rows += [
            [f"latency, {key}", number(tracking["latency_ms"][key], "ms")]
            for key in ("median", "p95", "max")
        ]
    return f"<h2>Tracking</h2>{table(['', ''], rows)}"
