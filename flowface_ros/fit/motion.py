"""What the last frames say about the next one: a Kalman filter whose update is the fit.

The head's pose moves with a velocity that random accelerations change and that fades when nothing
is seen. Joints and expression return to rest as an Ornstein-Uhlenbeck process does, whose
stationary distribution is their static prior: what is not seen any more is forgotten, and the
static prior is counted once however many frames there are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flowface_ros.fit.config import MotionConfig, PriorConfig
from flowface_ros.fit.priors import StatePrior, prior_of, static_sigmas
from flowface_ros.fit.result import FitResult
from flowface_ros.head.model import HeadModel
from flowface_ros.head.state import (
    HeadState,
    Unknowns,
    all_unknowns,
    full_covariance,
    retract,
    step_between,
)
from flowface_ros.rigid import rotation_from_rotvec

Array = NDArray[np.float64]

POSE = 6
"""Unknowns of the pose, which come first and have a velocity each."""
_FIRST_SPEED, _FIRST_TURN = 0.3, 1.5
"""Standard deviations (m/s, rad/s) of the velocity of a head that is seen for the first time."""


@dataclass(frozen=True, eq=False)
class _Belief:
    """state: mean at a time. velocity: (6,). covariance: (n + 6 squared) of both."""

    stamp_ns: int
    state: HeadState
    velocity: Array
    covariance: Array


class MotionFilter:
    """One person's motion. Predict, fit with the prediction as prior, update with the result."""

    def __init__(
        self,
        model: HeadModel,
        config: MotionConfig | None = None,
        priors: PriorConfig | None = None,
    ) -> None:
        self._model, self._config = model, config or MotionConfig()
        self._unknowns = replace(all_unknowns(model), shape=())
        rest = static_sigmas(model, priors or PriorConfig())[POSE : self._unknowns.size]
        self._rest_variance = rest**2
        self._rate = 1 / _times(model, self._config, self._unknowns)
        self._belief: _Belief | None = None

    @property
    def unknowns(self) -> Unknowns:
        """What the prior is about: all but the shape."""
        return self._unknowns

    @property
    def velocity(self) -> Array | None:
        """(6,) m/s and rad/s in rig axes, None before the first update."""
        return None if self._belief is None else self._belief.velocity

    def reset(self) -> None:
        """Forget everything."""
        self._belief = None

    def predict(self, stamp_ns: int) -> StatePrior | None:
        """The prior at a time; its mean carries the covariance. None before the first update, for
        a time before the last update's, and after a gap longer than the configured one."""
        moved = self._moved(stamp_ns)
        if moved is None:
            return None
        n = self._unknowns.size
        covariance = moved.covariance[:n, :n]
        state = replace(
            moved.state, covariance=full_covariance(self._model, self._unknowns, covariance)
        )
        return prior_of(self._model, state, self._unknowns, covariance)

    def update(self, stamp_ns: int, result: FitResult) -> None:
        """Take in a fit of that time. One that had `predict`'s prior continues the motion, any
        other starts it anew; a result that is not valid is ignored."""
        if not result.valid or result.posterior is None:
            return
        n = self._unknowns.size
        found = result.posterior.covariance[:n, :n]
        before = self._moved(stamp_ns)
        if before is None or not result.used_prior:
            self._belief = self._first(stamp_ns, result.state, found)
            return
        prior = before.covariance[:n, :n]
        gain = np.linalg.solve(prior, before.covariance[:n, n:]).T
        step = step_between(before.state, result.state, self._unknowns)
        velocity = before.velocity + gain @ step
        covariance = np.empty_like(before.covariance)
        covariance[:n, :n] = found
        covariance[n:, :n] = gain @ found
        covariance[:n, n:] = covariance[n:, :n].T
        covariance[n:, n:] = before.covariance[n:, n:] - gain @ (prior - found) @ gain.T
        state = replace(result.state, covariance=None)
        self._belief = _Belief(stamp_ns, state, velocity, covariance)

    def _first(self, stamp_ns: int, state: HeadState, found: Array) -> _Belief:
        n = self._unknowns.size
        covariance = np.zeros((n + POSE, n + POSE))
        covariance[:n, :n] = found
        speeds = np.repeat([_FIRST_SPEED, _FIRST_TURN], 3)
        covariance[n:, n:] = np.diag(speeds**2)
        return _Belief(stamp_ns, replace(state, covariance=None), np.zeros(POSE), covariance)

    def _moved(self, stamp_ns: int) -> _Belief | None:
        belief, config, n = self._belief, self._config, self._unknowns.size
        if belief is None:
            return None
        dt = (stamp_ns - belief.stamp_ns) * 1e-9
        if dt < 0 or dt > config.longest_gap:
            return None
        fade = np.exp(-dt / config.velocity_time)
        reach = config.velocity_time * (1 - fade)
        keep = np.exp(-dt * self._rate)
        pose_step = reach * belief.velocity
        transition = np.eye(n + POSE)
        transition[:POSE, n:] = reach * np.eye(POSE)
        transition[3:POSE, 3:POSE] = rotation_from_rotvec(pose_step[3:])
        transition[n:, n:] = fade * np.eye(POSE)
        transition[range(POSE, n), range(POSE, n)] = keep
        covariance = transition @ belief.covariance @ transition.T
        covariance[range(POSE, n), range(POSE, n)] += (1 - keep**2) * self._rest_variance
        power = (
            2
            * config.acceleration_time
            * np.repeat([config.acceleration**2, config.angular_acceleration**2], 3)
        )
        pose, speed = np.arange(POSE), np.arange(n, n + POSE)
        covariance[pose, pose] += power * dt**3 / 3
        covariance[speed, speed] += power * dt
        covariance[pose, speed] += power * dt**2 / 2
        covariance[speed, pose] += power * dt**2 / 2
        rest = _towards_rest(belief.state, self._unknowns, keep)
        state = retract(belief.state, self._unknowns, np.concatenate([pose_step, rest]))
        return _Belief(stamp_ns, state, fade * belief.velocity, covariance)


def _towards_rest(state: HeadState, unknowns: Unknowns, keep: Array) -> Array:
    """The step (n - 6,) of joints and expression after which a share `keep` of them is left."""
    names = [name for name in unknowns.slices if name not in ("translation", "rotation")]
    return (keep - 1) * np.concatenate([getattr(state, name) for name in names])


def _times(model: HeadModel, config: MotionConfig, unknowns: Unknowns) -> Array:
    """Time constants (n - 6,) of joints and expression, seconds."""
    times = {
        "neck": config.neck_time,
        "jaw": config.jaw_time,
        "left_eye": config.eye_time,
        "right_eye": config.eye_time,
    }
    joints = [np.full(3, times[name]) for name in unknowns.slices if name in times]
    lids = [name.startswith("eye") for name in model.expression_names]
    return np.concatenate([*joints, np.where(lids, config.lid_time, config.expression_time)])
