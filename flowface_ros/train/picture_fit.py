"""How well the head that is fitted to one picture agrees with the true one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flowface_ros import rigid
from flowface_ros.align.observation import Observation
from flowface_ros.camera.camera import Camera
from flowface_ros.camera.rig import Rig
from flowface_ros.fit.frame_fit import FrameFitter
from flowface_ros.head.model import HeadModel
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.head.state import HeadState
from flowface_ros.train.datasets.correspondence import rigid_pose


class OnePictureFit:
    """Fits strangers to single pictures; see `vertex_error_m`."""

    def __init__(self, model: HeadModel) -> None:
        self._model = model
        self._face = model.vertex_groups["face"]
        self._fitter: FrameFitter | None = None

    def vertex_error_m(
        self, observation: Observation, intrinsics: NDArray[np.float64], size: int, true: HeadState
    ) -> float | None:
        """Mean distance of the face's vertices from the true ones, metres, after the fitted head
        was moved and turned onto the true one; None where there is no valid fit.

        intrinsics, size: of the picture's camera, whose frame the true head is in.
        """
        rig = Rig((Camera(observation.camera, size, size, intrinsics),), "camera")
        if self._fitter is None:
            self._fitter = FrameFitter(self._model, rig)
        self._fitter.rig = rig
        result = self._fitter.fit([observation])
        if not result.valid:
            return None
        fitted, there = (pose_vertices(self._model, s)[self._face] for s in (result.state, true))
        moved = rigid.apply(rigid_pose(fitted, there), fitted)
        return float(np.linalg.norm(moved - there, axis=1).mean())
