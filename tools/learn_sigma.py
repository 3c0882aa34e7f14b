"""Learns how wrong positions carried over from the landmarks are, from pictures with known truth.

    python tools/learn_sigma.py     writes flowface_ros/align/data/landmark_errors.npz

Run it after `embed_landmarks.py` whenever the built-in head changes. Every fourth person is kept
out of the learning; the figures that are printed and stored are of these.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from face_views import face_views
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.spatial import cKDTree
from sigma_report import figures, print_figures
from sigma_samples import RANGES, Samples, collect

from flowface_ros.align.embedding import (
    SKIN_POINTS,
    landmark_points,
    open_mouth_positions,
)
from flowface_ros.align.landmark_errors import (
    ERRORS_FILE,
    FACING_KNOTS,
    FAILURE_KNOTS,
    IRIS_COUNT,
    MISFIT_KNOTS_MM,
    OPENNESS_KNOTS,
    PRESENCE_KNOTS,
    SIZE_KNOTS_PX,
    TABLE_GRID,
    TURN_KNOTS_DEG,
    ErrorTables,
    hat_weights,
    logit,
    normals_of,
    write_errors,
)
from flowface_ros.head.atlas import texel_grid
from flowface_ros.head.model import HeadModel
from flowface_ros.head.model_file import load_builtin_head

Array = NDArray[np.float64]

_HELD_OUT = 4
"""Every so many people are kept for the figures."""
_FACE_PRESENCE = 0.5
"""The systematic part is learned where the network sees a face."""
_NEAR_M, _FAR_M = 0.006, 0.02
"""Nearer to a landmark than the first, a face that looks at the camera is where its points say;
farther than the second, the interpolation's own error is taken off there too."""
_RIDGE = 1e-3
_REWEIGHTS = 8
_PRIOR_WEIGHT = 3.0
"""Pictures' worth of the belief that a factor is 1."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=ERRORS_FILE)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--people", type=int, default=280)
    parser.add_argument("--views", type=int, default=6, help="pictures of each")
    args = parser.parse_args()

    model = load_builtin_head()
    made = list(face_views(args.seed, args.people, args.views, RANGES, False, "rendering"))
    samples = collect(model, made)
    learning = samples.identity % _HELD_OUT != 0
    correction = learn_correction(model, samples, learning)
    error = samples.offset - np.einsum("rkc,fk->frc", correction, samples.features)
    tables = learn_sigma(model, samples, correction, error, learning)
    result = figures(model, samples, error, tables, ~learning)
    tables.provenance.update(
        tool="tools/learn_sigma.py",
        seed=args.seed,
        pictures=len(made),
        head=f"{model.name} {model.version}",
        model_hash=f"{model.model_hash:016x}",
        figures=result,
    )
    write_errors(args.out, tables)
    print_figures(result)
    print(f"wrote {args.out} ({args.out.stat().st_size / 1e3:.0f} kB)")


def learn_correction(model: HeadModel, samples: Samples, learning: NDArray[np.bool_]) -> Array:
    """The systematic part (R, 6, 2), by robust ridge regression.

    Near the landmarks it has no constant: it vanishes for a face that looks at the camera, so that
    there the network's own points stand.
    """
    used = learning & (samples.presence >= _FACE_PRESENCE)
    features, offset = samples.features[used], samples.offset[used]
    with_constant = _robust_ridge(features, offset)
    without = _robust_ridge(features[:, 1:], offset)
    without = np.concatenate([np.zeros_like(without[:, :1]), without], axis=1)
    grid = texel_grid(model, TABLE_GRID)
    skin = landmark_points(model)[:SKIN_POINTS]
    tree = cKDTree(open_mouth_positions(model, skin))
    distance, _ = tree.query(open_mouth_positions(model, grid.points))
    ramp = np.clip((distance - _NEAR_M) / (_FAR_M - _NEAR_M), 0, 1)
    ramp = np.concatenate([ramp, np.zeros(IRIS_COUNT)])[:, None, None]
    correction = ramp * with_constant + (1 - ramp) * without
    correction[-IRIS_COUNT:] = 0
    return correction


def _robust_ridge(features: Array, offset: Array) -> Array:
    """(R, K, 2) from features (F, K) to offsets (F, R, 2); pictures that are far off weigh less."""
    flat = offset.reshape(len(offset), -1)
    weight = np.ones(len(flat))
    penalty = _RIDGE * np.eye(features.shape[1])
    coefficients = np.zeros((features.shape[1], flat.shape[1]))
    for _ in range(_REWEIGHTS):
        weighted = features * (weight / weight.sum())[:, None]
        coefficients = np.linalg.solve(features.T @ weighted + penalty, weighted.T @ flat)
        variance = ((flat - features @ coefficients) ** 2).mean(axis=1)
        weight = 1 / (variance + 0.5 * np.median(variance))
    return np.moveaxis(coefficients.reshape(-1, *offset.shape[1:]), 0, 1)


def learn_sigma(
    model: HeadModel,
    samples: Samples,
    correction: Array,
    error: Array,
    learning: NDArray[np.bool_],
) -> ErrorTables:
    """The tables whose Gaussian likelihood of the errors (F, R, 2) is highest.

    Log sigma is linear in the tables' values, so the problem is convex and has one answer. Where
    the network sees no face its points are off by one amount everywhere; that is learned apart.
    """
    seen = samples.presence >= _FACE_PRESENCE
    squared = (error[learning & seen] ** 2).mean(axis=2)
    design = _Design(model, samples, learning & seen)
    start = np.zeros(design.size)
    start[design.rows] = 0.5 * np.log(np.median(squared, axis=0))
    faces = len(squared)

    def energy(values: Array) -> tuple[float, Array]:
        log_sigma = design.log_sigma(values)
        ratio = squared * np.exp(-2 * log_sigma)
        prior = values.copy()
        prior[design.rows] = 0
        total = (log_sigma + 0.5 * ratio).sum() + 0.5 * _PRIOR_WEIGHT * (prior**2).sum()
        return total / faces, (design.pulled(1 - ratio) + _PRIOR_WEIGHT * prior) / faces

    found = minimize(energy, start, jac=True, method="L-BFGS-B", options={"maxiter": 400})
    lost = learning & ~seen
    explained = np.exp(2 * _Design(model, samples, lost).log_sigma(found.x))
    failure = _failure(samples.presence[lost], (error[lost] ** 2).mean(axis=2), explained)
    return ErrorTables(
        model.atlas_hash, correction, **design.split(found.x), failure=failure, provenance={}
    )


def _failure(presence: Array, squared: Array, explained: Array) -> Array:
    """Metres at `FAILURE_KNOTS` whose squares, added to the explained variance (F, R), make the
    squared errors (F, R) most likely."""
    weights = hat_weights(np.array([logit(p) for p in presence]), FAILURE_KNOTS)[:, :-1]

    def energy(log_failure: Array) -> tuple[float, Array]:
        added = np.exp(2 * log_failure)
        variance = explained + (weights @ added)[:, None]
        slope = (1 / variance - squared / variance**2).mean(axis=1)
        total = (np.log(variance) + squared / variance).mean(axis=1).sum()
        return total, 2 * added * (weights.T @ slope)

    start = np.full(weights.shape[1], np.log(0.01))
    found = minimize(energy, start, jac=True, method="L-BFGS-B")
    # The last knot is where a face is seen: nothing is added there.
    return np.append(np.exp(found.x), 0.0)


class _Design:
    """Log sigma (F, R) as a linear function of all tables' values in one vector."""

    def __init__(self, model: HeadModel, samples: Samples, chosen: NDArray[np.bool_]) -> None:
        grid = texel_grid(model, TABLE_GRID)
        self._texels = len(grid.points)
        row_count = self._texels + IRIS_COUNT
        self._shapes: dict[str, tuple[int, ...]] = {
            "log_sigma": (row_count,),
            "turn": (row_count,),
            "facing": (len(FACING_KNOTS), len(TURN_KNOTS_DEG)),
            "presence": (len(PRESENCE_KNOTS),),
            "misfit": (len(MISFIT_KNOTS_MM),),
            "size": (len(SIZE_KNOTS_PX),),
            "openness": (len(OPENNESS_KNOTS),),
        }
        ends = np.cumsum([np.prod(shape) for shape in self._shapes.values()]).astype(int)
        starts = [0, *ends[:-1]]
        self._slices = {n: slice(a, b) for n, a, b in zip(self._shapes, starts, ends, strict=True)}
        self.size, self.rows = int(ends[-1]), self._slices["log_sigma"]
        index = np.flatnonzero(chosen)
        misfit_mm = np.array([1e3 * samples.poses[i].misfit for i in index])
        self._shared = np.column_stack(
            [
                hat_weights(np.array([logit(p) for p in samples.presence[index]]), PRESENCE_KNOTS),
                hat_weights(np.log(misfit_mm), np.log(MISFIT_KNOTS_MM)),
                hat_weights(np.log(samples.size_px[index]), np.log(SIZE_KNOTS_PX)),
            ]
        )
        self._turn = np.radians(samples.turn_deg[index])
        self._openness = hat_weights(samples.openness[index], OPENNESS_KNOTS)
        self._facing = self._facing_matrix(normals_of(model, grid.points), samples, index)

    def _facing_matrix(
        self, normals: Array, samples: Samples, index: NDArray[np.int64]
    ) -> csr_array:
        """(F R, facing values): bilinear between the knots; an iris faces as its head does."""
        parts = []
        for i in index:
            pose = samples.poses[i]
            facing = np.concatenate([normals @ pose.toward_camera, np.ones(IRIS_COUNT)])
            at_facing = hat_weights(facing, FACING_KNOTS)
            at_turn = hat_weights(pose.off_axis_deg, TURN_KNOTS_DEG)
            parts.append((at_facing[:, :, None] * at_turn).reshape(len(facing), -1))
        return csr_array(np.concatenate(parts).astype(np.float32))

    def log_sigma(self, values: Array) -> Array:
        shared = self._shared @ values[self._slices["presence"].start : self._slices["size"].stop]
        result = (self._facing @ values[self._slices["facing"]]).reshape(len(shared), -1)
        result += values[self.rows] + shared[:, None]
        result += self._turn[:, None] * values[self._slices["turn"]]
        openness = self._openness @ values[self._slices["openness"]]
        result[:, self._texels :] += np.repeat(openness, IRIS_COUNT // 2, axis=1)
        return result

    def pulled(self, gradient: Array) -> Array:
        """The transpose of `log_sigma`: (F, R) to (size,)."""
        of_irises = gradient[:, self._texels :].reshape(len(gradient), 2, -1).sum(axis=2)
        return np.concatenate(
            [
                gradient.sum(axis=0),
                self._turn @ gradient,
                self._facing.T @ gradient.ravel(),
                self._shared.T @ gradient.sum(axis=1),
                np.einsum("fek,fe->k", self._openness, of_irises),
            ]
        )

    def split(self, values: Array) -> dict[str, Array]:
        return {n: values[self._slices[n]].reshape(shape) for n, shape in self._shapes.items()}


if __name__ == "__main__":
    main()
