"""The aligner that carries the landmark network's 478 points to every texel of the atlas."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.aligner import DEFAULT_GRID, GRID_RANGE, FaceAlignment, Picture, cut_all
from flowface_ros.align.crop import FACE_MARGIN, Crop
from flowface_ros.align.embedding import (
    IRIS_POINTS,
    SKIN_POINTS,
    landmark_points,
    parted_positions,
)
from flowface_ros.align.landmark_errors import FACE_HEIGHT_M, LandmarkErrors, query_points
from flowface_ros.align.landmark_net import CROP_SIZE, FaceLandmarks, LandmarkNet
from flowface_ros.align.landmark_pose import LandmarkPose, LandmarkPoseFitter
from flowface_ros.align.observation import Observation
from flowface_ros.align.tps import thin_plate_matrix
from flowface_ros.head.atlas import TexelGrid, texel_grid
from flowface_ros.head.model import HeadModel
from flowface_ros.head.surface import SurfacePoints

SMOOTHING_M = 0.003
"""Of the interpolation. Errors on faces that it was not chosen on are flat around here."""

_USUAL_MISFIT_M, _USUAL_PRESENCE = 0.005, 0.999
"""Medians over synthetic faces that look at the camera."""


def texel_matrix(model: HeadModel, points: SurfacePoints) -> NDArray[np.float32]:
    """(N, 478) from the landmarks' positions to those of N places on the skin; rows sum to 1.

    The irises' columns are zero.
    """
    skin = landmark_points(model)[:SKIN_POINTS]
    matrix = np.zeros((len(points), IRIS_POINTS.stop), np.float32)
    source, target = (p.interpolate(model.triangles, model.template) for p in (skin, points))
    parted = (parted_positions(model, skin), parted_positions(model, points))
    matrix[:, :SKIN_POINTS] = thin_plate_matrix(source, target, SMOOTHING_M, parted)
    return matrix


def frontal_log_sigma(model: HeadModel, grid: TexelGrid) -> NDArray[np.float32]:
    """(N + 10,) log of sigma of the texels and the irises, crop pixels, for a face that looks at
    the camera: what a network that starts from the landmarks starts with."""
    scale = CROP_SIZE / (FACE_MARGIN * FACE_HEIGHT_M)
    pose = LandmarkPose(np.array([[1.0, 0, 0], [0, -1.0, 0]]), scale, _USUAL_MISFIT_M)
    head = landmark_points(model).interpolate(model.triangles, model.template)
    mean_points = scale * head @ pose.rotation.T
    sigma = LandmarkErrors(model, grid).sigma(pose, mean_points, _USUAL_PRESENCE, 1.0)
    return np.log(sigma).astype(np.float32)


class LandmarksAligner:
    """See `Aligner`. points: the texels of `grid`, then the ten iris points.

    grid: texels a side. device, precision, threads: see `OnnxSession`.
    Raises ValueError for a bad argument or a head of another atlas, DeviceError when the device
    cannot be had.
    """

    crop_size = CROP_SIZE

    def __init__(
        self,
        model: HeadModel,
        grid: int = DEFAULT_GRID,
        device: str = "auto",
        precision: str = "fp32",
        threads: int = 1,
    ) -> None:
        fewest, most = GRID_RANGE
        if not fewest <= grid <= most:
            raise ValueError(f"grid is {grid}, must be {fewest} to {most}")
        self.grid: TexelGrid = texel_grid(model, grid)
        self.points = query_points(model, self.grid)
        self._carry = LandmarkCarry(model, self.grid)
        self._net = LandmarkNet(device, precision, threads)
        self.device = self._net.device

    def align(
        self, pictures: Sequence[Picture], crops: Sequence[Sequence[Crop]]
    ) -> list[list[FaceAlignment]]:
        """See `Aligner`."""
        pixels = cut_all(pictures, crops, self.crop_size)
        points, presence = self._net.run(pixels)
        answers = iter(zip(points[..., :2], presence, pixels, strict=True))
        return [
            [self._answer(picture, crop, *next(answers)) for crop in of_picture]
            for picture, of_picture in zip(pictures, crops, strict=True)
        ]

    def align_faces(self, picture: Picture, faces: Sequence[FaceLandmarks]) -> list[FaceAlignment]:
        """See `Aligner`. The detector's chain has run the network already."""
        return [
            self._answer(picture, f.crop, f.crop.to_crop(f.points[:, :2]), f.presence)
            for f in faces
        ]

    def warm_up(self, batch_sizes: Sequence[int] = (1,)) -> None:
        """See `Aligner`."""
        self._net.warm_up(batch_sizes)

    def _answer(
        self,
        picture: Picture,
        crop: Crop,
        points_crop: NDArray[np.float64],
        presence: float,
        cut_out: NDArray[np.uint8] | None = None,
    ) -> FaceAlignment:
        positions, sigma = self._carry.run(points_crop, float(presence), crop.scale)
        pixels = crop.to_image(positions)
        in_image = crop.sigma_to_image(sigma, pixels, *picture.size)
        observation = Observation(self.points, pixels, in_image, picture.camera, picture.stamp_ns)
        return FaceAlignment(observation, float(presence), crop, cut_out)


class LandmarkCarry:
    """From the 478 points to positions and sigma of a grid's texels and the ten iris points."""

    def __init__(
        self, model: HeadModel, grid: TexelGrid, errors: LandmarkErrors | None = None
    ) -> None:
        self._matrix = texel_matrix(model, grid.points)
        self._pose = LandmarkPoseFitter(model)
        self._errors = errors or LandmarkErrors(model, grid)

    def run(
        self, points_crop: NDArray[np.float64], presence: float, picture_scale: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Positions (N + 10, 2) and sigma (N + 10,), crop pixels.

        points_crop: (478, 2). picture_scale: picture pixels per crop pixel.
        """
        pose = self._pose.fit(points_crop)
        positions = np.concatenate(
            [self._matrix @ points_crop.astype(np.float32), points_crop[IRIS_POINTS]]
        )
        positions += self._errors.correction(pose)
        return positions, self._errors.sigma(pose, points_crop, presence, picture_scale)
