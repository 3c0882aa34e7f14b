"""The report's section on other trackers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from flowface_ros.evaluate.charts import Line, line_chart
from flowface_ros.evaluate.report_parts import number, share, table

_HEAD = (
    "", "SSME, px", "of the face", "h = 1", "h = 30", "SSME, %", "compared",
    "478 points in the image, %", "surface, mm", "aligned, mm", "shaking, mm", "tracked", "ms",
)  # fmt: skip


def peers_section(metrics: Mapping[str, Any]) -> str:
    """A table of the tracker beside its peers, and SSME by horizon; empty text without peers."""
    peers = metrics.get("peers")
    if not peers:
        return ""
    rows = [_row("this tracker", metrics)]
    curves = [("this tracker", metrics["ssme"])]
    for name, peer in peers.items():
        if peer["mesh"] is not None:
            rows.append(_row(f"{name}, its own mesh", peer["mesh"]))
            curves.append((f"{name}, its own mesh", peer["mesh"]["ssme"]))
        rows.append(_row(f"{name}, its points fitted", peer["fitted"]))
        curves.append((f"{name}, its points fitted", peer["fitted"]["ssme"]))
    lines = [
        Line(name, np.arange(1.0, len(ssme["by_horizon_px"]) + 1), np.array(ssme["by_horizon_px"]))
        for name, ssme in curves
        if ssme is not None
    ]
    return (
        f"<h2>Beside {escape(', '.join(peers))}</h2><p>On the same pictures. A mesh of its own has "
        "no depth to be judged; its points are fitted by this tracker. A mesh that ends before the "
        "rim of the face is compared on fewer pixels.</p>"
        + table(_HEAD, rows)
        + line_chart(lines, "frames", "SSME, px")
    )


def _row(name: str, found: Mapping[str, Any]) -> Sequence[str]:
    """Of metrics, or of a peer's mesh, which has some of their entries."""
    ssme, vertices = found["ssme"], found.get("vertices")
    image = found.get("image") or {"landmarks": found.get("landmarks")}
    curve = [None] if ssme is None else ssme["by_horizon_px"]
    tracked = found["tracking"]["tracked_share"] if "tracking" in found else found["found_share"]
    return [
        name,
        number(None if ssme is None else ssme["score_px"]),
        number(None if ssme is None else ssme["regions"].get("face", ssme)["score_px"]),
        number(curve[0]),
        number(curve[-1]),
        number(None if ssme is None else ssme["score_percent"]),
        share(None if ssme is None else ssme["coverage"]),
        number(image["landmarks"]["percent"]["mean"] if image["landmarks"] else None),
        number(vertices["rig_mm"]["mean"] if vertices else None),
        number(vertices["aligned_mm"]["mean"] if vertices else None),
        number(found["jitter"]["vertices_mm"] if "jitter" in found else None),
        share(tracked),
        number(found.get("ms")),
    ]
