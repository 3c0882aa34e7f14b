"""Learns what the landmarks of one view say about a person's shape, from pictures with known truth.

    python tools/learn_shape_prior.py --samples folder/

writes flowface_ros/align/weights/shape_prior.onnx. Pictures are drawn once, in chunks that are kept
in the folder, so that it may be stopped and goes on where it was. Run it after `learn_sigma.py`
whenever the built-in head or the `landmarks` aligner changes. Every fourth person is kept out of
the learning; the figures that are printed are of these.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from face_views import FaceView, ViewRange, face_views
from numpy.typing import NDArray
from shape_regression import (
    ShapeRegression,
    errors_mm,
    fuse,
    fusion_of,
    learn,
    write_onnx,
)

from flowface_ros.align.landmark_errors import TABLE_GRID, query_points
from flowface_ros.align.landmarks_aligner import LandmarkCarry
from flowface_ros.align.observation import Observation
from flowface_ros.align.onnx_session import WEIGHTS_FOLDER
from flowface_ros.fit.shape_prior_features import ShapeFeatures
from flowface_ros.head.atlas import texel_grid
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.synth.person.person import Odds

Array = NDArray[np.float64]

RANGES = ViewRange(
    288, (90, 360), yaw_deg=45, pitch_deg=25, roll_deg=20, frontal=0.85, expression=1.0,
    shut=0.1, occluded=0.1, degraded=True, odds=Odds(),
)  # fmt: skip
_CHUNK = 40
"""People whose samples go into one file."""
_HELD_OUT = 4
_FOLDS = 5
_FACE_PRESENCE = 0.5
_POINTS = 500
"""As in tracking."""


@dataclass(frozen=True, eq=False)
class Samples:
    """F views. features: (F, FEATURES). shape: (F, S). person: (F,)."""

    features: Array
    shape: Array
    person: NDArray[np.int64]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--samples", type=Path, required=True, help="folder of drawn samples")
    parser.add_argument("--out", type=Path, default=WEIGHTS_FOLDER / "shape_prior.onnx")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--views", type=int, default=3, help="pictures of each")
    args = parser.parse_args()

    chunks = range(-(-args.people // _CHUNK))
    samples = joined([drawn(args.samples, args.seed, chunk, args.views) for chunk in chunks])
    kept_out = samples.person % _HELD_OUT == 0
    network, fusion = learned(samples, ~kept_out)
    report(samples, kept_out, network, fusion)
    model = load_builtin_head()
    write_onnx(args.out, network, fusion, model, {"seed": args.seed, "views": len(samples.person)})
    print(f"wrote {args.out} ({args.out.stat().st_size / 1e3:.0f} kB)")


def drawn(folder: Path, seed: int, chunk: int, views: int) -> Samples:
    """A chunk of samples, drawn now or before."""
    path = folder / f"seed{seed}_views{views}_{chunk:04d}.npz"
    if not path.exists():
        made = list(face_views(1000 * seed + chunk, _CHUNK, views, RANGES, False, path.stem))
        features, shape, person = measure(made)
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        np.savez(part, features=features, shape=shape, person=person + chunk * _CHUNK)
        part.rename(path)
    with np.load(path) as file:
        return Samples(file["features"].astype(np.float64), file["shape"], file["person"])


def measure(views: list[FaceView]) -> tuple[Array, Array, NDArray[np.int64]]:
    """Features, shapes and people of the views in which a face is seen."""
    model = load_builtin_head()
    grid = texel_grid(model, TABLE_GRID)
    carry, features = LandmarkCarry(model, grid), ShapeFeatures(model)
    points = query_points(model, grid)
    chosen = np.linspace(0, len(grid.points) - 1, _POINTS).round().astype(int)
    rows = []
    for view in views:
        position, sigma = carry.run(view.points[:, :2], view.presence, view.crop.scale)
        pixels = view.crop.to_image(position)
        observation = Observation(points, pixels, sigma, view.camera.name, 0)[chosen]
        found = features.of(observation, view.camera)
        if found is not None and view.presence >= _FACE_PRESENCE:
            rows.append((found, view.state.shape, view.identity))
    a, b, c = zip(*rows, strict=True)
    return np.array(a), np.array(b), np.array(c)


def joined(parts: list[Samples]) -> Samples:
    columns = zip(*((p.features, p.shape, p.person) for p in parts), strict=True)
    return Samples(*(np.concatenate(column) for column in columns))


def learned(samples: Samples, learning: NDArray[np.bool_]) -> tuple[ShapeRegression, dict]:
    """The regression, and how its answers for several views add up, found on people that the
    regression which gave them had not seen."""
    features, shape = samples.features[learning], samples.shape[learning]
    person = samples.person[learning]
    answers = np.zeros_like(shape)
    fold = (person // _HELD_OUT) % _FOLDS
    for k in range(_FOLDS):
        part = learn(features[fold != k], shape[fold != k], person[fold != k])
        answers[fold == k] = part.answers(features[fold == k])
    return learn(features, shape, person), fusion_of(answers, shape, person)


def report(
    samples: Samples, kept_out: NDArray[np.bool_], network: ShapeRegression, fusion: dict
) -> None:
    """Error of the face of the neutral shape, and whether the stated variance is honest."""
    features, shape = samples.features[kept_out], samples.shape[kept_out]
    person = samples.person[kept_out]
    answers = network.answers(features)
    people, first = np.unique(person, return_index=True)
    for name, rows in (
        ("one view", [[i] for i in range(len(person))]),
        ("all views of a person", [np.flatnonzero(person == p) for p in people]),
    ):
        beliefs = [fuse(answers[r], fusion) for r in rows]
        truth = np.array([shape[r[0]] for r in rows])
        mean, variance = (np.array(column) for column in zip(*beliefs, strict=True))
        ratio = ((mean - truth) ** 2 / variance).mean()
        error, nothing = errors_mm(mean - truth).mean(), errors_mm(truth).mean()
        print(f"{name}: {error:.3f} mm, mean head {nothing:.3f} mm, squared error over variance "
              f"{ratio:.2f}; {len(rows)} cases, {len(first)} people")  # fmt: skip


if __name__ == "__main__":
    main()
