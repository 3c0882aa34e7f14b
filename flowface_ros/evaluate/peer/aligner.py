"""MediaPipe's points in the place of our landmark network's: all else of tracking is the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.aligner import DEFAULT_GRID, FaceAlignment, Picture
from flowface_ros.align.crop import Crop
from flowface_ros.align.detector import Detection
from flowface_ros.align.landmark_errors import query_points
from flowface_ros.align.landmark_net import CROP_SIZE, FaceLandmarks, crop_from_landmarks
from flowface_ros.align.landmarks_aligner import LandmarkCarry
from flowface_ros.align.observation import Observation
from flowface_ros.align.onnx_session import Device
from flowface_ros.head.atlas import texel_grid
from flowface_ros.head.model import HeadModel

Array = NDArray[np.float64]

_PRESENCE = 0.999
"""It does not say how sure it is of a face. This is the usual value of the same network."""
_KEYPOINTS = (468, 473, 1, 13, 234, 454)
"""Rows of the points where a detector has its own: irises, nose tip, mouth, ears."""


def picture_key(image: NDArray[np.uint8]) -> bytes:
    """Tells pictures apart."""
    return blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()


class PeerAligner:
    """Aligner and finder in one (`Aligner`, `Finder`), from what MediaPipe saw in every picture.

    faces: (478, 3) points of each face, by `picture_key`.
    """

    crop_size = CROP_SIZE

    def __init__(self, model: HeadModel, faces: Mapping[bytes, Sequence[Array]]) -> None:
        self.grid = texel_grid(model, DEFAULT_GRID)
        self.points = query_points(model, self.grid)
        self.device = Device("cpu")
        self._faces = faces
        self._carry = LandmarkCarry(model, self.grid)

    def detect_faces(
        self,
        image: NDArray[np.uint8],
        max_faces: int | None = None,
        followed: Sequence[Array] = (),
    ) -> list[FaceLandmarks]:
        """See `FaceFinder`."""
        found = []
        for points in self._faces[picture_key(image)][:max_faces]:
            box = np.concatenate([points[:, :2].min(axis=0), points[:, :2].max(axis=0)])
            detection = Detection(box, 1.0, points[list(_KEYPOINTS), :2])
            found.append(FaceLandmarks(points, _PRESENCE, crop_from_landmarks(points), detection))
        return found

    def align(
        self, pictures: Sequence[Picture], crops: Sequence[Sequence[Crop]]
    ) -> list[list[FaceAlignment]]:
        """See `Aligner`."""
        return [
            [self._in_crop(picture, crop) for crop in of_picture]
            for picture, of_picture in zip(pictures, crops, strict=True)
        ]

    def align_faces(self, picture: Picture, faces: Sequence[FaceLandmarks]) -> list[FaceAlignment]:
        """See `Aligner`."""
        return [self._answer(picture, f.crop, f.points) for f in faces]

    def warm_up(self, batch_sizes: Sequence[int] = (1,)) -> None:
        """See `Aligner`."""

    def _in_crop(self, picture: Picture, crop: Crop) -> FaceAlignment:
        """Of the face nearest to the crop's middle; presence 0 when none is in the crop."""
        middle = np.full(2, 0.5 * (crop.size - 1))
        places = [
            (float(np.abs(crop.to_crop(points[:, :2]).mean(axis=0) - middle).max()), points)
            for points in self._faces[picture_key(picture.image)]
        ]
        if not places or min(place[0] for place in places) > 0.5 * crop.size:
            count = len(self.points)
            pixels = np.tile(crop.to_image(middle), (count, 1))
            sigma = np.full(count, crop.size * crop.scale)
            observation = Observation(self.points, pixels, sigma, picture.camera, picture.stamp_ns)
            return FaceAlignment(observation, 0.0, crop)
        return self._answer(picture, crop, min(places, key=lambda p: p[0])[1])

    def _answer(self, picture: Picture, crop: Crop, points: Array) -> FaceAlignment:
        at = crop.to_crop(points[:, :2])
        positions, sigma = self._carry.run(at, _PRESENCE, crop.scale)
        pixels = crop.to_image(positions)
        in_image = crop.sigma_to_image(sigma, pixels, *picture.size)
        observation = Observation(self.points, pixels, in_image, picture.camera, picture.stamp_ns)
        return FaceAlignment(observation, _PRESENCE, crop)
