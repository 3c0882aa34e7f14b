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
from scipy.optimize import minimize, nnls
from scipy.spatial import cKDTree
from sigma_design import SigmaDesign
from sigma_report import figures, print_figures
from sigma_samples import RANGES, Samples, collect

from flowface_ros.align.embedding import (
    SKIN_POINTS,
    landmark_points,
    open_mouth_positions,
)
from flowface_ros.align.landmark_errors import (
    ERRORS_FILE,
    FAILURE_KNOTS,
    FAILURE_MISFIT_KNOTS_MM,
    IRIS_COUNT,
    TABLE_GRID,
    ErrorTables,
    hat_weights,
    logit,
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
_FAILED_M = 0.015
"""Median distance over a head from which on the network has taken something else for the face, or
the face for one that looks elsewhere. Other errors end at 10 mm, these are mostly above 25."""
_PRIOR_WEIGHT = 3.0
"""Pictures' worth of the belief that a factor is 1."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=ERRORS_FILE)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--people", type=int, default=720)
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
    the network sees no face, or sees one where there is none, its points are off by one amount
    everywhere; that is learned apart.
    """
    usual = learning & (samples.presence >= _FACE_PRESENCE) & ~_has_failed(error)
    squared = (error[usual] ** 2).mean(axis=2)
    design = SigmaDesign(model, samples, usual)
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
    failure = _failure_table(model, samples, error, learning, found.x)
    return ErrorTables(
        model.atlas_hash, correction, **design.split(found.x), failure=failure, provenance={}
    )


def _has_failed(error: Array) -> NDArray[np.bool_]:
    """(F,) of errors (F, R, 2), metres."""
    return np.asarray(np.median(np.linalg.norm(error, axis=2), axis=1) > _FAILED_M)


def _failure_table(
    model: HeadModel,
    samples: Samples,
    error: Array,
    learning: NDArray[np.bool_],
    values: Array,
) -> Array:
    """`ErrorTables.failure`. values: of the other tables, as `SigmaDesign` has them."""
    odds = hat_weights(np.array([logit(p) for p in samples.presence]), FAILURE_KNOTS)
    misfit_mm = np.array([1e3 * pose.misfit for pose in samples.poses])
    misfit = hat_weights(np.log(misfit_mm), np.log(FAILURE_MISFIT_KNOTS_MM))
    seen = samples.presence >= _FACE_PRESENCE
    taken, lost = learning & seen, learning & ~seen
    unexplained = np.where(_has_failed(error), (error**2).mean(axis=(1, 2)), 0.0)
    rare = _rare_failures(odds[taken], misfit[taken], unexplained[taken])
    explained = np.exp(2 * SigmaDesign(model, samples, lost).log_sigma(values))
    explained += (misfit[lost] @ rare[0])[:, None]
    added = _failures(odds[lost], (error[lost] ** 2).mean(axis=2), explained)
    return np.concatenate([added[:, None] + rare[0], rare])


def _rare_failures(odds: Array, misfit: Array, squared: Array) -> Array:
    """Variance (K, 3) at the K `FAILURE_KNOTS` from 0 on and `FAILURE_MISFIT_KNOTS_MM`; it falls
    with the presence and rises with the misfit.

    odds (F, 6), misfit (F, 3): weights of the knots. squared: (F,) errors of pictures with a
    presence, 0 for those which did not fail. By least squares: their expectation is what the
    variance lacks. A likelihood would rather leave rare failures unexplained.
    """
    # In steps from knot to knot, none of which is negative.
    falling = np.cumsum(odds[:, FAILURE_KNOTS >= 0], axis=1)
    rising = np.cumsum(misfit[:, ::-1], axis=1)[:, ::-1]
    steps, _ = nnls((falling[:, :, None] * rising[:, None]).reshape(len(odds), -1), squared)
    table = steps.reshape(falling.shape[1], rising.shape[1])
    return np.cumsum(np.cumsum(table[::-1], axis=0)[::-1], axis=1)


def _failures(odds: Array, squared: Array, explained: Array) -> Array:
    """Variances at the `FAILURE_KNOTS` below 0 that, added to the explained one (F, R), make the
    squared errors (F, R) of pictures without a presence most likely. odds: (F, 6)."""
    weights = odds[:, FAILURE_KNOTS < 0]

    def energy(log_failure: Array) -> tuple[float, Array]:
        added = np.exp(2 * log_failure)
        variance = explained + (weights @ added)[:, None]
        slope = (1 / variance - squared / variance**2).mean(axis=1)
        total = (np.log(variance) + squared / variance).mean(axis=1).sum()
        return total, 2 * added * (weights.T @ slope)

    start = np.full(weights.shape[1], np.log(0.01))
    return np.exp(2 * minimize(energy, start, jac=True, method="L-BFGS-B").x)


if __name__ == "__main__":
    main()
