from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowface_ros.evaluate.matching import assign, match_stamps, moments, people, truth_at
from flowface_ros.evaluate.tracking import Face, Tracking, face_between
from flowface_ros.rigid import rotation_from_rotvec, transform

MS = 1_000_000


def face(name: str, x: float = 0.0, turn: float = 0.0) -> Face:
    return Face(name, transform(rotation_from_rotvec([0, turn, 0]), [x, 0, 1]))


def tracking(stamps_ms: list[float], *faces: list[Face]) -> Tracking:
    return Tracking(np.array([round(s * MS) for s in stamps_ms]), faces)


@pytest.mark.parametrize(
    ("predicted_ms", "rows"),
    [
        ([0, 33, 66], [0, 1, 2]),
        ([2, 31, 67], [0, 1, 2]),
        ([33], [-1, 0, -1]),
        ([0, 66], [0, -1, 1]),
        ([15, 18], [0, 1, -1]),
        ([], [-1, -1, -1]),
        ([200], [-1, -1, -1]),
    ],
)
def test_stamps(predicted_ms: list[int], rows: list[int]) -> None:
    truth = np.array([0, 33, 66]) * MS
    np.testing.assert_array_equal(match_stamps(truth, np.array(predicted_ms, int) * MS), rows)


@given(
    st.lists(st.integers(0, 5000), min_size=1, max_size=30, unique=True),
    st.lists(st.integers(0, 5000), max_size=30, unique=True),
)
def test_no_prediction_is_used_twice(truth: list[int], predicted: list[int]) -> None:
    rows = match_stamps(np.sort(truth), np.sort(np.array(predicted, int)))
    used = rows[rows >= 0]
    assert len(np.unique(used)) == len(used)


def test_the_least_total_distance_within_the_gate() -> None:
    truths = [face("a", 0.0), face("b", 0.1)]
    matches, extra = assign(truths, [face("p", 0.09), face("q", -0.05), face("far", 1.0)])
    assert [m and m.id for m in matches] == ["q", "p"]
    assert [e.id for e in extra] == ["far"]
    assert assign(truths, []) == ((None, None), ())
    assert assign([], [face("p")])[1][0].id == "p"


def test_a_far_pair_does_not_pull_a_near_one_apart() -> None:
    matches, _ = assign([face("a", 0.0), face("b", 0.3)], [face("p", 0.14), face("q", 5.0)])
    assert [m and m.id for m in matches] == ["p", None]


def test_truth_is_interpolated_to_the_prediction() -> None:
    truth = tracking([0, 40], [face("a", 0.0, 0.0)], [face("a", 0.1, 0.4)])
    (first, second) = moments(truth, tracking([10, 30], [face("p")], [face("p")]))
    assert first.truths[0].position[0] == pytest.approx(0.025)
    assert second.truths[0].position[0] == pytest.approx(0.075)
    np.testing.assert_allclose(
        first.truths[0].rig_from_face[:3, :3], rotation_from_rotvec([0, 0.1, 0]), atol=1e-12
    )
    assert truth_at(truth, 20 * MS)[0].position[0] == pytest.approx(0.05)
    assert truth_at(truth, 300 * MS) == []


def test_truth_is_not_interpolated_over_a_gap() -> None:
    rows = [[face("a", x)] for x in (0.0, 0.1, 0.2, 0.9)]
    truth = tracking([0, 10, 20, 300], *rows)
    assert truth_at(truth, 24 * MS)[0].position[0] == pytest.approx(0.2)


def test_interpolated_vertices_and_weights() -> None:
    a = replace(face("a"), vertices=np.zeros((3, 3)), blendshapes=np.zeros(52))
    b = replace(face("a"), vertices=np.ones((3, 3)), blendshapes=np.full(52, 0.4))
    middle = face_between(a, b, 0.25)
    np.testing.assert_allclose(middle.vertices, 0.25)
    np.testing.assert_allclose(middle.blendshapes, 0.1)


def test_people_and_changes_of_id() -> None:
    truth = tracking([0, 10, 20, 30], *[[face("a"), face("b", 0.5)]] * 4)
    prediction = tracking(
        [0, 10, 20, 30],
        [face("p"), face("q", 0.5)],
        [face("p")],
        [face("r"), face("q", 0.5), face("ghost", 3.0)],
        [face("r"), face("q", 0.5)],
    )
    frames = moments(truth, prediction)
    a, b = people(frames)
    assert (a.id, b.id) == ("a", "b")
    assert (a.id_switches, b.id_switches) == (1, 0)
    assert (len(a.pairs()), len(b.pairs())) == (4, 3)
    assert sum(len(f.extra) for f in frames) == 1


def test_a_tracking_must_go_forward() -> None:
    with pytest.raises(ValueError, match="must increase"):
        tracking([10, 10], [], [])
    with pytest.raises(ValueError, match="2 stamps for 1"):
        tracking([0, 10], [])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_judged_must_be_finite(value: float) -> None:
    with pytest.raises(ValueError, match="rig_from_face of face b at 10000000 ns is not finite"):
        tracking([0, 10], [face("a")], [face("a"), face("b", value)])
    mesh = np.zeros((3, 3))
    mesh[1, 1] = value
    with pytest.raises(ValueError, match="vertices of face a at 0 ns"):
        tracking([0], [replace(face("a"), vertices=mesh)])
