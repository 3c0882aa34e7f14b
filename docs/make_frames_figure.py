"""Draws the figure of frames: a rig of three cameras, the head before it, and the axes of each.

python docs/make_frames_figure.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

mpl.use("Agg")
import matplotlib.pyplot as plt

from flowface_ros import rigid
from flowface_ros.camera.camera import Camera
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.synth.scene.scene import Scene, SceneConfig
from flowface_ros.track.tracked_head import face_pose

Array = NDArray[np.float64]

OUT = Path(__file__).parent / "images" / "frames.png"
MOMENT_S = 0.5
AXIS_M = 0.16
FRUSTUM_M = 0.12
COLORS = ("#d62728", "#2ca02c", "#1f77b4")


def draw_axes(plot: Any, rig_from_frame: Array, name: str, label_offset: Array) -> None:
    """x red, y green, z blue, and the frame's name."""
    origin = rig_from_frame[:3, 3]
    for axis, color in enumerate(COLORS):
        end = origin + AXIS_M * rig_from_frame[:3, axis]
        plot.plot(*np.stack([origin, end]).T, color=color, linewidth=2)
        plot.text(*(end + 0.02 * rig_from_frame[:3, axis]), "xyz"[axis], color=color, fontsize=8)
    plot.text(*(origin + label_offset), name, fontsize=9)


def draw_camera(plot: Any, camera: Camera) -> None:
    """The frustum of a camera's image."""
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * (camera.width - 1, camera.height - 1)
    rays, _ = camera.unproject(corners.astype(np.float64))
    rim = rigid.apply(camera.rig_from_camera, FRUSTUM_M * rays / rays[:, 2:])
    centre = camera.rig_from_camera[:3, 3]
    for corner in rim:
        plot.plot(*np.stack([centre, corner]).T, color="0.4", linewidth=0.8)
    plot.plot(*np.concatenate([rim, rim[:1]]).T, color="0.4", linewidth=0.8)


def main() -> None:
    scene = Scene(SceneConfig(seed=10, cameras=3))
    model, state = load_builtin_head(), scene.head_state(0, MOMENT_S)
    vertices = pose_vertices(model, state)
    figure = plt.figure(figsize=(9, 5))
    plot = figure.add_axes((-0.2, -0.3, 1.4, 1.6), projection="3d", computed_zorder=False)
    plot.plot_trisurf(
        *vertices.T, triangles=model.triangles, color="#c9b29b", linewidth=0, shade=True
    )
    below = np.array([0.0, 0.0, -0.09])
    draw_axes(plot, np.eye(4), "rig", np.array([0.0, 0.0, 0.2]))
    for camera in scene.moving_rig.cameras:
        draw_camera(plot, camera)
        draw_axes(plot, camera.rig_from_camera, camera.frame, below)
    draw_axes(plot, face_pose(model, state), "face_p1", np.array([0.0, 0.0, 0.22]))
    extent = np.ptp([plot.get_xlim(), plot.get_ylim(), plot.get_zlim()], axis=1)
    plot.set_box_aspect(extent, zoom=1.12)
    plot.set_axis_off()
    plot.view_init(elev=24, azim=-140)
    figure.savefig(OUT, dpi=110)


if __name__ == "__main__":
    main()
