"""Does the screen space motion error order trackers as it should?

The truth of synthetic people is made worse in known ways and degrees: shaking, lag, drift, dull
expressions, a constant offset. Every measure should grow with the degree of what it is meant to
see. `--docs` writes the tables and the plot into docs/evaluation.md.
"""

from __future__ import annotations

import harness

harness.pin_threads(1)

from collections.abc import Callable  # noqa: E402
from dataclasses import dataclass, replace  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from scipy.stats import spearmanr  # noqa: E402
from tqdm import tqdm  # noqa: E402

from flowface_ros.camera.camera import Camera  # noqa: E402
from flowface_ros.evaluate.charts import Line, standalone_line_chart  # noqa: E402
from flowface_ros.evaluate.jitter import jitter_mm  # noqa: E402
from flowface_ros.evaluate.moving_mesh import MovingMesh, project_vertices  # noqa: E402
from flowface_ros.evaluate.ssme import Ssme, ssme  # noqa: E402
from flowface_ros.evaluate.surface_error import (  # noqa: E402
    aligned_vertex_distances,
    vertex_distances,
)
from flowface_ros.head.skinning import pose_vertices  # noqa: E402
from flowface_ros.head.state import HeadState  # noqa: E402
from flowface_ros.synth.scene.scene import Scene, SceneConfig  # noqa: E402

FPS = 30.0
SECONDS = 2.0
SKIP_S = 0.5
"""Lag looks back before the first frame."""


@dataclass(frozen=True)
class Fault:
    """A way to be wrong. vertices(scene, frames, level, rng): what is predicted."""

    unit: str
    levels: tuple[float, ...]
    predict: Callable[[Scene, NDArray[np.float64], float, np.random.Generator], list[NDArray]]


def vertices_at(scene: Scene, t: float) -> NDArray[np.float64]:
    """The true surface at a moment."""
    return pose_vertices(scene.model, scene.head_state(0, float(t)))


def shaking(scene: Scene, times: NDArray, level: float, rng: np.random.Generator) -> list[NDArray]:
    """Independent in each frame and axis."""
    return [vertices_at(scene, t) + rng.normal(0, 1e-3 * level, 3) for t in times]


def lag(scene: Scene, times: NDArray, level: float, rng: np.random.Generator) -> list[NDArray]:
    return [vertices_at(scene, t - level / FPS) for t in times]


def drift(scene: Scene, times: NDArray, level: float, rng: np.random.Generator) -> list[NDArray]:
    """Along a random direction."""
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    return [vertices_at(scene, t) + 1e-3 * level * (t - times[0]) * direction for t in times]


def offset(scene: Scene, times: NDArray, level: float, rng: np.random.Generator) -> list[NDArray]:
    direction = rng.normal(size=3)
    shift = 1e-3 * level * direction / np.linalg.norm(direction)
    return [vertices_at(scene, t) + shift for t in times]


def dullness(scene: Scene, times: NDArray, level: float, rng: np.random.Generator) -> list[NDArray]:
    """Expressions and jaw that are shown less than they are."""

    def dulled(state: HeadState) -> HeadState:
        share = 1 - level
        return replace(state, expression=share * state.expression, jaw=share * state.jaw)

    return [pose_vertices(scene.model, dulled(scene.head_state(0, float(t)))) for t in times]


FAULTS = {
    "shaking": Fault("mm", (0.25, 0.5, 1.0, 2.0), shaking),
    "lag": Fault("frames", (0.5, 1.0, 2.0, 4.0), lag),
    "drift": Fault("mm/s", (1.0, 3.0, 10.0, 30.0), drift),
    "dull expressions": Fault("share", (0.1, 0.25, 0.5, 1.0), dullness),
    "constant offset": Fault("mm", (1.0, 2.0, 5.0, 10.0), offset),
}


def measures(
    scene: Scene, truth: list[NDArray], prediction: list[NDArray], cameras: list[Camera]
) -> tuple[dict[str, float], Ssme]:
    """What each measure says of one clip."""
    triangles = scene.model.triangles
    sums = ssme(MovingMesh(triangles, truth), MovingMesh(triangles, prediction), cameras)
    pairs = list(zip(truth, prediction, strict=True))
    reprojection = [
        np.linalg.norm((project_vertices(c, p) - project_vertices(c, t))[:, :2], axis=1).mean()
        for (t, p), c in zip(pairs, cameras, strict=True)
    ]
    return {
        "ssme_px": sums.score_px(),
        "2d_error_px": float(np.mean(reprojection)),
        "vertex_mm": 1e3 * float(np.mean([vertex_distances(t, p) for t, p in pairs])),
        "aligned_mm": 1e3 * float(np.mean([aligned_vertex_distances(t, p) for t, p in pairs])),
        "jitter_mm": jitter_mm([p - t for t, p in pairs]),
    }, sums


def run(seeds: int) -> dict[str, Any]:
    """Every fault at every level on every clip."""
    rows: list[dict[str, Any]] = []
    curves: dict[str, Ssme] = {}
    orders: dict[tuple[str, str], list[float]] = {}
    jobs = [(seed, name) for seed in range(seeds) for name in FAULTS]
    for seed, name in tqdm(jobs, dynamic_ncols=True):
        scene = Scene(SceneConfig(seed=seed, width=320, height=240, duration_s=SECONDS + SKIP_S))
        times = SKIP_S + np.arange(round(SECONDS * FPS)) / FPS
        truth = [vertices_at(scene, t) for t in times]
        cameras = [scene.cameras(float(t)).cameras[0] for t in times]
        fault = FAULTS[name]
        found = []
        for level in fault.levels:
            # The same directions and noise at every level: only the degree differs.
            prediction = fault.predict(scene, times, level, np.random.default_rng(seed))
            values, sums = measures(scene, truth, prediction, cameras)
            found.append(values)
            rows.append({"fault": name, "level": level, "unit": fault.unit, "seed": seed, **values})
            if level == fault.levels[2]:
                curves[name] = curves[name] + sums if name in curves else sums
        for key in found[0]:
            order = _order(fault.levels, [values[key] for values in found])
            orders.setdefault((name, key), []).append(order)
    return {
        "clips": rows,
        "levels": _means(rows),
        "order": _orders(orders),
        "ssme_by_horizon_px": {name: c.by_horizon_px().tolist() for name, c in curves.items()},
    }


_BLIND = 1e-2
"""A measure that stays below this (px or mm) at every level does not see the fault."""


def _order(levels: tuple[float, ...], values: list[float]) -> float:
    """Spearman's rank correlation of degree and measure; 0 when it does not see the fault."""
    if max(values) < _BLIND:
        return 0.0
    return float(spearmanr(levels, values).statistic)


_KEYS = ("ssme_px", "2d_error_px", "vertex_mm", "aligned_mm", "jitter_mm")


def _means(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    result = []
    for name, fault in FAULTS.items():
        for level in fault.levels:
            same = [row for row in rows if row["fault"] == name and row["level"] == level]
            means = {key: float(np.mean([row[key] for row in same])) for key in _KEYS}
            result.append({"fault": name, "level": f"{level:g} {fault.unit}", **means})
    return result


def _orders(orders: dict[tuple[str, str], list[float]]) -> list[dict[str, Any]]:
    return [
        {"fault": name, **{key: float(np.mean(orders[name, key])) for key in _KEYS}}
        for name in FAULTS
    ]


def write_docs(found: dict[str, Any], seeds: int) -> None:
    """Replace what is between the markers of docs/evaluation.md, and the plot."""
    body = "\n\n".join(
        [
            f"{seeds} clips of {SECONDS:g} s, one camera of 320x240. Mean of each measure:",
            harness.markdown_table(found["levels"], ".2f"),
            "Rank correlation (Spearman) of the planted degree with the measure, mean over clips; "
            "0 where a measure does not see the fault:",
            harness.markdown_table(found["order"], ".2f"),
        ]
    )
    harness.replace_section(harness.DOCS / "evaluation.md", "ssme_order", body)
    horizons = np.arange(1.0, 31.0)
    lines = [
        Line(f"{name}, {FAULTS[name].levels[2]:g} {FAULTS[name].unit}", horizons, np.array(curve))
        for name, curve in found["ssme_by_horizon_px"].items()
    ]
    image = harness.DOCS / "images" / "ssme_by_horizon.svg"
    image.write_text(standalone_line_chart(lines, "h, frames", "SSME(h), px"), encoding="utf-8")


def main() -> None:
    parser = harness.parser("SSME against other measures, for planted faults.")
    parser.add_argument("--docs", action="store_true", help="write the figures into docs/")
    args = parser.parse_args()
    seeds = 2 if args.quick else 8
    found = run(seeds)
    harness.print_table(found["levels"])
    print("\nRank correlation of degree and measure:")
    harness.print_table(found["order"])
    if args.docs:
        write_docs(found, seeds)
    if args.json:
        harness.write_json(args.json, found)


if __name__ == "__main__":
    main()
