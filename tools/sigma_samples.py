"""What the sigma of positions carried over from the landmarks is learned from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from face_views import FaceView, ViewRange
from numpy.typing import NDArray

from flowface_ros.align.embedding import IRIS_POINTS
from flowface_ros.align.landmark_errors import (
    FACE_HEIGHT_M,
    TABLE_GRID,
    eye_openness,
    query_points,
    turn_features,
)
from flowface_ros.align.landmark_pose import LandmarkPose, LandmarkPoseFitter
from flowface_ros.align.landmarks_aligner import texel_matrix
from flowface_ros.head.atlas import texel_grid
from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.model import HeadModel
from flowface_ros.synth.person.person import Odds

Array = NDArray[np.float64]

RANGES = ViewRange(
    288, (60, 360), yaw_deg=45, pitch_deg=30, roll_deg=25, frontal=0.65, expression=1.0,
    shut=0.15, occluded=0.15, degraded=True, odds=Odds(),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Samples:
    """F pictures; R rows: the texels of the tables' grid, then the iris points.

    offset: (F, R, 2) truth minus interpolated, metres on the head, x and y of an upright crop.
    features: (F, 6). poses: F. presence: (F,). size_px: (F,). openness: (F, 2).
    landmarks: (F, 478, 2) crop pixels. identity: (F,).
    """

    offset: Array
    features: Array
    poses: list[LandmarkPose]
    presence: Array
    size_px: Array
    landmarks: Array
    openness: Array
    identity: NDArray[np.int64]

    @property
    def turn_deg(self) -> Array:
        return np.array([pose.off_axis_deg for pose in self.poses])


def collect(model: HeadModel, views: list[FaceView]) -> Samples:
    """What the tables are learned from."""
    grid = texel_grid(model, TABLE_GRID)
    truth = SurfaceEvaluator(model, query_points(model, grid))
    matrix, fitter = texel_matrix(model, grid.points), LandmarkPoseFitter(model)
    offsets, poses = [], []
    for view in views:
        pixels, _ = view.camera.project(truth.positions(view.state))
        points = view.points[:, :2]
        positions = np.concatenate([matrix @ points, points[IRIS_POINTS]])
        pose = fitter.fit(points)
        offset = (view.crop.to_crop(pixels) - positions) / pose.scale
        offsets.append(offset @ pose.crop_from_upright)
        poses.append(pose)
    return Samples(
        offset=np.array(offsets),
        features=np.array([turn_features(pose) for pose in poses]),
        poses=poses,
        presence=np.array([view.presence for view in views]),
        size_px=np.array(
            [FACE_HEIGHT_M * p.scale * v.crop.scale for p, v in zip(poses, views, strict=True)]
        ),
        landmarks=np.array([view.points[:, :2] for view in views]),
        openness=np.array([eye_openness(view.points[:, :2]) for view in views]),
        identity=np.array([view.identity for view in views]),
    )
