"""Photographs of faces with the landmark network's answer as their truth.

On a clean picture of a face that looks into the camera that network is good, and what it says
there stays true however the picture is then spoilt, and moves along when it is bent. So these
pictures, bent and spoilt, hold a network in training to real faces. Only points near the landmarks
on the side that is seen are taught.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.aligner import Picture
from flowface_ros.align.crop import Crop, crop_from_points
from flowface_ros.align.landmark_net import (
    LEFT_EYE_OUTER,
    RIGHT_EYE_OUTER,
    FaceFinder,
    FaceLandmarks,
)
from flowface_ros.align.landmarks_aligner import LandmarksAligner
from flowface_ros.head.model import HeadModel
from flowface_ros.synth.textures import linear_from_srgb
from flowface_ros.train.batch import Batch, Example, Numbers, numbered, stacked
from flowface_ros.train.picture_warp import relit, sample_warp
from flowface_ros.train.shots import jittered_crop

_SUREST = 0.85
"""Confidence from which a face counts as an easy one."""
_SMALLEST_CROP_SCALE = 0.6
"""Picture pixels per crop pixel: smaller faces are too coarse to teach from."""
_FINEST_CROP_SCALE = 1.2
"""The same: finer pictures are shrunk."""
_LARGEST_SIGMA = 0.025
"""Of a point that is taught, over the crop's side; on a frontal face half of them."""
_SCALE_SIGMA, _SHIFT_SIGMA, _ROLL_SIGMA = 0.12, 0.05, np.radians(9)
"""How crops differ from the ideal one, see `jittered_crop`."""
_STREAM = 5


@dataclass(frozen=True)
class _Face:
    """image: (H, W, 3) uint8. ideal: the crop of the face. eyes: (2, 2) outer corners and points:
    (Q, 2) texels, picture pixels, NaN where not taught."""

    image: NDArray[np.uint8]
    ideal: Crop
    eyes: NDArray[np.float64]
    points: NDArray[np.float64]


class PhotographSource:
    """See `DataSource`. images: (H, W, 3) uint8 RGB. Faces that are not sure or too small are left
    out; ValueError when none is left."""

    def __init__(
        self, model: HeadModel, images: list[NDArray[np.uint8]], crop_px: int, grid: int,
        batch_size: int, seed: int, rank: int = 0, world: int = 1,
    ) -> None:  # fmt: skip
        self._crop_px, self._size, self._seed = crop_px, batch_size, seed
        self._rank, self._world = rank, world
        aligner = LandmarksAligner(model, grid, device="cpu")
        finder = FaceFinder(device="cpu")
        self._faces = [
            _shrunk(image, face, _taught(aligner, image, face), crop_px)
            for image in images
            for face in finder.detect_faces(image)
            if face.confidence >= _SUREST and face.crop.scale >= _SMALLEST_CROP_SCALE
        ]
        if not self._faces:
            raise ValueError(f"photographs: none of {len(images)} shows a face clearly enough")

    def __len__(self) -> int:
        return len(self._faces)

    def batches(self, first: int) -> Iterator[Batch]:
        """See `DataSource`."""
        return numbered(self.batch, Numbers(first, self._rank, self._world))

    def close(self) -> None:
        """Nothing to end."""

    def batch(self, number: int) -> Batch:
        """Batch `number`."""
        rng = np.random.default_rng([self._seed, _STREAM, number])
        chosen = rng.integers(len(self._faces), size=self._size)
        return stacked(self._crop(self._faces[k], rng) for k in chosen)

    def _crop(self, face: _Face, rng: np.random.Generator) -> Example:
        crop = jittered_crop(face.ideal, rng, _SCALE_SIGMA, _SHIFT_SIGMA, _ROLL_SIGMA)
        middle = face.ideal.to_image(np.full(2, (self._crop_px - 1) / 2))
        warp = sample_warp(rng, middle, face.ideal.scale * self._crop_px)
        light = relit(linear_from_srgb(warp.cut(face.image, crop) / 255.0), rng).transpose(2, 0, 1)
        position = crop.to_crop(warp.to_new(face.points)).astype(np.float32)
        last = self._crop_px - 0.5
        inside = np.asarray(((position > -0.5) & (position < last)).all(axis=1))
        eyes = crop.to_crop(warp.to_new(face.eyes))
        iod = np.linalg.norm(eyes[0] - eyes[1])
        return light.astype(np.float16), position, inside, np.asarray(iod, np.float32)


def _shrunk(
    image: NDArray[np.uint8], face: FaceLandmarks, points: NDArray[np.float64], crop_px: int
) -> _Face:
    """Not much finer than its crops, which are cut without a filter."""
    landmarks = face.points[:, :2]
    scale = crop_from_points(landmarks, face.roll, crop_px).scale
    factor = min(1.0, _FINEST_CROP_SCALE / scale)
    if factor < 1:
        image = np.asarray(cv2.resize(image, None, None, factor, factor, cv2.INTER_AREA), np.uint8)
    landmarks, points = (factor * (places + 0.5) - 0.5 for places in (landmarks, points))
    ideal = crop_from_points(landmarks, face.roll, crop_px)
    return _Face(image, ideal, landmarks[[LEFT_EYE_OUTER, RIGHT_EYE_OUTER]], points)


def _taught(
    aligner: LandmarksAligner, image: NDArray[np.uint8], face: FaceLandmarks
) -> NDArray[np.float64]:
    """(Q, 2) texels in the picture, NaN where the landmark network is not sure."""
    observation = aligner.align_faces(Picture(image), [face])[0].observation
    count = len(aligner.grid.points)
    sure = observation.sigma[:count] < _LARGEST_SIGMA * face.crop.scale * face.crop.size
    return np.where(sure[:, None], observation.pixels[:count], np.nan)
