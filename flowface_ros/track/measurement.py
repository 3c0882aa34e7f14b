"""One head measured in one set: the fit, and whether it may be believed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowface_ros import rigid
from flowface_ros.align.observation import Observation
from flowface_ros.camera.camera import Camera
from flowface_ros.camera.rig import Rig
from flowface_ros.fit.frame_fit import FrameFitter
from flowface_ros.fit.priors import ShapeBelief, StatePrior
from flowface_ros.fit.result import FitResult
from flowface_ros.head.state import HeadState, state_vector
from flowface_ros.track.config import TrackerConfig
from flowface_ros.track.frames import ViewAlignment

Array = NDArray[np.float64]

_NS = 1_000_000_000

_STEADY_S = 1e-4
"""Stamps closer than this are taken as one: at 1 m/s heads move 0.1 mm."""
_EXPECTED_SHARE = 0.76
"""Share of the information that the Student-t loss with 5 degrees of freedom keeps of Gaussian
errors as large as their sigmas say."""


@dataclass(frozen=True, eq=False)
class Moment:
    """A set's stamp, its cameras by name, and the stamps of their images."""

    stamp_ns: int
    cameras: Mapping[str, Camera]
    stamps_ns: Mapping[str, int]

    @property
    def rig(self) -> Rig:
        return Rig(tuple(self.cameras.values()))

    @property
    def spread_s(self) -> float:
        """Latest minus earliest stamp."""
        return (max(self.stamps_ns.values()) - min(self.stamps_ns.values())) / _NS

    def as_seen_by(self, velocity: Array, origin: Array) -> Rig:
        """The rig in which a moving head stands still at the set's stamp.

        velocity: (6,) m/s and rad/s in rig axes, of a head whose frame is at `origin` (3,).
        An image taken later shows the head farther on its way, as a camera would see it that is
        displaced by the opposite motion.
        """
        moved = []
        for name, camera in self.cameras.items():
            dt = (self.stamps_ns[name] - self.stamp_ns) / _NS
            if abs(dt) > _STEADY_S:
                turn = rigid.rotation_from_rotvec(dt * velocity[3:])
                motion = rigid.transform(turn, origin + dt * velocity[:3] - turn @ origin)
                camera = camera.moved(rigid.inverse(motion) @ camera.rig_from_camera)
            moved.append(camera)
        return Rig(tuple(moved))


@dataclass(frozen=True, eq=False)
class Measurement:
    """A head that a set's views agree on.

    alignments: of the views that took part. confidence: see `confidence`.
    """

    result: FitResult
    alignments: Sequence[ViewAlignment]
    rig: Rig
    confidence: float

    @property
    def observations(self) -> list[Observation]:
        return [a.observation for a in self.alignments]


class HeadMeasurer:
    """Fits heads and judges the fits. Not for several threads at once."""

    def __init__(self, fitter: FrameFitter, config: TrackerConfig) -> None:
        self._fitter, self._config = fitter, config

    def measure(
        self,
        rig: Rig,
        alignments: Sequence[ViewAlignment],
        counters: Counter[str],
        prior: StatePrior | None = None,
        shape: ShapeBelief | None = None,
        solve_shape: bool = True,
    ) -> Measurement | None:
        """The head that the alignments show, or None, which is counted by its cause.

        Views that do not agree with the head are left out and the rest is fitted again.
        """
        self._fitter.rig = rig
        used = list(alignments)
        while used:
            observations = [a.observation for a in used]
            try:
                result = self._fitter.fit(observations, prior, shape=shape, solve_shape=solve_shape)
            except np.linalg.LinAlgError:
                counters["fit_failed"] += 1
                return None
            if not result.valid or not is_finite(result.state):
                counters["fit_failed"] += 1
                return None
            agreeing = {view.camera for view in result.views if view.consistent}
            if all(a.camera.name in agreeing for a in used):
                return self._judged(rig, used, result, counters)
            counters["view_disagrees"] += len(used) - len(agreeing)
            used = [a for a in used if a.camera.name in agreeing]
        counters["fit_failed"] += 1
        return None

    def _judged(
        self,
        rig: Rig,
        used: Sequence[ViewAlignment],
        result: FitResult,
        counters: Counter[str],
    ) -> Measurement | None:
        cameras = [rig[a.camera.name] for a in used]
        if not self._is_plausible(result.state, cameras):
            counters["implausible"] += 1
            return None
        return Measurement(result, used, rig, confidence(result, used))

    def _is_plausible(self, state: HeadState, cameras: Sequence[Camera]) -> bool:
        """Whether the head is in reach of the cameras and shows its face to one of them."""
        config = self._config
        away = np.array([c.rig_from_camera[:3, 3] - state.translation for c in cameras])
        distance = np.linalg.norm(away, axis=1)
        if distance.min() < config.min_distance_m or distance.min() > config.max_distance_m:
            return False
        front = rigid.rotation_from_rotvec(state.rotation) @ rigid.rotation_from_rotvec(state.neck)
        cosine = (away / distance[:, None]) @ front[:, 2]
        return bool(cosine.max() >= np.cos(np.radians(config.max_view_angle_deg)))


def confidence(result: FitResult, alignments: Sequence[ViewAlignment]) -> float:
    """Mean over the views of presence times the share of the information that agrees with the head;
    1 when every view surely shows a face and its residuals are as small as their sigmas say."""
    presence = {a.camera.name: a.presence for a in alignments}
    shares = [
        presence[view.camera] * min(1.0, view.inlier_share / _EXPECTED_SHARE)
        for view in result.views
    ]
    return float(np.clip(np.mean(shares), 0.0, 1.0)) if shares else 0.0


def is_finite(state: HeadState) -> bool:
    """Whether every number of a state is."""
    covariance = state.covariance
    return bool(
        np.isfinite(state_vector(state)).all()
        and (covariance is None or np.isfinite(covariance).all())
    )
