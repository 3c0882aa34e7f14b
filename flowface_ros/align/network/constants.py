"""What the network must be told about the UV atlas; numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from flowface_ros.align.network.config import NetworkConfig

LANDMARK_COUNT, IRIS_COUNT = 478, 10
UNINFORMED_SIGMA = 0.06
"""First sigma where none was measured, fraction of the crop: the 478 points' own rough error."""


@dataclass(frozen=True)
class LandmarkConstants:
    """How the 478 points are carried to P texels, then to the ten irises' points (N together).

    matrix: (P, 478) float32, rows sum to 1. correction: (6, 2 N) float32, metres of an upright
    crop, by how the head is turned. pose_solve: (3, 478) float32, from points to the head's axes
    in the crop, pixels per metre. skin_share: (P,) float32, of the face's skin, sums to 1.
    sampled: rows among the N where the trunk's maps of stride 4, 8 and 16 are sampled.
    iris_log_sigma: (10,) float32, as AtlasConstants.log_sigma.
    """

    matrix: NDArray[np.float32]
    correction: NDArray[np.float32]
    pose_solve: NDArray[np.float32]
    skin_share: NDArray[np.float32]
    sampled: tuple[NDArray[np.int64], ...]
    iris_log_sigma: NDArray[np.float32]


@dataclass(frozen=True)
class AtlasConstants:
    """Constants of a head's atlas on the network's grid; P valid texels in row-major order.

    atlas_hash: identifies the atlas; an exported network answers for no other.
    valid: (grid, grid) bool, texels on the surface that are asked for.
    output_valid: (output_grid, output_grid) bool, the same on the output grid.
    mean_position: (P, 2) float32, mean place in a crop, as a fraction of it (x, y).
    log_sigma: (P,) float32, log of the first flow's sigma in crop pixels.
    landmarks: of a network that starts from the landmarks, else None.
    landmark_offset_px: added to the landmark net's x and y to give pixels whose centres are at
        integers.
    """

    atlas_hash: int
    valid: NDArray[np.bool_]
    output_valid: NDArray[np.bool_]
    mean_position: NDArray[np.float32]
    log_sigma: NDArray[np.float32]
    landmarks: LandmarkConstants | None = None
    landmark_offset_px: float = -0.5

    def __post_init__(self) -> None:
        count = int(self.valid.sum())
        if count == 0:
            raise ValueError("valid: no texel is valid")
        expected = {"mean_position": (count, 2), "log_sigma": (count,)}
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name}: shape {getattr(self, name).shape}, must be {shape}")

    def check(self, config: NetworkConfig) -> None:
        """Raises ValueError where these constants do not fit the configuration."""
        sides = {"valid": config.grid, "output_valid": config.output_grid}
        for name, side in sides.items():
            if getattr(self, name).shape != (side, side):
                found = getattr(self, name).shape
                raise ValueError(f"{name}: shape {found}, must be {(side, side)}")
        if config.encoder == "landmark_trunk":
            if self.landmarks is None:
                raise ValueError("landmarks: needed with the landmark trunk")
            shape, expected = self.landmarks.matrix.shape, (len(self.log_sigma), LANDMARK_COUNT)
            if shape != expected:
                raise ValueError(f"landmarks.matrix: shape {shape}, must be {expected}")


def nearest_valid(valid: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(grid, grid) bool -> (grid * grid,), row among the valid texels of each one's nearest.

    The convolutions run on the whole square; texels outside of the islands take the values of
    their nearest neighbour inside, so that no jump reaches into the islands.
    """
    order = np.cumsum(valid.ravel()) - 1
    nearest = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
    return order.reshape(valid.shape)[nearest[0], nearest[1]].ravel().astype(np.int64)


def blank_constants(config: NetworkConfig) -> AtlasConstants:
    """Constants without an atlas: every texel is valid and starts at its UV, for tests and counts.

    With the landmark trunk all points are spread evenly, so the first flow is their mean.
    """
    side = config.grid
    axis = (np.arange(side, dtype=np.float32) + 0.5) / side
    uv = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2).astype(np.float32)
    return AtlasConstants(
        atlas_hash=0,
        valid=np.ones((side, side), bool),
        output_valid=np.ones((config.output_grid,) * 2, bool),
        mean_position=uv,
        log_sigma=np.full(len(uv), np.log(UNINFORMED_SIGMA * config.crop_px), np.float32),
        landmarks=_blank_landmarks(len(uv)) if config.encoder == "landmark_trunk" else None,
    )


def _blank_landmarks(count: int) -> LandmarkConstants:
    """A head whose axes are three of the points."""
    return LandmarkConstants(
        matrix=np.full((count, LANDMARK_COUNT), 1.0 / LANDMARK_COUNT, np.float32),
        correction=np.zeros((6, 2 * (count + IRIS_COUNT)), np.float32),
        pose_solve=np.eye(3, LANDMARK_COUNT, dtype=np.float32),
        skin_share=np.full(count, 1.0 / count, np.float32),
        sampled=(np.arange(count, step=16),) * 3,
        iris_log_sigma=np.zeros(IRIS_COUNT, np.float32),
    )
