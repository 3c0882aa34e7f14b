from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowface_ros.head.blendshapes import (
    ARKIT_NAMES,
    blendshapes_from_state,
    state_from_blendshapes,
)
from flowface_ros.head.model import HeadModel
from flowface_ros.head.state import neutral_state

unit = st.floats(0, 1)


def test_the_names_are_the_52() -> None:
    assert len(set(ARKIT_NAMES)) == len(ARKIT_NAMES) == 52
    assert ARKIT_NAMES[0] == "eyeBlinkLeft" and ARKIT_NAMES[-1] == "tongueOut"
    mirrored = {n.replace("Left", "Right") for n in ARKIT_NAMES if "Left" in n}
    assert mirrored == {n for n in ARKIT_NAMES if "Right" in n}


@settings(max_examples=50)
@given(forward=unit, jaw=unit, side=st.sampled_from(["jawLeft", "jawRight"]), turn=unit, up=unit)
def test_round_trip(
    toy: HeadModel, forward: float, jaw: float, side: str, turn: float, up: float
) -> None:
    weights = {"jawForward": forward, "jawOpen": jaw, side: turn, "eyeLookUpLeft": up}
    state = state_from_blendshapes(toy, weights, neutral_state(toy))
    expected = [weights.get(name, 0.0) for name in ARKIT_NAMES]
    np.testing.assert_allclose(blendshapes_from_state(toy, state), expected, atol=1e-9)


def test_an_array_means_the_same_as_names(toy: HeadModel) -> None:
    weights = np.zeros(52)
    weights[ARKIT_NAMES.index("jawOpen")] = 0.5
    state = state_from_blendshapes(toy, weights, neutral_state(toy))
    np.testing.assert_allclose(state.jaw, [0.25, 0, 0])


def test_the_rest_of_the_base_stays(toy: HeadModel) -> None:
    base = replace(
        neutral_state(toy),
        neck=np.array([0.1, 0, 0]),
        expression=np.full(5, 0.5),
        right_eye=np.array([0.2, 0, 0]),
        jaw=np.ones(3),
    )
    state = state_from_blendshapes(toy, {"jawForward": 0.25}, base)
    np.testing.assert_array_equal(state.neck, base.neck)
    np.testing.assert_array_equal(state.expression, [0.25, 0.5, 0.5, 0.5, 0.5])
    np.testing.assert_array_equal(state.jaw, 0)
    np.testing.assert_array_equal(state.right_eye, base.right_eye)


def test_weights_are_clipped_to_what_arkit_allows(toy: HeadModel) -> None:
    state = replace(neutral_state(toy), jaw=np.array([0.9, 0, 0]), expression=np.full(5, -0.3))
    weights = blendshapes_from_state(toy, state)
    assert weights[ARKIT_NAMES.index("jawOpen")] == 1
    assert weights.min() == 0


def test_a_head_without_a_mapping_says_so(toy: HeadModel) -> None:
    plain = replace(toy, blendshapes=None)
    with pytest.raises(ValueError, match="'toy' has no mapping"):
        blendshapes_from_state(plain, neutral_state(plain))


def test_bad_weights_are_refused(toy: HeadModel) -> None:
    with pytest.raises(ValueError, match="jawOpne"):
        state_from_blendshapes(toy, {"jawOpne": 1.0}, neutral_state(toy))
    with pytest.raises(ValueError, match=r"\(51,\), must be \(52,\)"):
        state_from_blendshapes(toy, np.zeros(51), neutral_state(toy))
