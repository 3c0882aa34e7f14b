"""Experiment 2: one view against several, with calibrations that are off.

Every camera but the first is believed to be where it is not: turned about a random axis and shifted
in a random direction. The error is the tracked face's in the first camera's frame. Synthetic
observations have independent noise of 1 px; the real aligner's errors are far larger and alike in
neighbouring points.
"""

from __future__ import annotations

import harness

harness.pin_threads(1)

from collections.abc import Callable, Mapping, Sequence  # noqa: E402
from dataclasses import replace  # noqa: E402
from functools import cache  # noqa: E402
from typing import Any  # noqa: E402

import experiment  # noqa: E402
import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from tqdm import tqdm  # noqa: E402

from flowface_ros.align.aligner import Aligner, Picture, make_aligner  # noqa: E402
from flowface_ros.align.observation import Observation  # noqa: E402
from flowface_ros.camera.camera import Camera  # noqa: E402
from flowface_ros.camera.rig import Rig  # noqa: E402
from flowface_ros.evaluate.moving_mesh import project_vertices  # noqa: E402
from flowface_ros.evaluate.regions import vertex_regions  # noqa: E402
from flowface_ros.evaluate.surface_error import (  # noqa: E402
    aligned_vertex_distances,
    vertex_distances,
)
from flowface_ros.fit.config import FitConfig  # noqa: E402
from flowface_ros.fit.frame_fit import FrameFitter  # noqa: E402
from flowface_ros.head.model_file import load_builtin_head  # noqa: E402
from flowface_ros.head.skinning import pose_vertices  # noqa: E402
from flowface_ros.rigid import rotation_from_rotvec, transform  # noqa: E402
from flowface_ros.synth.render.visibility import visible_points  # noqa: E402
from flowface_ros.synth.scene.scene import Scene, SceneConfig  # noqa: E402
from flowface_ros.track.config import ALIGNER_NOISE  # noqa: E402
from flowface_ros.track.crops import HeadProjector  # noqa: E402

VIEWS = (1, 2, 3, 4, 8)
CALIBRATIONS = ((0.0, 0.0), (0.25, 1.0), (0.5, 2.5), (1.0, 5.0), (2.0, 10.0))
"""Degrees and millimetres that the cameras are off."""
_NOISE_PX = 1.0
_POINTS = 300
_WIDEST_DEG = 80.0
"""Views from farther round are not used."""

Observe = Callable[[Scene, float, Sequence[Camera]], list[Observation]]


def disturbed(camera: Camera, degrees: float, mm: float, rng: np.random.Generator) -> Camera:
    """A camera as a bad calibration has it."""
    axis, way = rng.normal(size=3), rng.normal(size=3)
    turn = rotation_from_rotvec(np.radians(degrees) * axis / np.linalg.norm(axis))
    error = transform(turn, 1e-3 * mm * way / np.linalg.norm(way))
    return replace(camera, rig_from_camera=camera.rig_from_camera @ error)


@cache
def _aligner() -> Aligner:
    return make_aligner("network", load_builtin_head(), device="cpu")


def synthetic(scene: Scene, t: float, cameras: Sequence[Camera]) -> list[Observation]:
    """True points with independent noise."""
    aligner = _aligner()
    rng = np.random.default_rng(round(1000 * t))
    vertices = pose_vertices(scene.model, scene.head_state(0, t))
    chosen = aligner.points[np.linspace(0, len(aligner.points) - 1, _POINTS).astype(int)]
    found = []
    for camera in cameras:
        places = project_vertices(camera, chosen.interpolate(scene.model.triangles, vertices))
        mesh = project_vertices(camera, vertices)
        seen = visible_points(places, mesh, scene.model.triangles, camera.width, camera.height)
        pixels = places[seen, :2] + rng.normal(0, _NOISE_PX, (int(seen.sum()), 2))
        sigma = np.full(len(pixels), _NOISE_PX)
        found.append(Observation(chosen[seen], pixels, sigma, camera.name, 0))
    return found


def aligned(scene: Scene, t: float, cameras: Sequence[Camera]) -> list[Observation]:
    """What the aligner sees in rendered pictures, cropped where the head is."""
    aligner = _aligner()
    projector = HeadProjector(scene.model, aligner.crop_size, _WIDEST_DEG)
    names = [camera.name for camera in scene.cameras(t).cameras]
    found = []
    for camera in cameras:
        view = projector.view(camera, scene.head_state(0, t))
        if view is None:
            continue
        image = scene.render(names.index(camera.name), t).color
        ((answer,),) = aligner.align([Picture(image, camera.name)], [[view.crop]])
        if (answer.presence or 0.0) > 0.5:
            found.append(answer.observation)
    return found


def measure(
    seeds: Sequence[int], observe: Observe, config: FitConfig, views: Sequence[int]
) -> list[dict[str, Any]]:
    """Errors of the face, median over scenes, by number of views and calibration."""
    errors: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for seed in tqdm(seeds, dynamic_ncols=True):
        scene = Scene(SceneConfig(seed=seed, cameras=max(views), width=640, height=480))
        t = 1.0
        rig = scene.cameras(t).cameras
        vertices = pose_vertices(scene.model, scene.head_state(0, t))
        face = vertex_regions(scene.model)["face"]
        state = scene.head_state(0, t)
        skull = rotation_from_rotvec(state.rotation) @ rotation_from_rotvec(state.neck)
        order = _frontal_first(rig, vertices[face], skull[:, 2])
        observations = observe(scene, t, order)
        for row, (degrees, mm) in enumerate(CALIBRATIONS):
            rng = np.random.default_rng(seed)
            believed = [order[0], *(disturbed(c, degrees, mm, rng) for c in order[1:])]
            for count in views:
                chosen = {camera.name for camera in believed[:count]}
                fitter = FrameFitter(scene.model, Rig(tuple(believed[:count])), config)
                result = fitter.fit([o for o in observations if o.camera in chosen])
                guess = pose_vertices(scene.model, result.state)[face]
                pair = (vertices[face], guess)
                both = vertex_distances(*pair).mean(), aligned_vertex_distances(*pair).mean()
                known = (1e3 * float(both[0]), 1e3 * float(both[1])) if result.valid else _LOST
                errors.setdefault((row, count), []).append(known)
    rows = []
    for (row, count), found in sorted(errors.items(), key=lambda item: item[0]):
        degrees, mm = CALIBRATIONS[row]
        valid = [pair for pair in found if pair is not _LOST]
        rig_mm, aligned_mm = np.median(valid, axis=0) if valid else _LOST
        rows.append(
            {
                "off": f"{degrees:g} deg, {mm:g} mm",
                "views": count,
                "rig_mm": float(rig_mm),
                "aligned_mm": float(aligned_mm),
                "fitted": len(valid) / len(found),
            }
        )
    return rows


_LOST = (float("nan"), float("nan"))


def _frontal_first(
    cameras: Sequence[Camera], face: NDArray[np.floating], forward: NDArray[np.floating]
) -> list[Camera]:
    """The cameras, those that look the most into the face first. forward: (3,) out of the face."""
    middle = face.mean(axis=0)

    def cosine(camera: Camera) -> float:
        way = camera.rig_from_camera[:3, 3] - middle
        return float(way @ forward / np.linalg.norm(way))

    return sorted(cameras, key=cosine, reverse=True)


def run(quick: bool) -> dict[str, list[dict[str, Any]]]:
    """With synthetic observations, and with the aligner on fewer scenes."""
    exact, real = (4, 1) if quick else (10, 4)
    with_noise = FitConfig()
    as_tracked = FitConfig(noise=ALIGNER_NOISE)
    return {
        f"Synthetic observations, {exact} scenes": measure(
            range(400, 400 + exact), synthetic, with_noise, VIEWS[::2] if quick else VIEWS
        ),
        f"`network` aligner on renderings, {real} scenes": measure(
            range(500, 500 + real), aligned, as_tracked, (1, 2) if quick else (1, 2, 4, 8)
        ),
    }


def charts(tables: Mapping[str, Sequence[dict[str, Any]]]) -> list[str]:
    """Error by number of views, a line for each calibration."""
    names = ("experiment_views_exact", "experiment_views_aligner")
    labels = ("error, mm (synthetic observations)", "error, mm (aligner)")
    return [
        experiment.save_chart(
            name, experiment.lines_of(rows, "off", "views", "rig_mm"), "views", label
        )
        for name, label, rows in zip(names, labels, tables.values(), strict=True)
    ]


if __name__ == "__main__":
    experiment.main(__doc__.splitlines()[0], "views", run, charts)
