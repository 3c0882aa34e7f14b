"""Errors of expression coefficients and ARKit weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowface_ros.evaluate.tracking import Face, Recording

Array = NDArray[np.float64]
Pairs = Sequence[tuple[Face, Face]]


def expression_figures(recording: Recording, pairs: Pairs) -> dict[str, Any] | None:
    """Root mean square and mean absolute errors, overall and by name; None when the two have no
    names in common or nothing was matched.

    expression: coefficients, only when both heads have the same ones. blendshapes: ARKit weights,
    the names that both have. normalised_rms: of expression errors over their sigma, 1 when honest.
    """
    truth, prediction = recording.truth.mesh, recording.prediction.mesh
    if truth is None or prediction is None or not pairs:
        return None
    result: dict[str, Any] = {"coefficients": None, "normalised_rms": None, "blendshapes": None}
    if truth.expression_names and truth.expression_names == prediction.expression_names:
        error, sigma = _expression_errors(pairs)
        result["coefficients"] = _by_name(error, truth.expression_names)
        if sigma is not None:
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = np.where(sigma > 0, error / sigma, np.nan)
            known = ratio[np.isfinite(ratio)]
            result["normalised_rms"] = float(np.sqrt((known**2).mean())) if known.size else None
    names = tuple(n for n in truth.blendshape_names if n in prediction.blendshape_names)
    result["blendshapes"] = _blendshape_figures(truth, prediction, pairs, names)
    return result


def _expression_errors(pairs: Pairs) -> tuple[Array, Array | None]:
    error = np.stack([p.expression - t.expression for t, p in pairs])
    if any(p.expression_sigma.shape != p.expression.shape for _, p in pairs):
        return error, None
    return error, np.stack([p.expression_sigma for _, p in pairs])


def _blendshape_figures(
    truth: Any, prediction: Any, pairs: Pairs, names: tuple[str, ...]
) -> dict[str, Any] | None:
    usable = [
        (t, p)
        for t, p in pairs
        if len(t.blendshapes) == len(truth.blendshape_names)
        and len(p.blendshapes) == len(prediction.blendshape_names)
    ]
    if not names or not usable:
        return None
    true_rows = [truth.blendshape_names.index(n) for n in names]
    rows = [prediction.blendshape_names.index(n) for n in names]
    error = np.stack([p.blendshapes[rows] - t.blendshapes[true_rows] for t, p in usable])
    return _by_name(error, names)


def _by_name(error: Array, names: Sequence[str]) -> dict[str, Any]:
    absolute = np.abs(error)
    return {
        "rms": float(np.sqrt((error**2).mean())),
        "mean_absolute": float(absolute.mean()),
        "by_name": dict(zip(names, absolute.mean(axis=0).tolist(), strict=True)),
    }
