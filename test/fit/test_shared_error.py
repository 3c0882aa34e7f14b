"""Views of one person that share errors: N of them do not claim N times the information."""

from __future__ import annotations

import numpy as np
import pytest

from flowface_ros.fit.config import IdentityConfig
from flowface_ros.fit.identity import IdentityEstimator, Keyframe
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.state import neutral_state

INFORMATION = 4.0


def keyframe(seen: np.ndarray, views: int) -> Keyframe:
    """A frame that sees these coefficients (S,)."""
    state = neutral_state(load_builtin_head())
    information = INFORMATION * views * np.eye(len(seen))
    none = np.zeros_like(information)
    return Keyframe(
        ((0, 0),) * views, (), state, information, information @ seen, information, none
    )


def estimate(keyframes: list[Keyframe], shared: float) -> IdentityEstimator:
    estimator = IdentityEstimator(
        load_builtin_head(), config=IdentityConfig(shared_error=shared, keyframes_per_viewpoint=99)
    )
    estimator.keyframes = keyframes
    estimator._belief = estimator._together(keyframes)
    return estimator


def test_one_view_counts_in_full_and_no_share_changes_nothing() -> None:
    seen = np.random.default_rng(0).normal(size=load_builtin_head().shape_count)
    one = [keyframe(seen, 1)]
    for shared in (0.0, 0.9):
        belief = estimate(one, shared).belief
        np.testing.assert_allclose(belief.information, (1 + INFORMATION) * np.eye(len(seen)))
        np.testing.assert_allclose(belief.mean, INFORMATION / (1 + INFORMATION) * seen)
    many = estimate(one * 7, 0.0).belief
    np.testing.assert_allclose(many.information, (1 + 7 * INFORMATION) * np.eye(len(seen)))


def test_fully_shared_errors_leave_the_information_of_one_view() -> None:
    seen = np.random.default_rng(0).normal(size=load_builtin_head().shape_count)
    one = estimate([keyframe(seen, 1)], 1.0).belief
    for keyframes in ([keyframe(seen, 1)] * 9, [keyframe(seen, 3)] * 3):
        belief = estimate(keyframes, 1.0).belief
        np.testing.assert_allclose(belief.mean, one.mean)
        np.testing.assert_allclose(belief.covariance, one.covariance)


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("shared", [0.0, 0.5, 0.9])
def test_covariance_is_honest_for_errors_that_are_shared_so(shared: float, views: int) -> None:
    rng = np.random.default_rng(1)
    size = load_builtin_head().shape_count
    sigma = INFORMATION**-0.5
    ratios = []
    for _ in range(30):
        truth = rng.normal(size=size)
        common = np.sqrt(shared) * sigma * rng.normal(size=size)
        keyframes = []
        for _ in range(8):
            own = np.sqrt(1 - shared) * sigma * rng.normal(size=(views, size))
            keyframes.append(keyframe(truth + common + own.mean(axis=0), views))
        belief = estimate(keyframes, shared).belief
        difference = belief.mean - truth
        ratios.append(difference @ np.linalg.solve(belief.covariance, difference) / size)
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.08)
