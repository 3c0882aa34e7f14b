"""A step's path: the linear model's to first order, and the skull's where neck and head cancel."""

from __future__ import annotations

import numpy as np

from flowface_ros.fit.retraction import moved_head
from flowface_ros.head.skinning import posed_joints
from flowface_ros.head.state import Unknowns, retract


def test_moved_head_equals_retract_to_first_order(world, rng) -> None:
    truth = world.head(rng)
    unknowns = Unknowns(neck=True, jaw=True, expression=[0, 3], shape=[1])
    step = rng.normal(size=unknowns.size)
    points = world.evaluator.positions(truth)
    apart = []
    for size in (1e-3, 1e-4):
        a = world.evaluator.positions(moved_head(world.model, truth, unknowns, size * step))
        b = world.evaluator.positions(retract(truth, unknowns, size * step))
        apart.append(np.abs(a - b).max())
        assert np.abs(a - points).max() > 1e-2 * size
    assert apart[0] < 1e-5
    # second order: a tenth of the step, a hundredth of the difference
    np.testing.assert_allclose(apart[1] / apart[0], 1e-2, rtol=0.2)


def test_joints_and_coefficients_add(world, rng) -> None:
    truth = world.head(rng)
    unknowns = Unknowns(neck=True, jaw=True, expression=[0, 3], shape=[1])
    step = 0.1 * rng.normal(size=unknowns.size)
    a, b = moved_head(world.model, truth, unknowns, step), retract(truth, unknowns, step)
    for name in ("neck", "jaw", "left_eye", "right_eye", "expression", "shape"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_without_the_neck_nothing_is_changed(world, rng) -> None:
    truth = world.head(rng)
    step = 0.1 * rng.normal(size=6)
    a, b = moved_head(world.model, truth, Unknowns(), step), retract(truth, Unknowns(), step)
    np.testing.assert_array_equal(a.translation, b.translation)
    np.testing.assert_array_equal(a.rotation, b.rotation)


def test_neck_against_head_leaves_the_face_where_it_is(world, rng) -> None:
    """The valley of the energy in the linear model is one along the step's path too."""
    truth, model = world.head(rng), world.model
    unknowns = Unknowns(neck=True)

    def face(state) -> np.ndarray:
        """Jaw and eyes: three joints that move with the skull tell its pose."""
        return posed_joints(model, state)[2:].ravel()

    h = 1e-6
    ahead, behind = (
        [face(moved_head(model, truth, unknowns, sign * axis)) for axis in np.eye(9) * h]
        for sign in (1, -1)
    )
    jacobian = (np.array(ahead) - np.array(behind)).T / (2 * h)
    _, sizes, axes = np.linalg.svd(jacobian)
    assert sizes[5] > 1e-2
    for axis in axes[6:]:
        step = axis * (0.3 / np.linalg.norm(axis[6:]))
        along, straight = (
            np.abs(face(move(step)) - face(truth)).max()
            for move in (
                lambda d: moved_head(model, truth, unknowns, d),
                lambda d: retract(truth, unknowns, d),
            )
        )
        assert along < 1e-6
        assert straight > 1e-3
