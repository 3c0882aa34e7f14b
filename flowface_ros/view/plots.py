"""A head's numbers over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from flowface_ros.bag.face_messages import FaceRecord
from flowface_ros.head.blendshapes import ARKIT_NAMES
from flowface_ros.view.sdk import load_sdk

Array = NDArray[np.float64]

COEFFICIENT_PLOTS = {
    "main": (
        *("jawOpen", "mouthSmileLeft", "mouthSmileRight"),
        *("browInnerUp", "eyeBlinkLeft", "eyeBlinkRight"),
    ),
    "eyes": ("eye", "brow"),
    "mouth": ("jaw", "mouth", "tongue", "cheek", "nose"),
}
"""How the names of a plot's ARKit coefficients begin; the first plot is what one sees of a face
from afar."""
_MAIN_COLORS = (
    *((255, 214, 102), (255, 130, 92), (224, 102, 204)),
    *((92, 170, 255), (84, 214, 140), (190, 190, 200)),
)
_WHOLE_TURN = 360.0
_OTHER_PLOTS = ("position", "rotation", "reprojection", "confidence")

_AXES = {"x": (230, 80, 80), "y": (90, 200, 90), "z": (90, 140, 250)}
_TURNS = {"roll": (230, 80, 80), "pitch": (90, 200, 90), "yaw": (90, 140, 250)}


class HeadPlots:
    """Logs below `/plots/<plot>/<id>`."""

    def __init__(self, recording: Any) -> None:
        self._recording, self._rerun = recording, load_sdk()
        self._last_turns: dict[str, Array] = {}
        self._named: dict[tuple[str, str], tuple[str, ...]] = {}

    def show(self, face: FaceRecord, names: Sequence[str] = ARKIT_NAMES) -> None:
        """Log one moment of a head; names of its blendshape coefficients."""
        matrix = face.rig_from_face
        if len(face.blendshapes) == len(names):
            for plot, prefixes in COEFFICIENT_PLOTS.items():
                chosen = [i for i, name in enumerate(names) if name.startswith(prefixes)]
                colors = _MAIN_COLORS if plot == "main" else None
                weights = face.blendshapes[chosen]
                self._log(plot, face.id, [names[i] for i in chosen], weights, colors)
        self._log("position", face.id, list(_AXES), matrix[:3, 3], list(_AXES.values()))
        turns = self._turns(face.id, matrix[:3, :3])
        self._log("rotation", face.id, list(_TURNS), turns, list(_TURNS.values()))
        self._log("confidence", face.id, ["confidence"], np.array([face.confidence]))
        for view, rmse_px in zip(face.views, face.view_rmse_px, strict=False):
            self._log(f"reprojection/{view}", face.id, [view], np.array([rmse_px]))

    def _turns(self, head: str, rotation: Array) -> Array:
        """Roll, pitch, yaw (degrees), without steps of a whole turn."""
        turns = Rotation.from_matrix(rotation).as_euler("ZYX", degrees=True)[::-1]
        before = self._last_turns.get(head, turns)
        turns = turns + _WHOLE_TURN * np.round((before - turns) / _WHOLE_TURN)
        self._last_turns[head] = turns
        return turns

    def forget(self, head: str) -> None:
        """End the curves of a head."""
        self._last_turns.pop(head, None)
        for plot in (*COEFFICIENT_PLOTS, *_OTHER_PLOTS):
            self._recording.log(["plots", plot, head], self._rerun.Clear(recursive=True))

    def _log(
        self,
        plot: str,
        head: str,
        names: Sequence[str],
        values: np.ndarray,
        colors: Sequence[tuple[int, int, int]] | None = None,
    ) -> None:
        group, *part = plot.split("/", 1)
        path = ["plots", group, head, *part]
        if self._named.get((plot, head)) != tuple(names):
            self._named[plot, head] = tuple(names)
            labels = [f"{head} {name}" for name in names]
            self._recording.log(
                path, self._rerun.SeriesLines(names=labels, colors=colors), static=True
            )
        self._recording.log(path, self._rerun.Scalars(np.asarray(values, np.float64)))
