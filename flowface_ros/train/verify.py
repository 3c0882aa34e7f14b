"""A quick form of the figures that an aligner must reach: on synthetic faces and on photographs.

Without torch: the aligner runs as it ships.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from flowface_ros.align.aligner import Aligner, Picture
from flowface_ros.align.crop import Crop, crop_from_points, cut, make_crop
from flowface_ros.align.embedding import SKIN_POINTS, landmark_points
from flowface_ros.align.landmark_net import (
    LEFT_EYE_OUTER,
    RIGHT_EYE_OUTER,
    FaceFinder,
    FaceLandmarks,
    LandmarkNet,
)
from flowface_ros.head.atlas import TexelGrid, texel_interpolation
from flowface_ros.head.model import HeadModel
from flowface_ros.synth.scene.sensor import Sensor
from flowface_ros.train.metrics import AlignmentMetrics
from flowface_ros.train.regions import point_regions
from flowface_ros.train.studio import Studio, SynthConfig

Array = NDArray[np.float64]

_SEED = 20_000_003
_BATCH = 8
_NOSE_TIP = 1
_MOST_TURNED = 1.6
"""Ratio of the nose's distances to the outer eye corners up to which a face counts as frontal."""
_LOOKS = 10
_NOISE_GREY, _SHIFT, _SCALE = 3.0, 0.01, 0.01
"""What changes between looks at a still face: noise, the crop's place and log size."""


def synthetic_figures(
    aligner: Aligner, model: HeadModel, pictures: int
) -> dict[str, dict[str, float]]:
    """Figures by set of points (see `AlignmentMetrics`) on pictures of unseen people."""
    config = SynthConfig(aligner.crop_size, batch_size=_BATCH, seed=_SEED, people=10**6)
    studio = Studio(model, config, aligner.points)
    metrics = AlignmentMetrics(point_regions(model, aligner.points), aligner.crop_size)
    sensor, whole = Sensor(electrons=4000, read_noise=0.004), _whole(aligner.crop_size)
    for number in tqdm(range(-(-pictures // _BATCH)), "synthetic faces", leave=False):
        drawn = studio.batch(number)
        rng = np.random.default_rng([_SEED, number])
        images = [
            sensor.develop(light.transpose(1, 2, 0).astype(np.float32), rng)
            for light in drawn.light
        ]
        answers = aligner.align([Picture(image) for image in images], [[whole]] * len(images))
        observed = [faces[0].observation for faces in answers]
        position = np.stack([o.pixels for o in observed])
        sigma = np.stack([o.sigma for o in observed])
        metrics.add(position, np.log(sigma), drawn.position_px, drawn.visible, drawn.iod_px)
    return metrics.figures()


def _whole(size: int) -> Crop:
    return make_crop(np.full(2, (size - 1) / 2), size, 0.0, size)


def photographs(folder: Path | None) -> list[NDArray[np.uint8]]:
    """Pictures of a folder (RGB); the portrait in scikit-image when there is none.

    Raises ValueError for a folder without pictures. An empty list without scikit-image.
    """
    if folder is None:
        try:
            from skimage.data import astronaut
        except ImportError:
            return []
        return [np.ascontiguousarray(astronaut())]
    images = [cv2.imread(str(path)) for path in sorted(folder.iterdir()) if path.is_file()]
    found = [np.ascontiguousarray(image[..., ::-1]) for image in images if image is not None]
    if not found:
        raise ValueError(f"pictures: {folder} holds no picture that can be read")
    return found


class RealFaces:
    """Compares an aligner with the landmark network on photographs, at its points."""

    def __init__(self, aligner: Aligner, grid: TexelGrid, model: HeadModel) -> None:
        self._aligner, self._count = aligner, len(grid.points)
        points = landmark_points(model)[:SKIN_POINTS]
        self._matrix, self._found = texel_interpolation(model, grid, points)
        self._finder, self._net = FaceFinder(device="cpu"), LandmarkNet(device="cpu")

    def frontal(self, images: Sequence[NDArray[np.uint8]]) -> list[tuple[NDArray, FaceLandmarks]]:
        """Faces that look about into the camera."""
        faces = [(image, face) for image in images for face in self._finder.detect_faces(image)]
        return [(image, face) for image, face in faces if _is_frontal(face.points)]

    def difference(self, image: NDArray[np.uint8], face: FaceLandmarks) -> float:
        """Mean distance from the landmark network's points, % of the outer eye corners'."""
        ours = self._ours(image, [_crop_of(face, self._aligner.crop_size)])[0]
        away = np.linalg.norm(ours - face.points[:SKIN_POINTS, :2], axis=1)[self._found]
        return float(100 * away.mean() / _eye_distance(face.points))

    def jitter_ratio(self, image: NDArray[np.uint8], face: FaceLandmarks) -> float:
        """Spread of the points over looks at a still face, over the landmark network's."""
        rng = np.random.default_rng(0)
        ours, theirs = [], []
        for _ in range(_LOOKS):
            noisy = image + rng.normal(0, _NOISE_GREY, image.shape)
            look = np.clip(np.round(noisy), 0, 255).astype(np.uint8)
            crop = _crop_of(face, self._aligner.crop_size, rng)
            ours.append(self._ours(look, [crop])[0])
            points, _ = self._net.run(cut(look, [crop]))
            theirs.append(crop.to_image(points[0, :SKIN_POINTS, :2]))
        spreads = [np.std(looks, axis=0)[self._found].mean() for looks in (ours, theirs)]
        return float(spreads[0] / spreads[1])

    def _ours(self, image: NDArray[np.uint8], crops: list[Crop]) -> list[Array]:
        """The landmarks (468, 2) according to the aligner, picture pixels."""
        faces = self._aligner.align([Picture(image)], [crops])[0]
        return [self._matrix @ face.observation.pixels[: self._count] for face in faces]


def _crop_of(face: FaceLandmarks, size: int, rng: np.random.Generator | None = None) -> Crop:
    crop = crop_from_points(face.points[:, :2], face.roll, size)
    if rng is None:
        return crop
    side = crop.scale * size
    middle = crop.to_image(np.full(2, (size - 1) / 2)) + rng.normal(0, _SHIFT, 2) * side
    return make_crop(middle, side * np.exp(rng.normal(0, _SCALE)), crop.roll, size)


def _eye_distance(points: Array) -> float:
    return float(np.linalg.norm(points[LEFT_EYE_OUTER, :2] - points[RIGHT_EYE_OUTER, :2]))


def _is_frontal(points: Array) -> bool:
    eyes = points[[LEFT_EYE_OUTER, RIGHT_EYE_OUTER], :2]
    left, right = np.linalg.norm(eyes - points[_NOSE_TIP, :2], axis=1)
    return bool(1 / _MOST_TURNED < left / right < _MOST_TURNED)


def verify(
    aligner: Aligner, grid: TexelGrid, model: HeadModel, pictures: int, folder: Path | None
) -> dict[str, float | None]:
    """visible_iod_percent, hidden_iod_percent, sigma_rms: on so many synthetic pictures, of the
    face's skin. real_iod_percent, jitter_ratio: on frontal photographs; None without any.
    """
    figures = synthetic_figures(aligner, model, pictures)
    result: dict[str, float | None] = {
        "visible_iod_percent": figures["visible"]["mean_iod_percent"],
        "hidden_iod_percent": figures["hidden"]["mean_iod_percent"],
        "sigma_rms": figures["visible"]["sigma_rms"],
        "real_iod_percent": None,
        "jitter_ratio": None,
    }
    real = RealFaces(aligner, grid, model)
    faces = real.frontal(photographs(folder))
    if faces:
        result["real_iod_percent"] = float(np.mean([real.difference(*face) for face in faces]))
        result["jitter_ratio"] = float(np.mean([real.jitter_ratio(*face) for face in faces]))
    return result
