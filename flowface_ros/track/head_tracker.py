"""The joint part of tracking: from alignments of all views to people over time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.observation import Observation
from flowface_ros.camera.camera import Camera
from flowface_ros.camera.rig import Rig
from flowface_ros.fit.frame_fit import FrameFitter, check_rig
from flowface_ros.fit.priors import StatePrior
from flowface_ros.fit.shape_prior import make_shape_prior
from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.model import HeadModel
from flowface_ros.head.surface import SurfacePoints
from flowface_ros.track.association import SAME_FACE, assign, misfit
from flowface_ros.track.config import TrackerConfig
from flowface_ros.track.frames import TrackResult, TrackStatistics, ViewAlignment
from flowface_ros.track.grouping import group, pair_cost
from flowface_ros.track.measurement import HeadMeasurer, Measurement, Moment
from flowface_ros.track.person import Person
from flowface_ros.track.tracked_head import TrackedHead, as_published

_TOO_CLOSE_M = 0.1
"""Two heads cannot be nearer to each other: their middles are a head's width apart."""
_ONE_PERSON_M = 0.3
"""Two heads seen by different views may be one: a single view's depth is off by so much at most."""
_EXPLAINED = 2 * SAME_FACE
"""Sizes by which a face may be off a head that was just measured and still be its."""


class HeadTracker:
    """Association over views, fit, identity and life cycle; sees no image."""

    def __init__(self, model: HeadModel, config: TrackerConfig | None = None) -> None:
        """ValueError when the configuration's shape prior is of another head."""
        self._model, self._config = model, config or TrackerConfig()
        self._shape_prior = make_shape_prior(self._config.shape_prior, model)
        self._on_eyes = _eyeball_triangles(model)
        self._people: list[Person] = []
        self._count = 0
        self._shown: tuple[str, ...] = ()
        self._stamp_ns: int | None = None
        self._fitter: FrameFitter | None = None

    def check(self, cameras: Sequence[Camera], stamps_ns: Sequence[int]) -> None:
        """Raises ValueError as `update` would."""
        if not cameras:
            raise ValueError("cameras is empty; a set has at least one view")
        if len(cameras) != len(stamps_ns):
            raise ValueError(f"stamps_ns has {len(stamps_ns)} stamps for {len(cameras)} cameras")
        check_rig(Rig(tuple(cameras)))
        if self._stamp_ns is not None and stamps_ns[0] <= self._stamp_ns:
            raise ValueError(
                f"stamps_ns begins with {stamps_ns[0]}, must be later than the last set's, "
                f"{self._stamp_ns}; reset the tracker when time jumps back"
            )

    def update(
        self,
        cameras: Sequence[Camera],
        stamps_ns: Sequence[int],
        alignments: Sequence[ViewAlignment],
    ) -> TrackResult:
        """The heads at the first stamp.

        cameras, stamps_ns: the views of the set, those without a face too. alignments: of these.
        Raises ValueError as `Tracker.update`.
        """
        self.check(cameras, stamps_ns)
        names = [camera.name for camera in cameras]
        if strangers := {a.camera.name for a in alignments} - set(names):
            raise ValueError(f"alignments are of {sorted(strangers)}, the set has {names}")
        moment = Moment(
            stamps_ns[0],
            dict(zip(names, cameras, strict=True)),
            dict(zip(names, stamps_ns, strict=True)),
        )
        self._stamp_ns = moment.stamp_ns
        return self._update(moment, alignments)

    def reset(self) -> None:
        """Forget everybody. Ids are not used again."""
        self._people, self._shown, self._stamp_ns = [], (), None

    def forget(self, ids: Sequence[str]) -> None:
        """Forget the heads of these ids, as when their results are of no use."""
        self._people = [person for person in self._people if person.id not in ids]
        self._shown = tuple(id for id in self._shown if id not in ids)

    def freeze_identity(self, frozen: bool) -> None:
        """Whether the shapes of the heads known now stay as they are; newcomers' are learned."""
        for person in self._people:
            person.frozen = frozen

    def _update(self, moment: Moment, alignments: Sequence[ViewAlignment]) -> TrackResult:
        counters: Counter[str] = Counter()
        start = time.perf_counter()
        alignments = [replace(a, observation=self._thinned(a.observation)) for a in alignments]
        fitter = self._fitter_for(moment)
        measurer = HeadMeasurer(fitter, self._config)
        predicted = {p.id: p.predict(moment.stamp_ns) for p in self._people}
        known = {id: prior for id, prior in predicted.items() if prior is not None}
        expected = {p.id: p.expected(known[p.id]) for p in self._people if p.id in known}
        assigned = assign(alignments, expected, self._evaluator_of)
        counters["duplicate_alignment"] += assigned.duplicates
        middle = time.perf_counter()
        measured: dict[str, Measurement] = {}
        for person in self._people:
            if of_person := assigned.of_head.get(person.id):
                prior = known[person.id]
                found = self._measure(measurer, moment, person, prior, of_person, counters)
                if found is not None:
                    measured[person.id] = found
        self._welcome(measurer, moment, assigned.free, measured, counters)
        self._merge(measurer, moment, measured, counters)
        for person in self._people:
            if person.id in measured:
                person.take(moment, measured[person.id])
        heads, removed = self._settle(moment, counters)
        stage_ms = {
            "associate": (middle - start) * 1e3,
            "fit": (time.perf_counter() - middle) * 1e3,
        }
        statistics = TrackStatistics(stage_ms, counters, _view_rmse(heads))
        return TrackResult(moment.stamp_ns, heads, removed, statistics)

    def _fitter_for(self, moment: Moment) -> FrameFitter:
        if self._fitter is None:
            self._fitter = FrameFitter(self._model, moment.rig, self._config.fit)
        self._fitter.rig = moment.rig
        return self._fitter

    def _thinned(self, observation: Observation) -> Observation:
        """Evenly chosen points, and all of the eyeballs."""
        on_eyes = self._on_eyes[observation.points.triangle]
        others = np.flatnonzero(~on_eyes)
        if len(others) <= self._config.max_points:
            return observation
        chosen = np.linspace(0, len(others) - 1, self._config.max_points).round().astype(int)
        return observation[np.sort(np.concatenate([others[chosen], np.flatnonzero(on_eyes)]))]

    def _evaluator_of(self, points: SurfacePoints) -> SurfaceEvaluator:
        assert self._fitter is not None
        return self._fitter.points(points).evaluator

    def _measure(
        self,
        measurer: HeadMeasurer,
        moment: Moment,
        person: Person,
        prior: StatePrior,
        alignments: Sequence[ViewAlignment],
        counters: Counter[str],
    ) -> Measurement | None:
        """A known head; found anew if its motion misleads the fit."""
        rig = moment.rig
        if self._config.compensate_stamps:
            rig = moment.as_seen_by(person.velocity, np.asarray(prior.mean.translation))
        views = [a.camera.name for a in alignments]
        keyframe = person.wants_keyframe(prior.mean, moment, views)
        shape = person.shape
        found = measurer.measure(rig, alignments, counters, prior, shape, keyframe)
        if found is None:
            found = measurer.measure(rig, alignments, counters, None, shape, False)
        return found

    def _welcome(
        self,
        measurer: HeadMeasurer,
        moment: Moment,
        free: Sequence[ViewAlignment],
        measured: dict[str, Measurement],
        counters: Counter[str],
    ) -> None:
        """Newcomers: faces that no known head explains, grouped over the views."""
        states = [m.result.state for m in measured.values()]
        strangers = [
            a
            for a in free
            if all(
                misfit(a.camera, a.observation, state, self._evaluator_of) > _EXPLAINED
                for state in states
            )
        ]
        counters["duplicate_alignment"] += len(free) - len(strangers)
        for faces in group(strangers, self._model, self._evaluator_of):
            if len(self._people) >= self._config.max_faces:
                counters["too_many_faces"] += 1
                continue
            known = self._shape_prior.belief([f.observation for f in faces], moment.rig)
            found = measurer.measure(moment.rig, faces, counters, shape=known)
            if found is None:
                continue
            places = [m.result.state.translation for m in measured.values()]
            if any(_distance(found.result.state.translation, p) < _TOO_CLOSE_M for p in places):
                counters["duplicate_alignment"] += len(faces)
                continue
            self._count += 1
            id = f"{self._config.id_prefix}{self._count}"
            person = Person(id, self._model, self._config, known)
            self._people.append(person)
            measured[person.id] = found
            counters["new_head"] += 1

    def _merge(
        self,
        measurer: HeadMeasurer,
        moment: Moment,
        measured: dict[str, Measurement],
        counters: Counter[str],
    ) -> None:
        """Two heads that are one person become the older one."""
        people = [person for person in self._people if person.id in measured]
        for older, younger in combinations(people, 2):
            if older.id not in measured or younger.id not in measured:
                continue
            both = measured[older.id], measured[younger.id]
            one = self._as_one(measurer, moment, older, *both)
            if one is None:
                continue
            measured[older.id] = one
            del measured[younger.id]
            self._people.remove(younger)
            counters["merged"] += 1

    def _as_one(
        self,
        measurer: HeadMeasurer,
        moment: Moment,
        person: Person,
        a: Measurement,
        b: Measurement,
    ) -> Measurement | None:
        """The one head that two heads are, of a's person, or None when they are two people."""
        apart = _distance(a.result.state.translation, b.result.state.translation)
        if apart < _TOO_CLOSE_M:
            return a
        views = {x.camera.name for x in a.alignments} & {x.camera.name for x in b.alignments}
        if apart > _ONE_PERSON_M or views:
            return None
        for x in a.alignments:
            for y in b.alignments:
                if not np.isfinite(pair_cost(x, y, self._model, self._evaluator_of)):
                    return None
        both = [*a.alignments, *b.alignments]
        shape, learns = person.shape, not person.frozen
        one = measurer.measure(moment.rig, both, Counter(), shape=shape, solve_shape=learns)
        return one if one is not None and len(one.alignments) == len(both) else None

    def _settle(
        self, moment: Moment, counters: Counter[str]
    ) -> tuple[tuple[TrackedHead, ...], tuple[str, ...]]:
        """Heads of this set, and the ids of those that the last result had and this one has not."""
        heads = {
            p.id: as_published(head) for p in self._people if (head := p.head(moment)) is not None
        }
        counters["lost"] += sum(person.id not in heads for person in self._people)
        self._people = [person for person in self._people if person.id in heads]
        removed = tuple(id for id in self._shown if id not in heads)
        self._shown = tuple(heads)
        return tuple(heads.values()), removed


def _eyeball_triangles(model: HeadModel) -> NDArray[np.bool_]:
    """Mask (F,)."""
    vertices = np.zeros(model.vertex_count, bool)
    for name in ("left_eyeball", "right_eyeball"):
        vertices[model.vertex_groups.get(name, np.zeros(0, np.int32))] = True
    return np.asarray(vertices[model.triangles].all(axis=1))


def _distance(a: NDArray, b: NDArray) -> float:
    return float(np.linalg.norm(np.asarray(a) - np.asarray(b)))


def _view_rmse(heads: Sequence[TrackedHead]) -> dict[str, float]:
    """Root mean square over the heads, by camera."""
    of_view: dict[str, list[float]] = {}
    for head in heads:
        for view, rmse in zip(head.views, head.view_rmse_px, strict=True):
            of_view.setdefault(view, []).append(rmse)
    return {view: float(np.sqrt(np.mean(np.square(rmse)))) for view, rmse in of_view.items()}
