"""Draws the figure of frames: a rig of three cameras, the head before it, and the axes of each.

python docs/make_frames_figure.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
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
MARGIN_PX = 12
DPI = 110
COLORS = ("#d62728", "#2ca02c", "#1f77b4")


def draw_axes(plot: Any, rig_from_frame: Array, name: str, label_m: tuple[float, ...]) -> None:
    """x red, y green, z blue, and the frame's name at `label_m` from its origin, in the rig."""
    origin = rig_from_frame[:3, 3]
    for axis, color in enumerate(COLORS):
        end = origin + AXIS_M * rig_from_frame[:3, axis]
        plot.plot(*np.stack([origin, end]).T, color=color, linewidth=2)
        plot.text(*(end + 0.02 * rig_from_frame[:3, axis]), "xyz"[axis], color=color, fontsize=8)
    plot.text(*(origin + label_m), name, fontsize=10, ha="center")


def draw_camera(plot: Any, camera: Camera) -> None:
    """The frustum of a camera's image."""
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * (camera.width - 1, camera.height - 1)
    rays, _ = camera.unproject(corners.astype(np.float64))
    rim = rigid.apply(camera.rig_from_camera, FRUSTUM_M * rays / rays[:, 2:])
    centre = camera.rig_from_camera[:3, 3]
    for corner in rim:
        plot.plot(*np.stack([centre, corner]).T, color="0.4", linewidth=0.8)
    plot.plot(*np.concatenate([rim, rim[:1]]).T, color="0.4", linewidth=0.8)


def cut_out(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture (H, W, 4) without its white border."""
    rows, columns = np.nonzero((picture[..., :3] < 255).any(axis=-1))
    top, left = max(rows.min() - MARGIN_PX, 0), max(columns.min() - MARGIN_PX, 0)
    return picture[top : rows.max() + MARGIN_PX, left : columns.max() + MARGIN_PX]


def main() -> None:
    scene = Scene(SceneConfig(seed=10, cameras=3))
    model, state = load_builtin_head(), scene.head_state(0, MOMENT_S)
    vertices = pose_vertices(model, state)
    figure = plt.figure(figsize=(9, 6), dpi=DPI)
    plot = figure.add_axes((-0.2, -0.27, 1.4, 1.6), projection="3d", computed_zorder=False)
    plot.plot_trisurf(
        *vertices.T,
        triangles=model.triangles,
        color="#c9b29b",
        linewidth=0,
        shade=True,
        antialiased=False,
    )
    draw_axes(plot, np.eye(4), "rig", (0.0, 0.0, -0.06))
    for camera in scene.moving_rig.cameras:
        draw_camera(plot, camera)
        draw_axes(plot, camera.rig_from_camera, camera.frame, (0.0, 0.0, -0.24))
    draw_axes(plot, face_pose(model, state), "face_p1", (0.0, 0.0, 0.24))
    extent = np.ptp([plot.get_xlim(), plot.get_ylim(), plot.get_zlim()], axis=1)
    plot.set_box_aspect(extent, zoom=1.05)
    plot.set_axis_off()
    plot.view_init(elev=24, azim=-140)
    figure.canvas.draw()
    picture = cut_out(np.asarray(figure.canvas.buffer_rgba()))
    cv2.imwrite(str(OUT), cv2.cvtColor(picture, cv2.COLOR_RGBA2BGR))


if __name__ == "__main__":
    main()
