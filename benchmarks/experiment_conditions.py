"""Experiment 4: how the aligner stands small faces, occlusion, blur, noise and darkness.

Pictures of synthetic people are made worse one way at a time. The crop is where the head truly is,
as in tracking; whether the face would be found in the whole picture is counted apart.
"""

from __future__ import annotations

import harness

harness.pin_threads(1)

from collections.abc import Callable, Mapping, Sequence  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from typing import Any  # noqa: E402

import cv2  # noqa: E402
import experiment  # noqa: E402
import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from tqdm import tqdm  # noqa: E402

from flowface_ros.align.aligner import ALIGNERS, Aligner, Picture, make_aligner  # noqa: E402
from flowface_ros.align.landmark_net import FaceFinder  # noqa: E402
from flowface_ros.camera.camera import Camera  # noqa: E402
from flowface_ros.evaluate.inter_ocular import inter_ocular_px  # noqa: E402
from flowface_ros.evaluate.moving_mesh import project_vertices  # noqa: E402
from flowface_ros.evaluate.regions import vertex_regions  # noqa: E402
from flowface_ros.head.model_file import load_builtin_head  # noqa: E402
from flowface_ros.head.skinning import pose_vertices  # noqa: E402
from flowface_ros.head.state import HeadState  # noqa: E402
from flowface_ros.synth.render.visibility import visible_points  # noqa: E402
from flowface_ros.synth.scene.scene import Scene, SceneConfig  # noqa: E402
from flowface_ros.track.crops import HeadProjector  # noqa: E402

Pixels = NDArray[np.uint8]

ALIGNER = ALIGNERS[0]
"""The default one."""
FACE_PX = 256
"""Height of the face in the pictures that are made worse."""
PRESENT = 0.5
_ANY_ANGLE_DEG = 180.0


@dataclass(frozen=True, eq=False)
class Shot:
    """A picture of one head. face: x, y, width, height of the face in it."""

    image: Pixels
    camera: Camera
    state: HeadState
    vertices: NDArray[np.floating]
    face: NDArray[np.float64]


Worsen = Callable[[Shot, float, np.random.Generator], Pixels]


def take(seed: int, t: float) -> Shot:
    """A synthetic person whose face is FACE_PX high."""
    scene = Scene(SceneConfig(seed=seed, width=1280, height=960))
    image, camera = scene.render(0, t).color, scene.cameras(t).cameras[0]
    state = scene.head_state(0, t)
    vertices = pose_vertices(scene.model, state)
    scale = FACE_PX / _face(camera, vertices)[3]
    size = round(camera.width * scale), round(camera.height * scale)
    smaller = camera.scaled(*size)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized = np.asarray(cv2.resize(image, size, interpolation=interpolation), np.uint8)
    return Shot(resized, smaller, state, vertices, _face(smaller, vertices))


def _face(camera: Camera, vertices: NDArray[np.floating]) -> NDArray[np.float64]:
    chosen = vertices[vertex_regions(load_builtin_head())["face"]]
    pixels = project_vertices(camera, chosen)[:, :2]
    low, high = np.nanmin(pixels, axis=0), np.nanmax(pixels, axis=0)
    return np.concatenate([low, high - low])


def occluded(shot: Shot, level: float, rng: np.random.Generator) -> Pixels:
    """A grey patterned bar that hides a share of the face's box, from one side."""
    image = shot.image.copy()
    x, y, width, height = shot.face
    pattern = rng.integers(60, 180, (8, 8, 3), dtype=np.uint8)
    side = int(rng.integers(4))
    bars = [
        [x, y, x + level * width, y + height],
        [x, y, x + width, y + level * height],
        [x + (1 - level) * width, y, x + width, y + height],
        [x, y + (1 - level) * height, x + width, y + height],
    ]
    bar = np.array(bars[side])
    left, top, right, bottom = np.round(np.clip(bar, 0, None)).astype(int)
    part = image[top:bottom, left:right]
    if part.size:
        part[:] = cv2.resize(pattern, part.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return image


def blurred(shot: Shot, level: float, rng: np.random.Generator) -> Pixels:
    """Gaussian, level: sigma in percent of the face's height."""
    if level == 0:
        return shot.image
    return np.asarray(cv2.GaussianBlur(shot.image, (0, 0), level * FACE_PX / 100), np.uint8)


def noisy(shot: Shot, level: float, rng: np.random.Generator) -> Pixels:
    """level: standard deviation, of 255."""
    noise = rng.normal(0, level, shot.image.shape)
    return np.clip(shot.image + noise, 0, 255).round().astype(np.uint8)


def dark(shot: Shot, level: float, rng: np.random.Generator) -> Pixels:
    """level: stops less light, in linear light; any darkness comes with noise of 4 of 255."""
    linear = (shot.image / 255.0) ** 2.2 * 0.5**level
    coded = 255 * linear ** (1 / 2.2) + rng.normal(0, 4 if level else 0, shot.image.shape)
    return np.clip(coded, 0, 255).round().astype(np.uint8)


CONDITIONS: Mapping[str, tuple[str, tuple[float, ...], Worsen]] = {
    "occlusion": ("share of the face", (0.0, 0.15, 0.3, 0.45, 0.6), occluded),
    "blur": ("sigma, % of the face", (0.0, 1.0, 2.0, 4.0, 8.0), blurred),
    "noise": ("sigma of 255", (0.0, 10.0, 20.0, 40.0, 80.0), noisy),
    "darkness": ("stops", (0.0, 2.0, 4.0, 6.0, 8.0), dark),
}
SIZES_PX = (32, 64, 128, 256, 512)


def judge(aligner: Aligner, finder: FaceFinder, shot: Shot, image: Pixels) -> dict[str, float]:
    """2D error of the visible points, normalised error, presence, and whether it is found."""
    model = load_builtin_head()
    view = HeadProjector(model, aligner.crop_size, _ANY_ANGLE_DEG).view(shot.camera, shot.state)
    assert view is not None
    ((answer,),) = aligner.align([Picture(image, shot.camera.name)], [[view.crop]])
    places = project_vertices(
        shot.camera, aligner.points.interpolate(model.triangles, shot.vertices)
    )
    mesh = project_vertices(shot.camera, shot.vertices)
    camera = shot.camera
    visible = visible_points(places, mesh, model.triangles, camera.width, camera.height)
    residual = (answer.observation.pixels - places[:, :2])[visible]
    normalised = residual / answer.observation.sigma[visible, None]
    size = inter_ocular_px(model, shot.vertices, shot.camera)
    middle = shot.face[:2] + 0.5 * shot.face[2:]
    found = [
        face
        for face in finder.detect_faces(image, 2)
        if np.linalg.norm(face.points[:, :2].mean(axis=0) - middle) < 0.5 * shot.face[3]
    ]
    return {
        "2d_percent": 100 * float(np.linalg.norm(residual, axis=1).mean()) / size,
        "normalised_rms": float(np.sqrt((normalised**2).mean())),
        "present": float((answer.presence or 0.0) > PRESENT),
        "found": float(bool(found)),
    }


def run(quick: bool) -> dict[str, list[dict[str, Any]]]:
    """Every condition at every level."""
    model = load_builtin_head()
    aligner, finder = make_aligner(ALIGNER, model, device="cpu"), FaceFinder("cpu")
    count = 3 if quick else 12
    shots = [take(200 + i, 0.5 + 0.2 * i) for i in tqdm(range(count), desc="rendering")]
    rows = []
    for name, (unit, levels, worsen) in CONDITIONS.items():
        for level in levels[::2] if quick else levels:
            found = [
                judge(aligner, finder, s, worsen(s, level, np.random.default_rng(i)))
                for i, s in enumerate(shots)
            ]
            rows.append({"condition": name, "level": level, "unit": unit, **_mean(found)})
    sizes = []
    for size in SIZES_PX[::2] if quick else SIZES_PX:
        resized = [_resized(shot, size) for shot in shots]
        found = [judge(aligner, finder, shot, shot.image) for shot in resized]
        sizes.append({"face, px": size, **_mean(found)})
    people = f"aligner `{ALIGNER}`, {count} people"
    return {
        f"Conditions, {people}; faces {FACE_PX} px high": rows,
        f"Size of the face, {people}": sizes,
    }


def _resized(shot: Shot, face_px: int) -> Shot:
    scale = face_px / FACE_PX
    size = round(shot.camera.width * scale), round(shot.camera.height * scale)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    image = np.asarray(cv2.resize(shot.image, size, interpolation=interpolation), np.uint8)
    return Shot(image, shot.camera.scaled(*size), shot.state, shot.vertices, shot.face * scale)


def _mean(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {key: float(np.mean([row[key] for row in found])) for key in found[0]}


def charts(tables: Mapping[str, Sequence[dict[str, Any]]]) -> list[str]:
    """2D error by degree, each condition's levels from none to the worst."""
    rows, sizes = tables.values()
    worst = {row["condition"]: row["level"] for row in rows}
    shares = [{**row, "degree": row["level"] / worst[row["condition"]]} for row in rows]
    lines = experiment.lines_of(shares, "condition", "degree", "2d_percent")
    logs = [{**row, "name": "2D error", "log2": np.log2(row["face, px"])} for row in sizes]
    return [
        experiment.save_chart(
            "experiment_conditions", lines, "degree (1: the worst of the table)", "2D error, %"
        ),
        experiment.save_chart(
            "experiment_size",
            experiment.lines_of(logs, "name", "log2", "2d_percent"),
            "log2 of the face's height, px",
            "2D error, %",
        ),
    ]


if __name__ == "__main__":
    experiment.main(__doc__.splitlines()[0], "conditions", run, charts)
