"""The network's constants of a head: which texels there are, and where they are at first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.crop import FACE_MARGIN
from flowface_ros.align.embedding import SKIN_POINTS, landmark_points
from flowface_ros.align.landmark_errors import LandmarkErrors
from flowface_ros.align.landmarks_aligner import frontal_log_sigma, texel_matrix
from flowface_ros.align.network.config import NetworkConfig
from flowface_ros.align.network.constants import (
    IRIS_COUNT,
    LANDMARK_COUNT,
    UNINFORMED_SIGMA,
    AtlasConstants,
    LandmarkConstants,
)
from flowface_ros.head.atlas import TexelGrid, texel_grid
from flowface_ros.head.model import HeadModel

_DETAILED = ("eyelids", "lips", "nose", "brows")
_SKIN = (*_DETAILED, "face")


def head_constants(config: NetworkConfig, model: HeadModel) -> AtlasConstants:
    """Constants of a head's atlas for a network.

    The mean positions are those of the neutral head seen from in front. The first sigma is that of
    a face that looks at the camera with the landmark trunk, else the same guess for all texels.
    Raises ValueError where something does not fit.
    """
    grid = texel_grid(model, config.grid)
    log_sigma = np.full(len(grid.points), np.log(UNINFORMED_SIGMA * config.crop_px), np.float32)
    landmarks = None
    if config.encoder == "landmark_trunk":
        both = frontal_log_sigma(model, grid)
        log_sigma, of_irises = both[:-IRIS_COUNT], both[-IRIS_COUNT:]
        landmarks = _landmark_constants(model, grid, of_irises)
    constants = AtlasConstants(
        atlas_hash=model.atlas_hash,
        valid=grid.valid,
        output_valid=texel_grid(model, config.output_grid).valid,
        mean_position=frontal_positions(model, config.grid),
        log_sigma=log_sigma,
        landmarks=landmarks,
    )
    constants.check(config)
    return constants


def _landmark_constants(
    model: HeadModel, grid: TexelGrid, iris_log_sigma: NDArray[np.float32]
) -> LandmarkConstants:
    skin = landmark_points(model)[:SKIN_POINTS]
    head = skin.interpolate(model.triangles, model.template.astype(np.float64))
    solve = np.zeros((3, LANDMARK_COUNT))
    solve[:, :SKIN_POINTS] = np.linalg.pinv(np.column_stack([head, np.ones(SKIN_POINTS)]))[:3]
    correction = LandmarkErrors(model, grid).correction_table.transpose(1, 0, 2)
    share = _members(model, grid, _SKIN).astype(np.float64)
    return LandmarkConstants(
        matrix=texel_matrix(model, grid.points),
        correction=correction.reshape(len(correction), -1).astype(np.float32),
        pose_solve=solve.astype(np.float32),
        skin_share=(share / share.sum()).astype(np.float32),
        sampled=_sampled(model, grid),
        iris_log_sigma=iris_log_sigma,
    )


def _members(model: HeadModel, grid: TexelGrid, groups: tuple[str, ...]) -> NDArray[np.bool_]:
    """(P,) texels whose nearest vertex is in one of the groups."""
    nearest = model.triangles[grid.points.triangle, grid.points.barycentric.argmax(axis=1)]
    return np.isin(nearest, np.concatenate([model.vertex_groups[name] for name in groups]))


def _sampled(model: HeadModel, grid: TexelGrid) -> tuple[NDArray[np.int64], ...]:
    """Rows of the texels where maps of stride 4, 8 and 16 are looked at: every fourth texel each
    way, other ones for 8; of the finest map every sixth, and half of those where the face has
    detail."""
    row, column = np.nonzero(grid.valid)

    def every(step: int, first: int = 0) -> NDArray[np.int64]:
        return np.flatnonzero((row % step == first) & (column % step == first))

    detail = np.flatnonzero(_members(model, grid, _DETAILED))[::2]
    return np.union1d(every(6), detail), every(4, 1), every(4)


def frontal_positions(model: HeadModel, size: int) -> NDArray[np.float32]:
    """(P, 2): texels of the neutral head from in front, as fractions of a crop around the face.

    Without perspective: the camera's distance is not known.
    """
    points = texel_grid(model, size).points
    # The head's x is the subject's left, which is right in the image; its y is up.
    frontal = np.array([1.0, -1.0])
    texels = points.interpolate(model.triangles, model.template)[:, :2] * frontal
    face = model.template[model.vertex_groups["face"], :2] * frontal
    low, high = face.min(axis=0), face.max(axis=0)
    side = FACE_MARGIN * (high - low).max()
    return ((texels - (low + high) / 2) / side + 0.5).astype(np.float32)
