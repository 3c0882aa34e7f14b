"""The network's constants of a head: which texels there are, and where they are at first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.crop import FACE_MARGIN
from flowface_ros.align.network.config import NetworkConfig
from flowface_ros.align.network.constants import UNINFORMED_SIGMA, AtlasConstants
from flowface_ros.head.atlas import texel_grid
from flowface_ros.head.model import HeadModel


def head_constants(
    config: NetworkConfig,
    model: HeadModel,
    landmark_matrix: NDArray[np.float32] | None = None,
    log_sigma: NDArray[np.float32] | None = None,
) -> AtlasConstants:
    """Constants of a head's atlas for a network.

    landmark_matrix: (P, 478), first positions from landmarks; needed when the config starts there.
    log_sigma: (P,) log of the first flow's sigma, crop pixels; the same guess for all when None.
    The mean positions are those of the neutral head seen from in front.
    Raises ValueError where something does not fit.
    """
    grid = texel_grid(model, config.grid)
    if log_sigma is None:
        log_sigma = np.full(len(grid.points), np.log(UNINFORMED_SIGMA * config.crop_px), np.float32)
    constants = AtlasConstants(
        atlas_hash=model.atlas_hash,
        valid=grid.valid,
        output_valid=texel_grid(model, config.output_grid).valid,
        mean_position=frontal_positions(model, config.grid),
        log_sigma=log_sigma,
        landmark_matrix=landmark_matrix,
    )
    constants.check(config)
    return constants


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
