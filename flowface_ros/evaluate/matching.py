"""Which prediction is meant to be which truth: by stamp, then by place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from flowface_ros.evaluate.tracking import Face, Tracking, face_between

_MAX_DISTANCE_M = 0.15
"""A prediction further from every true head than about a head's width is of nobody."""
_LONGEST_GAP = 2.5
"""Truth is interpolated over at most this many of its own periods."""


@dataclass(frozen=True, eq=False)
class Moment:
    """One frame of the truth beside what was predicted for it.

    stamp_ns: of the prediction, else of the truth; the truth is interpolated to it.
    predicted_frame: row of the prediction, -1 where it has none.
    truths: true faces. matches: the prediction of each, None where there is none.
    extra: predictions of nobody.
    """

    stamp_ns: int
    predicted_frame: int
    truths: tuple[Face, ...]
    matches: tuple[Face | None, ...]
    extra: tuple[Face, ...]


@dataclass(frozen=True, eq=False)
class Person:
    """One true person over the T moments: the true face and its match, None where absent."""

    id: str
    truths: tuple[Face | None, ...]
    matches: tuple[Face | None, ...]

    def pairs(self) -> list[tuple[Face, Face]]:
        """(truth, prediction) of every moment that has both."""
        both = zip(self.truths, self.matches, strict=True)
        return [(t, p) for t, p in both if t is not None and p is not None]

    @property
    def id_switches(self) -> int:
        """How often the prediction's id changes from one match to the next."""
        ids = [match.id for match in self.matches if match is not None]
        return sum(a != b for a, b in pairwise(ids))


def moments(truth: Tracking, prediction: Tracking) -> list[Moment]:
    """Every frame of the truth with the predictions that belong to it."""
    rows = match_stamps(truth.stamps_ns, prediction.stamps_ns)
    result = []
    for frame, row in enumerate(rows):
        stamp = int(truth.stamps_ns[frame] if row < 0 else prediction.stamps_ns[row])
        truths = _truth_near(truth, frame, stamp)
        predicted = prediction.faces[row] if row >= 0 else ()
        matches, extra = assign(truths, predicted)
        result.append(Moment(stamp, int(row), tuple(truths), matches, extra))
    return result


def people(frames: Sequence[Moment]) -> list[Person]:
    """The true people of all moments, in the order of their ids."""
    ids = sorted({face.id for moment in frames for face in moment.truths})
    found = []
    for name in ids:
        truths: list[Face | None] = []
        matches: list[Face | None] = []
        for moment in frames:
            row = next((i for i, face in enumerate(moment.truths) if face.id == name), None)
            truths.append(None if row is None else moment.truths[row])
            matches.append(None if row is None else moment.matches[row])
        found.append(Person(name, tuple(truths), tuple(matches)))
    return found


def match_stamps(
    truth_ns: NDArray[np.integer], predicted_ns: NDArray[np.integer]
) -> NDArray[np.int64]:
    """(T,) row of the prediction nearest to each true stamp, -1 where none is within half of the
    truth's period. No row is given twice."""
    rows = np.full(len(truth_ns), -1, np.int64)
    if not len(predicted_ns) or not len(truth_ns):
        return rows
    tolerance = 0.5 * period_ns(truth_ns)
    after = np.searchsorted(predicted_ns, truth_ns)
    candidates = np.stack([after - 1, after]).clip(0, len(predicted_ns) - 1)
    distance = np.abs(np.asarray(predicted_ns)[candidates] - truth_ns)
    nearest = distance.argmin(axis=0)
    columns = np.arange(len(truth_ns))
    used: set[int] = set()
    for frame in np.argsort(distance[nearest, columns], kind="stable"):
        row = int(candidates[nearest[frame], frame])
        if distance[nearest[frame], frame] <= tolerance and row not in used:
            rows[frame] = row
            used.add(row)
    return rows


def period_ns(stamps_ns: NDArray[np.integer]) -> float:
    """Median time between stamps; a tenth of a second for a single one."""
    return float(np.median(np.diff(stamps_ns))) if len(stamps_ns) > 1 else 1e8


def assign(
    truths: Sequence[Face], predicted: Sequence[Face]
) -> tuple[tuple[Face | None, ...], tuple[Face, ...]]:
    """The prediction of each truth (None for none) by least total distance, and those left over."""
    matches: list[Face | None] = [None] * len(truths)
    if not truths or not predicted:
        return tuple(matches), tuple(predicted)
    places = np.stack([face.position for face in truths])
    found = np.stack([face.position for face in predicted])
    distance = np.linalg.norm(places[:, None] - found[None], axis=2)
    # Beyond the gate all are alike, so that no far pair pulls a near one apart.
    cost = np.where(distance <= _MAX_DISTANCE_M, distance, 2 * len(truths) * _MAX_DISTANCE_M)
    used = set()
    for i, j in np.stack(linear_sum_assignment(cost), axis=1).tolist():
        if distance[i, j] <= _MAX_DISTANCE_M:
            matches[i] = predicted[j]
            used.add(j)
    return tuple(matches), tuple(face for j, face in enumerate(predicted) if j not in used)


def truth_at(truth: Tracking, stamp_ns: int) -> list[Face]:
    """The true faces at a stamp, interpolated; none when no true frame is within a period."""
    if not len(truth):
        return []
    frame = int(np.abs(truth.stamps_ns - stamp_ns).argmin())
    if abs(int(truth.stamps_ns[frame]) - stamp_ns) > period_ns(truth.stamps_ns):
        return []
    return _truth_near(truth, frame, stamp_ns)


def _truth_near(truth: Tracking, frame: int, stamp_ns: int) -> list[Face]:
    """The true faces of a frame, moved to a stamp near it."""
    own = int(truth.stamps_ns[frame])
    other = frame + (1 if stamp_ns > own else -1)
    if stamp_ns == own or not 0 <= other < len(truth):
        return list(truth.faces[frame])
    gap = int(truth.stamps_ns[other]) - own
    if abs(gap) > _LONGEST_GAP * period_ns(truth.stamps_ns):
        return list(truth.faces[frame])
    there = {face.id: face for face in truth.faces[other]}
    share = (stamp_ns - own) / gap
    return [
        face_between(face, there[face.id], share) if face.id in there else face
        for face in truth.faces[frame]
    ]
