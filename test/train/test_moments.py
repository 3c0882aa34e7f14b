from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.train.moments import later
from flowface_ros.train.shots import sample_shots
from flowface_ros.train.studio import Studio, SynthConfig


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Studio(
        load_builtin_head(), SynthConfig(crop_px=64, grid=16, batch_size=8, seed=3, people=50)
    )


def test_a_later_moment_is_near_and_a_state_that_a_head_can_have() -> None:
    head = load_builtin_head()
    rng = np.random.default_rng(0)
    first, other = (sample_shots(head, rng, 500) for _ in range(2))
    second = later(first, other, rng)
    relative = np.linalg.norm(second.direction - first.direction, axis=1)
    assert (
        np.median(relative)
        < 0.1
        < np.median(np.linalg.norm(other.direction - first.direction, axis=1))
    )
    np.testing.assert_allclose(np.linalg.norm(second.direction, axis=1), 1)
    low, high = head.expression_bounds.T
    assert (second.expression >= low).all() and (second.expression <= high).all()
    still = (second.expression == first.expression).all(axis=1)
    assert 0.1 < still.mean() < 0.35
    assert np.mean(np.abs(second.log_scale - first.log_scale) < 0.08) > 0.3


def test_moments_are_of_one_scene(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowface_ros.train.studio.later", lambda shots, other, rng: shots)
    drawn = studio.moments(5)
    for array in (drawn.light, drawn.position_px, drawn.visible, drawn.iod_px):
        np.testing.assert_array_equal(array[:4], array[4:])
    assert not np.array_equal(drawn.position_px[0], drawn.position_px[1])


def test_moments_are_drawn_alike_again_and_unlike_the_plain_batch(studio: Studio) -> None:
    one, again = studio.moments(2), studio.moments(2)
    np.testing.assert_array_equal(one.light, again.light)
    assert not np.array_equal(one.position_px[:4], one.position_px[4:])
    assert not np.array_equal(one.position_px[0], studio.batch(2).position_px[0])
    more = Studio(studio.model, replace(studio.config, seed=4)).moments(2)
    assert not np.array_equal(one.position_px, more.position_px)
