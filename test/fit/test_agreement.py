"""A frame that takes a belief's shape, against the same frame fitted with that shape held."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flowface_ros.fit.agreement import with_belief
from flowface_ros.fit.frame_fit import FrameFitter
from flowface_ros.fit.priors import ShapeBelief
from flowface_ros.track.tracked_head import face_pose, face_pose_covariance


@pytest.mark.parametrize("views", [1, 3])
def test_it_is_the_fit_with_that_shape(world, rng, views) -> None:
    rig, truth = world.rig(views), world.head(rng, 20.0)
    seen = world.see(truth, rig, rng)
    fitter = FrameFitter(world.model, rig)
    free = fitter.fit(seen, start=truth, solve_shape=True)
    sigma = 0.3
    mean = free.state.shape + 0.2 * rng.normal(size=len(truth.shape))
    belief = ShapeBelief(mean, np.eye(90) / sigma**2, np.eye(90) * sigma**2)
    found = with_belief(world.model, free, belief)
    held = fitter.fit(seen, start=replace(truth, shape=mean), shape=belief, solve_shape=False)
    np.testing.assert_array_equal(found.state.shape, mean)
    wanted, near, far = (face_pose(world.model, r.state) for r in (held, found, free))
    assert np.abs(near - wanted).max() < 0.5 * np.abs(far - wanted).max()
    deviations = [
        np.sqrt(np.diagonal(face_pose_covariance(world.model, r.state))) for r in (found, held)
    ]
    np.testing.assert_allclose(*deviations, rtol=0.2)
    np.testing.assert_array_equal(found.state.covariance[-90:, -90:], belief.covariance)
    assert np.linalg.eigvalsh(found.state.covariance).min() > -1e-9
    assert len(found.unknowns.shape) == 0
    with pytest.raises(ValueError, match="solve_shape"):
        with_belief(world.model, found, belief)


def test_it_stays_inside_the_bounds(world, rng) -> None:
    rig, truth = world.rig(2), world.head(rng, 10.0)
    fitter = FrameFitter(world.model, rig)
    free = fitter.fit(world.see(truth, rig, rng), start=truth, solve_shape=True)
    far = ShapeBelief(free.state.shape + 2.0, np.eye(90), np.eye(90))
    found = with_belief(world.model, free, far).state
    low, high = world.model.expression_bounds.T
    assert np.all((found.expression >= low) & (found.expression <= high))
