"""What is remembered of one person from set to set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flowface_ros.fit.agreement import with_belief
from flowface_ros.fit.identity import IdentityEstimator
from flowface_ros.fit.motion import MotionFilter
from flowface_ros.fit.priors import ShapeBelief, StatePrior
from flowface_ros.head.model import HeadModel
from flowface_ros.head.state import HeadState
from flowface_ros.track.association import Expected
from flowface_ros.track.config import TrackerConfig
from flowface_ros.track.measurement import Measurement, Moment
from flowface_ros.track.tracked_head import Status, TrackedHead

Array = NDArray[np.float64]

_NS = 1_000_000_000


@dataclass(frozen=True, eq=False)
class _Seen:
    """The last measurement: when, and what came of it. steady: the share of the state's covariance
    that more measurements do not lower."""

    stamp_ns: int
    state: HeadState
    confidence: float
    views: tuple[str, ...]
    view_rmse_px: tuple[float, ...]
    steady: Array | None


class Person:
    """One head's motion, shape and life cycle."""

    def __init__(
        self, id: str, model: HeadModel, config: TrackerConfig, shape: ShapeBelief | None = None
    ) -> None:
        """shape: what is known of it before the first keyframe; the head's own when None."""
        self.id = id
        self.frozen = False
        """Whether the shape stays as it is."""
        self._model, self._config = model, config
        # Where sets are farther apart than heads coast, they are followed from one to the next.
        gap = max(config.motion.longest_gap, config.coast_time_s)
        motion = replace(config.motion, longest_gap=gap)
        self._motion = MotionFilter(model, motion, config.fit.priors)
        self._identity = IdentityEstimator(model, shape, config.identity)
        self._shapes = model.shape_count
        self._sets = 0
        self._seen: _Seen | None = None
        self._keyframe_ns: int | None = None

    @property
    def shape(self) -> ShapeBelief:
        """What is known of the person's shape."""
        return self._identity.belief

    @property
    def velocity(self) -> Array:
        """(6,) m/s and rad/s in rig axes."""
        velocity = self._motion.velocity
        return np.zeros(6) if velocity is None else velocity

    @property
    def confirmed(self) -> bool:
        return self._sets >= self._config.confirm_sets

    def predict(self, stamp_ns: int) -> StatePrior | None:
        """The head at a time; None after too long a pause, or when what is known of it is
        degenerate."""
        try:
            return self._motion.predict(stamp_ns)
        except (ValueError, np.linalg.LinAlgError):
            return None

    def expected(self, prior: StatePrior) -> Expected:
        """The prediction for association, with the shape."""
        covariance = prior.mean.covariance
        assert covariance is not None
        sigma = float(np.sqrt(np.linalg.eigvalsh(covariance[:3, :3])[-1]))
        return Expected(replace(prior.mean, shape=self.shape.mean), sigma)

    def wants_keyframe(self, state: HeadState, moment: Moment, cameras: Sequence[str]) -> bool:
        """Whether the shape should be solved for in this set."""
        last, gap = self._keyframe_ns, self._config.keyframe_interval_s * _NS
        rested = last is None or moment.stamp_ns - last >= gap
        return not self.frozen and rested and self._identity.wants(state, moment.rig, cameras)

    def take(self, moment: Moment, measurement: Measurement) -> None:
        """Take in this set's measurement."""
        result = measurement.result
        if result.unknowns is not None and len(result.unknowns.shape) > 0:
            if self._identity.add(measurement.observations, measurement.rig, result):
                self._keyframe_ns = moment.stamp_ns
            result = with_belief(self._model, result, self.shape)
        try:
            self._motion.update(moment.stamp_ns, result)
        except np.linalg.LinAlgError:
            self._motion.reset()
        self._sets += 1
        self._seen = _Seen(
            moment.stamp_ns,
            result.state,
            measurement.confidence,
            tuple(view.camera for view in result.views),
            tuple(view.rmse_px for view in result.views),
            result.steady,
        )

    def head(self, moment: Moment) -> TrackedHead | None:
        """The head at this moment; None when it is to be removed."""
        assert self._seen is not None
        seen = self._seen
        if seen.stamp_ns == moment.stamp_ns:
            status = Status.TRACKED if self.confirmed else Status.TENTATIVE
            return TrackedHead(
                self.id,
                status,
                seen.state,
                seen.confidence,
                seen.views,
                seen.view_rmse_px,
                moment.spread_s,
            )
        gap = (moment.stamp_ns - seen.stamp_ns) / _NS
        if not self.confirmed or gap > self._config.coast_time_s:
            return None
        prior = self.predict(moment.stamp_ns)
        if prior is None:
            return None
        return TrackedHead(
            self.id,
            Status.COASTING,
            self._with_shape(prior.mean, seen.steady),
            seen.confidence * (1 - gap / self._config.coast_time_s),
            stamp_spread_s=moment.spread_s,
        )

    def _with_shape(self, state: HeadState, steady: Array | None) -> HeadState:
        """The predicted state with the person's shape, its covariance, and what is steady."""
        assert state.covariance is not None
        covariance = state.covariance.copy()
        if self._shapes:
            covariance[-self._shapes :, -self._shapes :] = self.shape.covariance
        if steady is not None:
            covariance += steady
        return replace(state, shape=self.shape.mean, covariance=covariance)
