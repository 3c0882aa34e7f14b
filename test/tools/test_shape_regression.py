"""The regression that the shape prior's network is made of."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from shape_regression import fuse, fusion_of, learn, write_onnx  # noqa: E402

from flowface_ros.fit.shape_prior_features import FEATURES, RESIDUALS, TOWARD  # noqa: E402
from flowface_ros.head.model_file import load_builtin_head  # noqa: E402

PEOPLE, VIEWS, SIZE = 300, 4, 90


def people(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features in which the first coefficients show in some residuals, under two errors: one that
    all views of a person have, and one of each view."""
    rng = np.random.default_rng(seed)
    shape = rng.normal(0, 0.8, (PEOPLE, SIZE))
    person = np.repeat(np.arange(PEOPLE), VIEWS)
    features = np.zeros((len(person), FEATURES))
    hidden = shape[:, :5] + rng.normal(0, 0.5, (PEOPLE, 5))
    view = hidden[person] + rng.normal(0, 0.7, (len(person), 5))
    spread = np.random.default_rng(0).normal(size=(5, RESIDUALS))
    features[:, :RESIDUALS] = 1e-3 * (view @ spread + rng.normal(0, 0.1, (len(person), RESIDUALS)))
    features[:, TOWARD] = rng.uniform(-0.5, 0.5, (len(person), 2))
    features[:, TOWARD.stop :] = rng.normal(size=(len(person), FEATURES - TOWARD.stop))
    return features, shape[person], person


def test_fused_views_are_honest_on_new_people() -> None:
    features, shape, person = people(1)
    half = person < PEOPLE // 2
    part = learn(features[half], shape[half], person[half])
    fusion = fusion_of(part.answers(features[~half]), shape[~half], person[~half])
    features, shape, person = people(2)
    answers = part.answers(features)
    for count in (1, VIEWS):
        ratios, errors = [], []
        for p in range(PEOPLE):
            rows = np.flatnonzero(person == p)[:count]
            mean, variance = fuse(answers[rows], fusion)
            ratios.append((mean - shape[rows[0]]) ** 2 / variance)
            errors.append((mean - shape[rows[0]])[:5] ** 2)
        assert np.mean(ratios) == pytest.approx(1.0, abs=0.1)
        # What the best estimate leaves of 0.64; this one has seen 150 people.
        left = 1 / (1 / 0.64 + 1 / (0.25 + 0.49 / count))
        assert left < np.mean(errors) < 1.4 * left


def test_onnx_gives_the_same_answers(tmp_path: Path) -> None:
    features, shape, person = people(3)
    part = learn(features, shape, person)
    fusion = fusion_of(part.answers(features), shape, person)
    path = tmp_path / "shape.onnx"
    write_onnx(path, part, fusion, load_builtin_head(), {"seed": 3})
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = ["shape", *fusion]
    outputs = session.run(names, {"features": features[:7].astype(np.float32)})
    np.testing.assert_allclose(outputs[0], part.answers(features[:7]), atol=1e-4)
    for name, value in zip(names[1:], outputs[1:], strict=True):
        np.testing.assert_allclose(value, fusion[name], rtol=1e-6)
    again = tmp_path / "again.onnx"
    write_onnx(again, learn(features, shape, person), fusion, load_builtin_head(), {"seed": 3})
    assert again.read_bytes() == path.read_bytes()
