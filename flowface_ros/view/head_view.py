"""Heads of a view in 3D: frames, meshes, directions of gaze."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowface_ros.bag.evaluation_input import read_head_model
from flowface_ros.bag.face_messages import FaceRecord
from flowface_ros.evaluate.tracking import Mesh
from flowface_ros.head.blendshapes import ARKIT_NAMES
from flowface_ros.head.model import HeadModel
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.normals import vertex_normals
from flowface_ros.synth.sheets.overlay import Wireframe, plain_wireframe, wireframe
from flowface_ros.track.tracked_head import Status
from flowface_ros.view.sdk import load_sdk

_AXES_M = 0.1
_GAZE_M = 0.25
_GAZE_RADIUS_M = 0.003
_GAZE_COLOR = (60, 180, 255)
_ABOVE_M = 0.17
"""From the sellion to where the name stands."""
_STATUS_TINTS = {
    Status.TENTATIVE: (255, 225, 130),
    Status.TRACKED: (255, 255, 255),
    Status.COASTING: (140, 140, 170),
}
_SKIN = (214, 178, 156)
_GROUP_COLORS = {
    "lips": (196, 120, 112),
    "mouth_cavity": (120, 50, 55),
    "gums": (170, 90, 95),
    "tongue": (180, 90, 95),
    "teeth": (240, 236, 224),
    "left_eyeball": (245, 245, 245),
    "right_eyeball": (245, 245, 245),
}
_WHOLE_EVERY = 20
"""Meshes between two that come with their triangles and colours."""
_IRIS = (70, 90, 110)
_IRIS_SHARE = 0.91
"""An eyeball's vertices so far forward, in radii, are of the iris: 24 degrees from its axis."""


class HeadViews:
    """Logs below `/rig/face_<id>` and `/rig/gaze_<id>`."""

    def __init__(self, recording: Any) -> None:
        self._recording, self._rerun = recording, load_sdk()
        self._mesh: Mesh | None = None
        self._colors: NDArray[np.uint8] | None = None
        self._sent: Counter[tuple[str, int]] = Counter()
        self.wireframe: Wireframe | None = None
        """Of the head model, None before it came."""

    @property
    def model_hash(self) -> int | None:
        """Of the head model, None before it came."""
        return self._mesh.model_hash if self._mesh else None

    @property
    def blendshape_names(self) -> Sequence[str]:
        """Of the head model."""
        return (self._mesh.blendshape_names if self._mesh else ()) or ARKIT_NAMES

    def take_model(self, message: Any) -> None:
        """Use a HeadModel message."""
        mesh = read_head_model(message)
        if mesh.model_hash == self.model_hash:
            return
        builtin = load_builtin_head()
        known = builtin.model_hash == mesh.model_hash
        self._mesh = mesh
        self._colors = _vertex_colors(builtin) if known else None
        self.wireframe = wireframe(builtin) if known else plain_wireframe(mesh.triangles)

    def show_frame(self, face: FaceRecord) -> None:
        """Log the frame of a face, with its name, status and confidence."""
        matrix, status = face.rig_from_face, Status(face.status)
        path = f"face_{face.id}"
        self._recording.log(
            ["rig", path],
            self._rerun.Transform3D(translation=matrix[:3, 3], mat3x3=matrix[:3, :3]),
            self._rerun.TransformAxes3D(_AXES_M),
        )
        text = f"{face.id} {status.name.lower()} {face.confidence:.2f}"
        self._recording.log(
            ["rig", path, "name"],
            self._rerun.Points3D(
                [[0.0, 0.0, _ABOVE_M]], labels=[text], colors=[_STATUS_TINTS[status]], radii=0.001
            ),
        )

    def show_mesh(self, face: FaceRecord, vertices: NDArray[np.float32]) -> None:
        """Log a mesh, vertices (V, 3) metres in the face's frame."""
        if self._mesh is None:
            return
        triangles = self._mesh.triangles
        key = face.id, self._mesh.model_hash
        count = self._sent[key]
        self._sent[key] += 1
        # Not once and for all: what the server has dropped, a page that is opened later lacks.
        whole = {"triangle_indices": triangles, "vertex_colors": self._colors}
        self._recording.log(
            ["rig", f"face_{face.id}", "mesh"],
            self._rerun.Mesh3D.from_fields(
                vertex_positions=vertices,
                vertex_normals=vertex_normals(vertices, triangles),
                albedo_factor=_STATUS_TINTS[Status(face.status)],
                **(whole if count % _WHOLE_EVERY == 0 else {}),
            ),
        )

    def show_gaze(self, frame: str, rig_from_gaze: NDArray[np.float64]) -> None:
        """Log a frame `gaze_<id>` as an arrow."""
        # The arrow is sent each time: what is static stays when the frame is cleared.
        self._recording.log(
            ["rig", frame],
            self._rerun.Transform3D(translation=rig_from_gaze[:3, 3], mat3x3=rig_from_gaze[:3, :3]),
            self._rerun.Arrows3D(
                vectors=[[0.0, 0.0, _GAZE_M]], colors=[_GAZE_COLOR], radii=_GAZE_RADIUS_M
            ),
        )

    def forget(self, head: str) -> None:
        """Take a head away."""
        clear = self._rerun.Clear(recursive=True)
        self._sent = Counter({key: n for key, n in self._sent.items() if key[0] != head})
        self._recording.log(["rig", f"face_{head}"], clear)
        self._recording.log(["rig", f"gaze_{head}"], clear)


def _vertex_colors(model: HeadModel) -> NDArray[np.uint8]:
    """RGB (V, 3) by vertex group."""
    colors = np.tile(np.array(_SKIN, np.uint8), (model.vertex_count, 1))
    for name, color in _GROUP_COLORS.items():
        colors[model.vertex_groups.get(name, [])] = color
    for name in ("left_eyeball", "right_eyeball"):
        vertices = model.vertex_groups.get(name, np.zeros(0, int))
        if len(vertices):
            positions = model.template[vertices]
            forward = positions[:, 2] - positions[:, 2].mean()
            colors[vertices[forward > _IRIS_SHARE * forward.max()]] = _IRIS
    return colors
