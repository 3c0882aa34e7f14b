"""When a live run is over: each published set has its end."""

from __future__ import annotations

import pytest

from flowface_ros.ros.live_run import Report

SECOND = 1_000_000_000
END = 100 * SECOND


def report(sets: int, answers: int, superseded: int, seconds_after: float) -> Report:
    values = {"sets": sets, "answers": answers, "dropped sets: superseded": superseded}
    texts = {key: str(value) for key, value in values.items()}
    return Report(texts, "cpu", END + round(seconds_after * SECOND))


@pytest.mark.parametrize(
    ("sets", "answers", "superseded", "seconds_after", "final"),
    [
        (60, 50, 10, 0.1, True),
        (60, 50, 9, 0.1, False),  # one is worked on
        (34, 28, 6, -0.5, False),  # while the recording played, all that had come was answered
        (34, 28, 6, 0.5, False),
        (34, 28, 6, 3.5, True),  # the others do not come any more
    ],
)
def test_a_run_is_over_when_each_published_set_has_its_end(
    sets: int, answers: int, superseded: int, seconds_after: float, final: bool
) -> None:
    assert report(sets, answers, superseded, seconds_after).is_final(60, END) is final


def test_causes_that_did_not_occur_are_left_out() -> None:
    assert report(3, 3, 0, 0).dropped == {}
    assert report(3, 2, 1, 0).dropped == {"superseded": 1}
    assert not Report({}).is_active
