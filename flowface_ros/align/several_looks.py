"""Looks at each face several times, in crops that differ a little, and takes the mean.

A part of what a network gets wrong changes with where the face is in its crop, and is the other way
round on a mirrored face. The mean of several looks has less of that; each look costs a crop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.aligner import Aligner, FaceAlignment, Picture
from flowface_ros.align.crop import Crop
from flowface_ros.align.embedding import IRIS_POINTS, read_embedding
from flowface_ros.align.landmark_net import FaceLandmarks, crop_from_landmarks
from flowface_ros.align.observation import Observation
from flowface_ros.head.atlas import TexelGrid

Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Move:
    """How a look's crop differs: side, times; turn, radians; x and y, of the side."""

    zoom: float = 1.0
    roll: float = 0.0
    x: float = 0.0
    y: float = 0.0


_AROUND = (
    _Move(0.9, 0.1, 0.03, 0.0),
    _Move(1.1, -0.1, -0.03, 0.0),
    _Move(0.9, -0.1, 0.0, 0.03),
    _Move(1.1, 0.1, 0.0, -0.03),
)
"""About as far as the crops are off that networks are trained on."""

_MOVES: Mapping[int, Sequence[_Move]] = {2: (_Move(),), 4: _AROUND[:2], 8: _AROUND}
"""By number of looks, of which every second is mirrored."""

LOOKS = (1, *_MOVES)
"""Numbers of looks there are."""


class SeveralLooks:
    """See `Aligner`; asks another aligner. looks: 2, 4 or 8 at each face."""

    def __init__(self, aligner: Aligner, looks: int) -> None:
        check_looks(looks, tuple(_MOVES))
        self._aligner, self._moves = aligner, _MOVES[looks]
        self.points, self.crop_size = aligner.points, aligner.crop_size
        self.grid, self.device = aligner.grid, aligner.device
        self._mirror = mirror_rows(aligner.grid, len(aligner.points))

    def align(
        self, pictures: Sequence[Picture], crops: Sequence[Sequence[Crop]]
    ) -> list[list[FaceAlignment]]:
        """See `Aligner`."""
        looks = [
            [look for crop in of_picture for look in self._looks(crop)] for of_picture in crops
        ]
        answers = self._aligner.align(pictures, looks)
        count = 2 * len(self._moves)
        return [
            [
                self._joined(crop, answered[i * count : (i + 1) * count])
                for i, crop in enumerate(of_picture)
            ]
            for of_picture, answered in zip(crops, answers, strict=True)
        ]

    def align_faces(self, picture: Picture, faces: Sequence[FaceLandmarks]) -> list[FaceAlignment]:
        """See `Aligner`."""
        crops = [crop_from_landmarks(face.points, self.crop_size) for face in faces]
        return self.align([picture], [crops])[0]

    def warm_up(self, batch_sizes: Sequence[int] = (1,)) -> None:
        """See `Aligner`."""
        self._aligner.warm_up([2 * len(self._moves) * size for size in batch_sizes])

    def _looks(self, crop: Crop) -> list[Crop]:
        """The moved crops, then the same mirrored."""
        moved = [_moved(crop, move) for move in self._moves]
        return [*moved, *map(mirrored, moved)]

    def _joined(self, crop: Crop, answers: Sequence[FaceAlignment]) -> FaceAlignment:
        """The answers' mean by their information; a point that has no mirror image has one half of
        the looks. Sigma is their mean too: most of an error is the same in every look. Where a look
        lacks points, the first one is taken."""
        cut_out = answers[0].pixels if self._moves[0] == _Move() else None
        if any(len(answer.observation) != len(self.points) for answer in answers):
            return replace(answers[0], crop=crop, pixels=cut_out)
        pixels = np.array([answer.observation.pixels for answer in answers])
        sigma = np.array([answer.observation.sigma for answer in answers])
        half = len(self._moves)
        pixels[half:], sigma[half:] = pixels[half:, self._mirror], sigma[half:, self._mirror]
        weight = 1 / sigma**2
        weight[half:, self._mirror < 0] = 0.0
        weight /= weight.sum(axis=0)
        joined = Observation(
            self.points,
            (weight[..., None] * pixels).sum(axis=0),
            (weight * sigma).sum(axis=0),
            answers[0].observation.camera,
            answers[0].observation.stamp_ns,
        )
        known = [answer.presence for answer in answers if answer.presence is not None]
        presence = float(np.mean(known)) if known else None
        return FaceAlignment(joined, presence, crop, cut_out)


def check_looks(looks: int, allowed: Sequence[int] = LOOKS) -> None:
    """Raises ValueError for a number of looks that there is not."""
    if looks not in allowed:
        raise ValueError(f"looks is {looks}, allowed are {', '.join(map(str, allowed))}")


def mirror_rows(grid: TexelGrid, count: int) -> NDArray[np.intp]:
    """(count,) row of the point on the other side of the face, -1 where there is none.

    count: the grid's texels, and the ten iris points if there are more.
    """
    texels = int(grid.valid.sum())
    number = np.full(grid.valid.shape, -1)
    number[grid.valid] = np.arange(texels)
    rows = number[:, ::-1][grid.valid]
    if count > texels:
        irises = read_embedding().mirror[IRIS_POINTS] - IRIS_POINTS.start + texels
        rows = np.concatenate([rows, irises])
    return np.asarray(rows, np.intp)


def mirrored(crop: Crop) -> Crop:
    """The same square, seen in a mirror: its first column is the last."""
    matrix = crop.image_from_crop
    origin = matrix[:, 2] + (crop.size - 1) * matrix[:, 0]
    return replace(crop, image_from_crop=np.column_stack([-matrix[:, 0], matrix[:, 1], origin]))


def _moved(crop: Crop, move: _Move) -> Crop:
    cosine, sine = move.zoom * np.cos(move.roll), move.zoom * np.sin(move.roll)
    middle = np.full(2, (crop.size - 1) / 2)
    linear = crop.image_from_crop[:, :2] @ np.array([[cosine, -sine], [sine, cosine]])
    centre = crop.to_image(middle + crop.size * np.array([move.x, move.y]))
    return replace(crop, image_from_crop=np.column_stack([linear, centre - linear @ middle]))
