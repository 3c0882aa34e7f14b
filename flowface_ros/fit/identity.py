"""A person's shape from many frames, by accumulated information.

Around its solution a frame's energy is a quadratic in its own unknowns y and the shape s. With y
eliminated (Schur complement) it says about s alone

    L_k = H_ss - H_sy H_yy^-1 H_ys,   h_k = L_k s + (pull of the data at s)

and the shape is the solution of (L_0 + w sum L_k) s = h_0 + w sum h_k, where w is 1 when errors are
independent and less when views share them. Keyframes are few, so that a converged shape costs
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.observation import Observation
from flowface_ros.camera.rig import Rig
from flowface_ros.fit.config import IdentityConfig
from flowface_ros.fit.frame_fit import FrameFitter
from flowface_ros.fit.priors import ShapeBelief, unit_shape_belief
from flowface_ros.fit.result import FitResult
from flowface_ros.head.model import HeadModel
from flowface_ros.head.state import HeadState
from flowface_ros.rigid import rotation_from_rotvec

Array = NDArray[np.float64]

Viewpoint = tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class Keyframe:
    """What one frame says about the shape: information (S, S), vector (S,) = information @ its
    own shape, meat (S, S), the covariance of that vector's error, and steady (S, S), the same of
    what is alike in all of the person's frames."""

    viewpoint: Viewpoint
    observations: Sequence[Observation]
    state: HeadState
    information: Array
    vector: Array
    meat: Array
    steady: Array


class IdentityEstimator:
    """Gathers keyframes of one person; `belief` is what they say together."""

    def __init__(
        self,
        model: HeadModel,
        prior: ShapeBelief | None = None,
        config: IdentityConfig | None = None,
    ) -> None:
        """prior: of the shape before the first frame, the head's unit Gaussian when None."""
        self._model, self._config = model, config or IdentityConfig()
        self._prior = prior or unit_shape_belief(model)
        self._belief = self._prior
        self._gains: list[float] = []
        self.keyframes: list[Keyframe] = []

    @property
    def belief(self) -> ShapeBelief:
        """The shape, how it weighs as a prior, and the covariance of its error."""
        return self._belief

    @property
    def converged(self) -> bool:
        """Whether the last three keyframes taught next to nothing."""
        last = self._gains[-3:]
        return len(last) == 3 and max(last) < self._config.converged_gain

    def wants(self, state: HeadState, rig: Rig, cameras: Sequence[str]) -> bool:
        """Whether a frame of this state, seen by these cameras, would be a new keyframe.

        Ask before the fit: only a keyframe needs the shape among its unknowns.
        """
        if len(self.keyframes) >= self._config.max_keyframes:
            return False
        seen = viewpoint_of(state, rig, cameras, self._config.viewpoint_deg)
        known = sum(keyframe.viewpoint == seen for keyframe in self.keyframes)
        return known < self._config.keyframes_per_viewpoint

    def add(self, observations: Sequence[Observation], rig: Rig, result: FitResult) -> bool:
        """Take in a frame that was fitted with `shape=self.belief, solve_shape=True`.

        Returns whether it became a keyframe. ValueError when the shape was not solved for.
        """
        if result.unknowns is None or not len(result.unknowns.shape):
            raise ValueError("result: the shape was not among its unknowns (solve_shape=True)")
        cameras = [view.camera for view in result.views if view.consistent]
        if not result.valid or not cameras or not self.wants(result.state, rig, cameras):
            return False
        seen = viewpoint_of(result.state, rig, cameras, self._config.viewpoint_deg)
        self.keyframes.append(_keyframe(self._model, seen, observations, result))
        before = np.trace(self._belief.covariance)
        self._belief = self._together(self.keyframes)
        self._gains.append(1 - float(np.trace(self._belief.covariance)) / before)
        return True

    def relinearise(self, fitter: FrameFitter) -> None:
        """Fit every keyframe anew around the present shape, each with what the others say."""
        for i, keyframe in enumerate(self.keyframes):
            others = [*self.keyframes[:i], *self.keyframes[i + 1 :]]
            result = fitter.fit(
                keyframe.observations,
                start=replace(keyframe.state, shape=self._belief.mean),
                shape=self._together(others),
                solve_shape=True,
            )
            if result.valid:
                self.keyframes[i] = _keyframe(
                    self._model, keyframe.viewpoint, keyframe.observations, result
                )
        self._belief = self._together(self.keyframes)

    def _together(self, keyframes: Sequence[Keyframe]) -> ShapeBelief:
        prior = self._prior
        information, vector = prior.information.copy(), prior.information @ prior.mean
        meat = prior.information.copy()
        weight = self._weight(sum(len(keyframe.viewpoint) for keyframe in keyframes))
        for keyframe in keyframes:
            information += weight * keyframe.information
            vector += weight * keyframe.vector
            # weight^2 for the sum's scale, over weight for how alike its terms are
            meat += weight * keyframe.meat
            meat += weight**2 * len(keyframes) * keyframe.steady
        inverse = np.linalg.inv(information)
        covariance = inverse @ meat @ inverse
        return ShapeBelief(inverse @ vector, information, 0.5 * (covariance + covariance.T))

    def _weight(self, views: int) -> float:
        """Of each view among so many: their number of independent ones over their number."""
        return 1 / (1 + max(views - 1, 0) * self._config.shared_error)


def viewpoint_of(state: HeadState, rig: Rig, cameras: Sequence[str], cell_deg: float) -> Viewpoint:
    """Cells of yaw and pitch, in the skull's frame, from which cameras see a head."""
    skull = rotation_from_rotvec(state.rotation) @ rotation_from_rotvec(state.neck)
    cells = []
    for name in cameras:
        x, y, z = skull.T @ (rig[name].rig_from_camera[:3, 3] - state.translation)
        angles = np.degrees([np.arctan2(x, z), np.arctan2(y, np.hypot(x, z))])
        yaw, pitch = np.floor(angles / cell_deg + 0.5).astype(int)
        cells.append((int(yaw), int(pitch)))
    return tuple(cells)


def _keyframe(
    model: HeadModel, viewpoint: Viewpoint, observations: Sequence[Observation], result: FitResult
) -> Keyframe:
    assert result.posterior is not None and result.unknowns is not None and result.belief
    shape, solved = result.unknowns.slices["shape"], np.asarray(result.unknowns.shape)
    prior = result.belief.information[np.ix_(solved, solved)]
    hessian, meat, known = _without_pose_prior(result)
    own = np.r_[0 : shape.start, shape.stop : len(hessian)]
    elimination = np.zeros((len(solved), len(hessian)))
    elimination[:, shape] = np.eye(len(solved))
    elimination[:, own] = -np.linalg.solve(hessian[np.ix_(own, own)], hessian[own, shape]).T
    information = elimination @ hessian[:, shape] - prior
    error = elimination @ meat @ elimination.T - prior
    here = result.state.shape[solved]
    pull = prior @ (here - result.belief.mean[solved])
    full = np.zeros((model.shape_count,) * 2)
    full_meat, full_steady, vector = full.copy(), full.copy(), np.zeros(model.shape_count)
    full[np.ix_(solved, solved)] = 0.5 * (information + information.T)
    full_meat[np.ix_(solved, solved)] = error
    if result.steady_meat is not None:
        full_steady[np.ix_(solved, solved)] = elimination @ result.steady_meat @ elimination.T
    vector[solved] = information @ here + pull
    vector[solved] += elimination @ known
    state = replace(result.state, covariance=None)
    return Keyframe(viewpoint, tuple(observations), state, full, vector, full_meat, full_steady)


def _without_pose_prior(result: FitResult) -> tuple[Array, Array, Array]:
    """Hessian and meat (n, n) without what earlier frames say of the pose, and its force (n,).

    They knew where the head is by the shape that they took it to have: with that, size in the image
    would tell the shape again.
    """
    assert result.posterior is not None and result.unknowns is not None
    posterior, slices = result.posterior, result.unknowns.slices
    force = np.zeros(len(posterior.information))
    prior = np.zeros_like(posterior.information)
    if result.used_prior and result.prior_force is not None:
        rows = np.r_[slices["translation"], slices["rotation"]]
        held = posterior.information - posterior.data
        prior[rows], prior[:, rows] = held[rows], held[:, rows]
        force[rows] = result.prior_force[rows]
    return posterior.information - prior, posterior.meat - prior, force
