"""A face that is taken for another's: what it does to a head, and how it is measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flowface_ros.fit.config import FitConfig, IdentityConfig, NoiseConfig, SteadyConfig
from flowface_ros.fit.frame_fit import FrameFitter
from flowface_ros.fit.identity import IdentityEstimator
from flowface_ros.fit.priors import prior_of
from flowface_ros.fit.steady import similarity_modes
from flowface_ros.fit.steady_shape import measure_shape, size_by_shape

AMOUNT = 0.6


def fitter(world, rig, shape: float) -> FrameFitter:
    """Of an aligner that is steadily wrong about the shape."""
    steady = SteadyConfig(shape=shape)
    return FrameFitter(world.model, rig, FitConfig(noise=NoiseConfig(steady=steady)))


def taken_for_another(world, truth, rig, rng, amount, sigma=1.0):
    """Observations of a head whose points are moved as another shape would move them, but for
    shift, turn and scale."""
    count = world.model.shape_count
    other = replace(truth, shape=truth.shape + amount * rng.normal(size=count))
    points = world.evaluator.positions(truth)
    moved = world.evaluator.positions(other) - points
    similar = similarity_modes(points, np.tile(np.eye(3), (len(points), 1, 1)))
    rows = similar.reshape(-1, similar.shape[2])
    moved = moved - similar @ np.linalg.lstsq(rows, moved.reshape(-1), rcond=None)[0]
    found = []
    for o in world.see(truth, rig, rng, sigma):
        inverse = rig[o.camera].camera_from_rig
        place, shifted = (p @ inverse[:3, :3].T + inverse[:3, 3] for p in (points, points + moved))
        project = rig[o.camera].project
        found.append(replace(o, pixels=o.pixels + project(shifted)[0] - project(place)[0]))
    return found


def test_one_view_puts_it_elsewhere_as_stated_and_three_do_not(world) -> None:
    stated, errors = {}, {}
    for views in (1, 3):
        rng, rig = np.random.default_rng(4), world.rig(views)
        unaware, aware = (fitter(world, rig, shape) for shape in (0.0, AMOUNT))
        truth = replace(world.head(rng, 10.0), expression=np.zeros(world.model.expression_count))
        depths, deviations = [], []
        for _ in range(12):
            person = replace(truth, shape=rng.normal(size=world.model.shape_count))
            seen = taken_for_another(world, person, rig, rng, AMOUNT)
            plain, result = (f.fit(seen, start=person, solve_shape=True) for f in (unaware, aware))
            np.testing.assert_array_equal(plain.state.translation, result.state.translation)
            depths.append(result.state.translation[2] - person.translation[2])
            deviations.append([np.sqrt(r.state.covariance[2, 2]) for r in (plain, result)])
        stated[views] = np.mean(deviations, axis=0)
        errors[views] = np.sqrt(np.mean(np.square(depths)))
    assert errors[1] > 1.6 * stated[1][0]
    assert errors[1] == pytest.approx(stated[1][1], rel=0.4)
    assert stated[3][1] < 0.2 * stated[1][1]


def test_more_keyframes_do_not_make_it_right(world) -> None:
    rng, rig = np.random.default_rng(8), world.rig(1)
    size, found = size_by_shape(world.model), {}
    for shape in (0.0, AMOUNT):
        identity = IdentityEstimator(
            world.model, config=IdentityConfig(shared_error=0.9, viewpoint_deg=1.0)
        )
        known = fitter(world, rig, shape)
        for i in range(6):
            truth = replace(world.head(rng, 5.0), shape=np.zeros(world.model.shape_count))
            seen = world.see(truth, rig, rng)
            result = known.fit(seen, start=truth, shape=identity.belief, solve_shape=True)
            identity.add(seen, rig, result)
            found[shape, i] = np.sqrt(size @ identity.belief.covariance @ size)
    assert found[AMOUNT, 5] > 2 * found[0.0, 5]
    assert found[AMOUNT, 5] > 0.7 * found[AMOUNT, 0]


@pytest.mark.parametrize("amount", [0.0, AMOUNT])
def test_it_is_measured(world, amount) -> None:
    rng, rig = np.random.default_rng(6), world.rig(1)
    samples = []
    for _ in range(40):
        truth = world.head(rng, 20.0)
        (seen,) = taken_for_another(world, truth, rig, rng, amount)
        samples.append((truth, rig, seen))
    config = FitConfig(noise=NoiseConfig(steady=SteadyConfig()))
    found = measure_shape(world.model, config, samples)
    assert found == pytest.approx(amount, rel=0.35, abs=0.15)


def test_what_cannot_be_measured_is_refused(world) -> None:
    with pytest.raises(ValueError, match="steady"):
        measure_shape(world.model, FitConfig(), [])
    config = FitConfig(noise=NoiseConfig(steady=SteadyConfig()))
    with pytest.raises(ValueError, match="samples"):
        measure_shape(world.model, config, [])


def test_size_by_shape_is_what_a_face_grows_by(world) -> None:
    model = world.model
    face, step = model.vertex_groups["face"], 0.1
    places = model.template[face].astype(np.float64)
    moved = places + step * model.shape_basis[face, :, 0]
    centred, grown = places - places.mean(axis=0), moved - moved.mean(axis=0)
    want = np.sqrt(np.square(grown).sum() / np.square(centred).sum()) - 1
    assert step * size_by_shape(model)[0] == pytest.approx(want, rel=0.01)


def test_where_a_head_was_does_not_tell_its_size(world) -> None:
    """Earlier frames know the depth by the size that they took; one view must not learn the size
    from that depth again."""
    rng, rig = np.random.default_rng(9), world.rig(1)
    truth = replace(world.head(rng, 10.0), shape=rng.normal(size=world.model.shape_count))
    seen = world.see(truth, rig, rng)
    size, fitter = size_by_shape(world.model), FrameFitter(world.model, rig)
    covariance = np.diag(np.full(fitter.tracking.size, 0.01))
    covariance[:6, :6] = np.eye(6) * 1e-8
    told, shapes = [], []
    for prior in (None, prior_of(world.model, truth, fitter.tracking, covariance)):
        identity = IdentityEstimator(world.model)
        result = fitter.fit(seen, prior, start=truth, solve_shape=True)
        assert identity.add(seen, rig, result)
        told.append(np.sqrt(size @ identity.belief.covariance @ size))
        shapes.append(size @ identity.belief.mean)
    assert told[1] == pytest.approx(told[0], rel=0.2)
    assert shapes[1] == pytest.approx(shapes[0], abs=0.5 * told[0])
