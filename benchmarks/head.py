"""Times the head's forward pass and Jacobian: the built-in head and one of FLAME's size."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import harness

harness.pin_threads(1)

import numpy as np  # noqa: E402

from flowface_ros.head.evaluator import SurfaceEvaluator  # noqa: E402
from flowface_ros.head.model import HeadModel  # noqa: E402
from flowface_ros.head.model_file import load_builtin_head  # noqa: E402
from flowface_ros.head.normals import vertex_normals  # noqa: E402
from flowface_ros.head.skinning import pose_vertices  # noqa: E402
from flowface_ros.head.state import (  # noqa: E402
    HeadState,
    Unknowns,
    all_unknowns,
    neutral_state,
    retract,
)
from flowface_ros.head.surface import SurfacePoints  # noqa: E402

POINTS = 1000
COEFFICIENTS = 57
"""With pose and four joints, 75 unknowns."""
FORWARD_TARGET_MS = 2.0
JACOBIAN_TARGET_MS = 3.0


def main() -> None:
    arguments = harness.parser(__doc__ or "").parse_args()
    repeats = 30 if arguments.quick else 200
    builtin = load_builtin_head()
    rows = []
    for name, model in (("built-in", builtin), ("FLAME's size", like_flame(builtin))):
        rows += measure_model(name, model, repeats)
    print(harness.machine_description())
    harness.print_table(rows)
    if arguments.json:
        harness.write_json(arguments.json, {"head": rows})


def measure_model(name: str, model: HeadModel, repeats: int) -> list[dict[str, Any]]:
    """One row for each thing that is timed. States change from call to call, as in a fit."""
    rng = np.random.default_rng(0)
    everything = all_unknowns(model)
    base = retract(neutral_state(model), everything, rng.normal(0, 0.2, everything.size))
    moving = itertools.cycle([base, replace(base, expression=base.expression * 0.9)])
    shaping = itertools.cycle([base, replace(base, shape=base.shape * 0.9)])
    triangle = rng.integers(0, model.triangle_count, POINTS).astype(np.int32)
    points = SurfacePoints(triangle, rng.dirichlet([1, 1, 1], POINTS))
    evaluator = SurfaceEvaluator(model, points)
    expressions = min(model.expression_count, COEFFICIENTS - 16)
    some = replace(
        everything,
        expression=np.arange(expressions),
        shape=np.arange(COEFFICIENTS - expressions),
    )
    tracking = replace(some, expression=np.arange(model.expression_count), shape=())
    vertices = pose_vertices(model, base)

    def forward(states: Iterator[HeadState]) -> Callable[[], object]:
        return lambda: pose_vertices(model, next(states))

    def jacobian(states: Iterator[HeadState], unknowns: Unknowns) -> Callable[[], object]:
        return lambda: evaluator.positions_and_jacobian(next(states), unknowns)

    cases: list[tuple[str, Callable[[], object], float | str]] = [
        ("vertices, same shape", forward(moving), FORWARD_TARGET_MS),
        ("vertices, new shape", forward(shaping), FORWARD_TARGET_MS),
        (f"{POINTS} points", lambda: evaluator.positions(next(moving)), ""),
        (label(tracking, "same shape"), jacobian(moving, tracking), JACOBIAN_TARGET_MS),
        (label(some, "new shape"), jacobian(shaping, some), JACOBIAN_TARGET_MS),
        (label(everything, "new shape"), jacobian(shaping, everything), ""),
        ("vertex normals", lambda: vertex_normals(vertices, model.triangles), ""),
        ("evaluator set up", lambda: SurfaceEvaluator(model, points), ""),
    ]
    rows = []
    for case, function, target in cases:
        timing = harness.measure(function, repeats)
        rows.append(
            {
                "head": name,
                "case": case,
                "median_ms": timing.median_ms,
                "p95_ms": timing.p95_ms,
                "min_ms": timing.min_ms,
                "target_ms": target,
            }
        )
    return rows


def label(unknowns: Unknowns, shape: str) -> str:
    return f"{POINTS} points + Jacobian by {unknowns.size}, {shape}"


def like_flame(model: HeadModel) -> HeadModel:
    """The built-in head with as many coefficients as FLAME has."""
    rng = np.random.default_rng(1)
    arrays = {name: getattr(model, name) for name in HeadModel.__dataclass_fields__}
    return HeadModel(
        **arrays
        | {
            "shape_basis": rng.normal(0, 1e-3, (model.vertex_count, 3, 300)),
            "shape_names": [f"shape_{i:03d}" for i in range(300)],
            "expression_basis": rng.normal(0, 1e-3, (model.vertex_count, 3, 100)),
            "expression_names": [f"exp_{i:03d}" for i in range(100)],
            "expression_bounds": np.tile([-3.0, 3.0], (100, 1)),
        }
    )


if __name__ == "__main__":
    main()
