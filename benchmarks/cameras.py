"""Projection with Jacobian and undistortion of each lens, beside OpenCV on the same points."""

from __future__ import annotations

from functools import partial

from harness import measure, parser, pin_threads, print_table, write_json

pin_threads(1)

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from flowface_ros.camera.camera import Camera, intrinsics_matrix  # noqa: E402
from flowface_ros.camera.lens import Lens  # noqa: E402

COEFFICIENTS = {
    "plumb_bob": [-0.3, 0.1, 1e-3, -5e-4, -0.02],
    "rational_polynomial": [0.5, 0.1, 1e-3, -5e-4, 0.01, 0.8, 0.2, 0.03],
    "equidistant": [-0.02, 0.01, -0.005, 0.001],
}
CONVERGED = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 100, 1e-10)
"""OpenCV's default stops after five iterations, far from our tolerance."""


def time_lens(model: str, count: int, repeats: int) -> dict[str, object]:
    """One row of the table: milliseconds (minimum over the repeats) for `count` points."""
    rng = np.random.default_rng(0)
    points = np.c_[rng.uniform(-0.6, 0.6, count), rng.uniform(-0.4, 0.4, count), np.ones(count)]
    matrix, k, zero = (
        intrinsics_matrix(900, 910, 640, 360),
        np.array(COEFFICIENTS[model]),
        np.zeros(3),
    )
    camera = Camera("camera", 1280, 720, matrix, Lens(model, k))
    pixels, _ = camera.project(points)
    library = cv2.fisheye if model == "equidistant" else cv2
    project = partial(library.projectPoints, points[:, None], zero, zero, matrix, k)
    undistort = partial(library.undistortPoints, pixels[:, None], matrix, k, criteria=CONVERGED)
    calls = {
        "project + Jacobian": partial(camera.project_with_jacobian, points),
        "OpenCV project": project,
        "undistort": partial(camera.undistort, pixels),
        "OpenCV undistort": undistort,
    }
    times = {f"{name} ms": measure(call, repeats).min_ms for name, call in calls.items()}
    return {"lens": model, "points": count, **times}


def main() -> None:
    """Print the table, and write it as JSON if asked to."""
    options = parser(__doc__ or "").parse_args()
    repeats = 20 if options.quick else 300
    rows = [time_lens(model, count, repeats) for model in COEFFICIENTS for count in (1000, 5000)]
    print_table(rows)
    if options.json:
        write_json(options.json, {"cameras": rows})


if __name__ == "__main__":
    main()
