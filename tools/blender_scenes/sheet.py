"""A picture of a set: some of its pictures, and some with what is true of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.overlay import contact_sheet
from flowface_ros.train.picture_set import TruePicture, picture_files, read_picture

_COLUMNS, _WIDTH_PX = 8, 1280
_PLAIN, _MARKED = 32, 8
_EVERY = 4
"""Of the texels, how many are drawn."""
_SEEN, _UNSEEN = (80, 255, 120), (255, 90, 70)
_LARGEST_FILE, _QUALITIES = 300_000, (88, 80, 72, 64, 56, 48)


def draw_sheet(path: Path, folder: Path) -> None:
    """Writes a JPEG of at most 300 kB. Raises ValueError for an empty folder."""
    pictures = [read_picture(file) for file in picture_files(folder)[:_PLAIN]]
    _write(path, [p.image for p in pictures] + [_marked(p) for p in pictures[:_MARKED]])


def draw_sequences(path: Path, folder: Path, frames: int) -> None:
    """As `draw_sheet`, of sequences: each a row of frames, the last one with what is true of it."""
    tiles = []
    for number in range(0, len(picture_files(folder)) // frames * frames, frames):
        shown = np.linspace(number, number + frames - 1, _COLUMNS).astype(int)
        pictures = [read_picture(folder / f"{i:06d}.npz") for i in shown]
        tiles += [*(p.image for p in pictures[:-1]), _marked(pictures[-1])]
    _write(path, tiles)


def _write(path: Path, tiles: list[NDArray[np.uint8]]) -> None:
    sheet = contact_sheet(tiles, _COLUMNS, _WIDTH_PX // _COLUMNS)
    for quality in _QUALITIES:
        _, data = cv2.imencode(".jpg", sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        if len(data) <= _LARGEST_FILE:
            break
    path.write_bytes(data.tobytes())


def _marked(picture: TruePicture) -> NDArray[np.uint8]:
    """Every fourth texel: green where it is seen, red where it is hidden."""
    scale = 2
    image = cv2.resize(picture.image, None, fx=scale, fy=scale)
    places = np.rint((picture.position_px + 0.5) * scale - 0.5).astype(int)
    for place, seen in list(zip(places.tolist(), picture.visible, strict=True))[::_EVERY]:
        cv2.circle(image, place, 1, _SEEN if seen else _UNSEEN, -1, cv2.LINE_AA)
    return np.asarray(image, np.uint8)
