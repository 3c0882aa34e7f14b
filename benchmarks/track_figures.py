"""Draws docs/images/track_* from a scene: the tracked mesh on the images, errors over time."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness

harness.pin_threads(1)

import cv2  # noqa: E402
import matplotlib  # noqa: E402

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from track import CASES, bag_of, views  # noqa: E402

from flowface_ros.align.aligner import make_aligner  # noqa: E402
from flowface_ros.align.landmark_net import FaceFinder  # noqa: E402
from flowface_ros.head.model import HeadModel  # noqa: E402
from flowface_ros.head.skinning import pose_vertices  # noqa: E402
from flowface_ros.rigid import apply  # noqa: E402
from flowface_ros.synth.scene.scene import Scene, seconds  # noqa: E402
from flowface_ros.synth.sheets.overlay import Wireframe, draw_mesh, wireframe  # noqa: E402
from flowface_ros.track.frames import TrackResult, ViewFrame  # noqa: E402
from flowface_ros.track.pipeline import Tracker  # noqa: E402
from flowface_ros.track.tracked_head import face_pose, face_pose_covariance  # noqa: E402

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
_SHOWN = (20, 45, 70, 100)
"""Sets in the overlay picture."""
_JPEG_QUALITY = 82
_TILE_PX = 220
_MARGIN = 0.7
"""Half side of a tile over the longer side of the face."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bags", type=Path, metavar="DIR", help="where recordings are kept")
    options = parser.parse_args(arguments)
    IMAGES.mkdir(parents=True, exist_ok=True)
    curves = {}
    with tempfile.TemporaryDirectory() as scratch:
        for case in CASES[:2]:
            scene = Scene(case.scene)
            names = case.cameras or scene.camera_names
            path = bag_of(scene, options.bags or Path(scratch))
            followed = list(follow(scene, path, names))
            curves[case.name] = errors(scene, [result for result, _ in followed])
            if not case.cameras:
                picture = overlays(scene.model, followed)
                quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
                cv2.imwrite(str(IMAGES / "track_overlay.jpg"), picture[..., ::-1], quality)
    plot(curves, IMAGES / "track_errors.png")


def follow(scene: Scene, path: Path, names: Sequence[str]) -> Any:
    """Results and frames of every set."""
    aligner = make_aligner("network", scene.model, device="cpu")
    tracker = Tracker(scene.model, aligner, FaceFinder("cpu"))
    for frames in views(scene, path, names):
        yield tracker.update(frames), frames


def errors(scene: Scene, results: Sequence[TrackResult]) -> NDArray[np.float64]:
    """(T, 3): time (s), position error (mm), its standard deviation as the tracker has it (mm)."""
    rows = []
    for result in results:
        t = seconds(result.stamp_ns)
        for head in result.heads[:1]:
            off = face_pose(scene.model, head.state) - face_pose(
                scene.model, scene.head_state(0, t)
            )
            covariance = face_pose_covariance(scene.model, head.state)
            sigma = np.nan if covariance is None else np.sqrt(np.trace(covariance[:3, :3]))
            rows.append((t, 1e3 * np.linalg.norm(off[:3, 3]), 1e3 * sigma))
    return np.array(rows)


def overlays(
    model: HeadModel, followed: Sequence[tuple[TrackResult, list[ViewFrame]]]
) -> NDArray[np.uint8]:
    """One row per shown set: every view plain and with the mesh."""
    mesh = wireframe(model)
    rows = []
    for index in _SHOWN:
        result, frames = followed[index]
        tiles = [tile for frame in frames for tile in _tiles(model, mesh, result, frame)]
        rows.append(np.hstack(tiles))
    return np.vstack(rows)


def _tiles(
    model: HeadModel, mesh: Wireframe, result: TrackResult, frame: ViewFrame
) -> list[NDArray[np.uint8]]:
    vertices = pose_vertices(model, result.heads[0].state)
    drawn = draw_mesh(frame.image, frame.camera, vertices, mesh, opacity=0.3)
    face = vertices[model.vertex_groups["face"]]
    pixels, _ = frame.camera.project(apply(frame.camera.camera_from_rig, face))
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    (x, y), half = (low + high) / 2, _MARGIN * float((high - low).max())
    place = np.array([[1, 0, half - x], [0, 1, half - y]]) * _TILE_PX / (2 * half)
    return [
        cv2.warpAffine(image, place, (_TILE_PX, _TILE_PX), flags=cv2.INTER_AREA)
        for image in (frame.image, drawn)
    ]


def plot(curves: dict[str, NDArray[np.float64]], path: Path) -> None:
    """Position errors over time, with one standard deviation."""
    figure, axes = plt.subplots(figsize=(7, 3), constrained_layout=True)
    for (name, rows), color in zip(curves.items(), ("tab:blue", "tab:orange"), strict=True):
        time_s, error, sigma = rows.T
        axes.plot(time_s, error, color=color, label=name)
        axes.plot(time_s, sigma, color=color, linestyle=":", label=f"{name}, stated sigma")
    highest = max(float(np.nanmax(rows[:, 1:])) for rows in curves.values())
    axes.set(xlabel="time, s", ylabel="position error, mm", ylim=(0, 1.3 * highest))
    axes.legend(fontsize=8, ncol=2, loc="upper center")
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
