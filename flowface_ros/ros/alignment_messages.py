"""Alignments to messages and back: what travels from aligners to the fitter."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from flowface_ros.align.landmark_errors import query_points
from flowface_ros.align.observation import Observation
from flowface_ros.bag.face_messages import MessageTypes, camera_info_message, header_message
from flowface_ros.bag.face_messages import stamp_ns as stamp_of
from flowface_ros.camera.camera import Camera
from flowface_ros.head.atlas import texel_grid
from flowface_ros.head.model import HeadModel
from flowface_ros.head.surface import SurfacePoints
from flowface_ros.track.frames import ViewAlignment

_LARGEST_GRID = 512
"""Texels a side; a message that says more is wrong."""


@lru_cache(maxsize=4)
def alignment_points(model: HeadModel, grid: int) -> SurfacePoints:
    """The points of a message: the valid texels of a grid, then the head's ten iris points."""
    return query_points(model, texel_grid(model, grid))


def alignment_array_message(
    types: MessageTypes,
    model: HeadModel,
    grid: int,
    camera: Camera,
    frame: str,
    stamp_ns: int,
    alignments: Sequence[ViewAlignment],
) -> Any:
    """A FaceAlignmentArray of one image. grid: texels a side of the aligner's points.

    Raises ValueError for an observation of other points.
    """
    info = camera_info_message(types, camera, stamp_ns)
    info.header.frame_id = frame
    return types["flowface_ros/msg/FaceAlignmentArray"](
        header=header_message(types, stamp_ns, frame),
        camera=camera.name,
        camera_info=info,
        alignments=[_alignment(types, model, grid, info, a) for a in alignments],
    )


def _alignment(
    types: MessageTypes, model: HeadModel, grid: int, info: Any, alignment: ViewAlignment
) -> Any:
    points = alignment_points(model, grid)
    observation = alignment.observation
    # A prefix: networks answer for the texels alone.
    same = np.array_equal(observation.points.triangle, points.triangle[: len(observation)])
    if not same:
        raise ValueError(f"the alignment's points are not the texels of a grid of {grid}")
    return types["flowface_ros/msg/FaceAlignment"](
        header=info.header,
        camera=observation.camera,
        id=alignment.id,
        presence=float(alignment.presence),
        atlas_hash=int(model.atlas_hash),
        grid=grid,
        pixels=types.sequence(observation.pixels.astype(np.float32).reshape(-1)),
        sigma=types.sequence(observation.sigma.astype(np.float32)),
        camera_info=info,
        roi=np.asarray(alignment.roi, np.float32),
    )


def read_alignment(model: HeadModel, camera: Camera, message: Any) -> ViewAlignment:
    """The alignment of a FaceAlignment. Points that are not finite are left out.

    Raises ValueError for another atlas, a number of values that the grid cannot have, or nothing
    finite.
    """
    if int(message.atlas_hash) != model.atlas_hash:
        raise ValueError(
            f"FaceAlignment is of atlas {message.atlas_hash:016x}, the head {model.name!r} wears "
            f"{model.atlas_hash:016x}"
        )
    if not 1 <= message.grid <= _LARGEST_GRID:
        raise ValueError(f"FaceAlignment.grid is {message.grid}, must be 1 to {_LARGEST_GRID}")
    points = alignment_points(model, int(message.grid))
    numbers = np.asarray(message.pixels, np.float64)
    sigma = np.asarray(message.sigma, np.float64)
    texels = len(texel_grid(model, int(message.grid)).points) if len(sigma) != len(points) else 0
    if len(numbers) != 2 * len(sigma) or len(sigma) not in (len(points), texels):
        raise ValueError(
            f"FaceAlignment has {len(numbers)} coordinates and {len(sigma)} sigmas, a grid of "
            f"{message.grid} has {len(points)} points"
        )
    pixels = numbers.reshape(-1, 2)
    good = np.isfinite(pixels).all(axis=1) & np.isfinite(sigma) & (sigma > 0)
    if not good.any():
        raise ValueError("FaceAlignment has no finite point")
    used = points[: len(sigma)]
    observation = Observation(
        used if good.all() else used[good],
        pixels[good],
        sigma[good],
        camera.name,
        stamp_of(message),
    )
    presence = float(message.presence)
    x, y, width, height = (float(v) for v in message.roi)
    return ViewAlignment(camera, observation, message.id, presence, (x, y, width, height))
