"""A picture of a recording: each camera at several moments, plain and with the true mesh on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flowface_ros import rigid
from flowface_ros.camera.camera import Camera
from flowface_ros.head.model import HeadModel
from flowface_ros.synth.sheets.overlay import (
    Wireframe,
    draw_mesh,
    draw_points,
    visible_points,
    wireframe,
)

Image = NDArray[np.uint8]

_TILE_HEIGHT = 400
_CLOSE_UP_MARGIN = 1.08
"""Width of a close-up over that of the heads in it."""
_LEAST_CLOSE_UP_PX = 16
"""A head at the border of the image may show a single vertex."""
_GAP = 6
_LANDMARKS = "ibug68"
_LANDMARK_COLOR = (255, 255, 0)


@dataclass(frozen=True, eq=False)
class View:
    """One image of a recording and who is in it.

    image: (H, W, 3) uint8 RGB. camera: as it stood at the image's stamp.
    heads: posed vertices (V, 3) of everybody, metres in the rig frame.
    """

    image: Image
    camera: Camera
    heads: Sequence[NDArray[np.floating]]


def contact_sheet(model: HeadModel, rows: Sequence[Sequence[View]], titles: Sequence[str]) -> Image:
    """A sheet (H, W, 3) uint8 RGB: a row per moment, and for each camera of it the image and a
    close-up of the heads with their mesh and landmarks. titles: one per row."""
    mesh = wireframe(model)
    lines = []
    for views, title in zip(rows, titles, strict=True):
        tiles = []
        for view in views:
            tiles += [_plain(view, f"{view.camera.name}  {title}"), _close_up(model, mesh, view)]
        lines.append(_joined(tiles, axis=1))
    width = max(line.shape[1] for line in lines)
    padded = [np.pad(line, ((0, 0), (0, width - line.shape[1]), (0, 0))) for line in lines]
    return _joined(padded, axis=0)


def _joined(tiles: Sequence[Image], axis: int) -> Image:
    gap = [(0, 0)] * 3
    gap[axis] = (0, _GAP)
    return np.concatenate([np.pad(tile, gap, constant_values=24) for tile in tiles], axis=axis)


def _plain(view: View, label: str) -> Image:
    width = round(_TILE_HEIGHT * view.camera.width / view.camera.height)
    tile = cv2.resize(view.image, (width, _TILE_HEIGHT), interpolation=cv2.INTER_AREA)
    (text_width, text_height), below = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
    tile[: text_height + below + 6, : text_width + 12] //= 3
    origin = (6, text_height + 4)
    cv2.putText(tile, label, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return tile


def _close_up(model: HeadModel, mesh: Wireframe, view: View) -> Image:
    """The heads, cut out and enlarged before drawing, so that lines stay fine."""
    x, y, size = _window(view)
    camera = view.camera.cropped(x, y, size, size).scaled(_TILE_HEIGHT, _TILE_HEIGHT)
    padded = cv2.copyMakeBorder(view.image, size, size, size, size, cv2.BORDER_CONSTANT)
    cut = padded[y + size : y + 2 * size, x + size : x + 2 * size]
    tile = cv2.resize(cut, (_TILE_HEIGHT, _TILE_HEIGHT), interpolation=cv2.INTER_LINEAR)
    for vertices in view.heads:
        tile = draw_mesh(tile, camera, vertices, mesh, opacity=0.35)
        if _LANDMARKS in model.landmarks:
            points = model.landmarks[_LANDMARKS].interpolate(model.triangles, vertices)
            seen = visible_points(camera, points, vertices, mesh)
            tile = draw_points(tile, camera, points[seen], _LANDMARK_COLOR)
    return tile


def _window(view: View) -> tuple[int, int, int]:
    """Left, top and side of a square around all heads, pixels, inside reach of the image."""
    camera = view.camera
    whole = (0, 0, min(camera.width, camera.height))
    if not view.heads:
        return whole
    points = rigid.apply(camera.camera_from_rig, np.concatenate(list(view.heads)))
    pixels, valid = camera.project(points)
    pixels = pixels[valid & camera.contains(pixels)]
    if not len(pixels):
        return whole
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    size = max(_LEAST_CLOSE_UP_PX, int(np.ceil(_CLOSE_UP_MARGIN * (high - low).max())))
    x, y = np.round((low + high - size) / 2).astype(int)
    return int(x), int(y), size
