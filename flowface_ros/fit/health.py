"""Is a camera where the calibration says? Found out from the heads that all cameras see.

A camera that was knocked pulls against the others: the energy's gradient by its pose, which noise
alone leaves near zero, becomes large. With the head's unknowns eliminated (Schur complement), the
gradient g (6 per camera) has a known covariance V, and g^T V^-1 g is chi-square distributed when
the camera is right. Frames add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import null_space
from scipy.stats import chi2

from flowface_ros import rigid
from flowface_ros.align.observation import Observation
from flowface_ros.camera.rig import Rig
from flowface_ros.fit.camera_terms import EXTRINSICS
from flowface_ros.fit.config import HealthConfig
from flowface_ros.fit.frame_fit import FrameFitter
from flowface_ros.fit.result import FitResult
from flowface_ros.fit.rig_information import FrameInformation, frame_information

Array = NDArray[np.float64]

_SMALLEST = 1e-9
"""Eigenvalues of a covariance below this share of the largest count as zero: a direction in which
the camera and the head cannot be told apart."""


@dataclass(frozen=True)
class CameraHealth:
    """What the frames say about one camera.

    residual_rms: normalised residuals, 1 when sigmas and calibration are right.
    p_value: chance of residuals as one-sided as these if the camera is where it should be.
    shift_px: how far (root mean square) heads would move in its image if it were put right.
    rotation_deg, translation_mm: the correction, which single heads determine only together.
    explained: energy that the correction would save.
    """

    camera: str
    frames: int
    residual_rms: float
    p_value: float
    shift_px: float
    rotation_deg: float
    translation_mm: float
    explained: float


@dataclass(frozen=True)
class RigHealthReport:
    """suspect: the camera whose calibration is off, or "". ambiguous: true when two cameras
    disagree and nothing tells which of the two it is (a rig of two). message: for a log."""

    cameras: tuple[CameraHealth, ...]
    suspect: str
    ambiguous: bool
    message: str


class RigHealth:
    """Gathers frames of one rig that stands still."""

    def __init__(self, rig: Rig, config: HealthConfig | None = None) -> None:
        self._names, self._config = rig.names, config or HealthConfig()
        size = EXTRINSICS * len(self._names)
        self._frames = np.zeros(len(self._names), int)
        self._information, self._meat = np.zeros((size, size)), np.zeros((size, size))
        self._gradient = np.zeros(size)
        self._squares, self._counts = np.zeros((2, len(self._names)))
        self._shift = np.zeros((len(self._names), EXTRINSICS, EXTRINSICS))

    def add(
        self, fitter: FrameFitter, observations: Sequence[Observation], result: FitResult
    ) -> None:
        """Take in a frame that the fitter fitted. Frames with one view say nothing.

        Frames some time apart say more: errors of neighbouring ones are alike.
        """
        if not result.valid or len(result.views) < 2:
            return
        self._add(frame_information(fitter, observations, result))

    def report(self) -> RigHealthReport:
        """What all frames say."""
        cameras = tuple(self._camera(c) for c in range(len(self._names)))
        seen = [camera for camera in cameras if camera.frames >= self._config.min_frames]
        if len(seen) < 2:
            return RigHealthReport(cameras, "", False, "too few views to compare cameras")
        worst = max(seen, key=lambda camera: camera.explained)
        limit = self._config.significance / len(seen)
        if worst.p_value >= limit or worst.shift_px < self._config.min_shift_px:
            return RigHealthReport(cameras, "", False, "extrinsics agree")
        text = (
            f"camera {worst.camera!r} does not agree with the others: its calibration is off by "
            f"about {worst.shift_px:.1f} px at the head"
        )
        if len(seen) == 2:
            names = " and ".join(repr(camera.camera) for camera in seen)
            return RigHealthReport(cameras, "", True, f"cameras {names} do not agree")
        return RigHealthReport(cameras, worst.camera, False, text)

    def refined(self, rig: Rig, rotation_sigma: float, translation_sigma: float) -> Rig:
        """The rig with all cameras moved to where frames and a prior see them together.

        rotation_sigma (rad), translation_sigma (m): how well the calibration is trusted. The
        heads' own motion makes a common motion of all cameras invisible; it is kept zero.
        """
        if rig.names != self._names:
            raise ValueError(f"rig has {rig.names}, the frames are of {self._names}")
        sigma = np.tile(np.repeat([rotation_sigma, translation_sigma], 3), len(self._names))
        if not np.all(sigma > 0):
            raise ValueError("rotation_sigma and translation_sigma must be > 0")
        seen = _relative_motions(rig, sigma)
        information = seen.T @ (self._information + np.diag(sigma**-2.0)) @ seen
        step = seen @ np.linalg.solve(information, -seen.T @ self._gradient)
        moved = []
        for camera, d in zip(rig, step.reshape(-1, EXTRINSICS), strict=True):
            turn = rigid.transform(rigid.rotation_from_rotvec(d[:3]), d[3:])
            moved.append(camera.moved(rigid.inverse(turn @ camera.camera_from_rig)))
        return Rig(tuple(moved), rig.frame)

    def _add(self, frame: FrameInformation) -> None:
        rows = np.concatenate(
            [EXTRINSICS * self._names.index(name) + np.arange(EXTRINSICS) for name in frame.cameras]
        )
        self._information[np.ix_(rows, rows)] += frame.information
        self._meat[np.ix_(rows, rows)] += frame.meat
        self._gradient[rows] += frame.gradient
        for i, name in enumerate(frame.cameras):
            c = self._names.index(name)
            self._frames[c] += 1
            self._squares[c] += frame.squares[i]
            self._counts[c] += frame.counts[i]
            self._shift[c] += frame.shift[i]

    def _camera(self, c: int) -> CameraHealth:
        part = slice(EXTRINSICS * c, EXTRINSICS * (c + 1))
        gradient, information = self._gradient[part], self._information[part, part]
        if self._frames[c] == 0 or not information.any():
            return CameraHealth(self._names[c], 0, np.nan, 1.0, 0.0, 0.0, 0.0, 0.0)
        statistic, freedom = _chi_square(gradient, self._meat[part, part])
        correction = -np.linalg.pinv(information, rcond=_SMALLEST, hermitian=True) @ gradient
        shift = correction @ self._shift[c] @ correction / self._frames[c]
        return CameraHealth(
            camera=self._names[c],
            frames=int(self._frames[c]),
            residual_rms=float(np.sqrt(self._squares[c] / max(self._counts[c], 1))),
            p_value=float(chi2.sf(statistic, freedom)) if freedom else 1.0,
            shift_px=float(np.sqrt(max(shift, 0.0))),
            rotation_deg=float(np.degrees(np.linalg.norm(correction[:3]))),
            translation_mm=1e3 * float(np.linalg.norm(correction[3:])),
            explained=float(-0.5 * correction @ gradient),
        )


def _relative_motions(rig: Rig, sigma: Array) -> Array:
    """Basis (6 C, 6 C - 6) of the camera motions whose prior-weighted common motion is zero."""
    common = np.zeros((len(sigma), EXTRINSICS))
    for c, camera in enumerate(rig):
        pose = camera.camera_from_rig
        rows = slice(EXTRINSICS * c, EXTRINSICS * c + 3)
        common[rows, :3] = pose[:3, :3]
        common[rows.stop : rows.stop + 3, :3] = rigid.skew(pose[:3, 3]) @ pose[:3, :3]
        common[rows.stop : rows.stop + 3, 3:] = pose[:3, :3]
    return null_space((common / sigma[:, None] ** 2).T)


def _chi_square(gradient: Array, covariance: Array) -> tuple[float, int]:
    """g^T V^+ g and the rank of V; entries are scaled first, as they have different units."""
    scale = np.sqrt(np.maximum(np.diagonal(covariance), 1e-300))
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    usable = values > _SMALLEST * values[-1]
    along = vectors[:, usable].T @ (gradient / scale)
    return float((along**2 / values[usable]).sum()), int(usable.sum())
