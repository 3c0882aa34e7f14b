"""Answers drawn on the images: a contact sheet and a video."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from flowface_ros.bag.all_images import all_images
from flowface_ros.bag.images import encode_png
from flowface_ros.bag.reader import open_bag
from flowface_ros.camera.camera import Camera
from flowface_ros.evaluate.tracking import Face, Tracking
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.synth.sheets.contact_sheet import View, contact_sheet
from flowface_ros.synth.sheets.overlay import Wireframe, draw_mesh, wireframe

Image = NDArray[np.uint8]

SHEET_ROWS = 4
_SLOP_NS = 10_000_000
"""An image belongs to an answer whose stamp is within this of its own."""
_TILE_HEIGHT_PX = 360
_FPS = 30.0
_MESH_OPACITY = 0.25


@dataclass(frozen=True, eq=False)
class Answers:
    """A bag of images, the cameras at a stamp (ns) by name, and what a tracker said to them."""

    bag: Path
    cameras: Mapping[str, Callable[[int], Camera]]
    tracking: Tracking

    def moments(self) -> Iterator[tuple[int, list[View]]]:
        """Stamp and one view for each camera, primary first; heads are the tracked meshes."""
        waiting: dict[str, list[tuple[int, Image]]] = defaultdict(list)
        with open_bag(self.bag) as bag:
            for name, stamp, image in all_images(bag, self.cameras):
                waiting[name].append((stamp, image))
                while len(waiting) == len(self.cameras) and all(waiting.values()):
                    views = [self._view(name, *waiting[name].pop(0)) for name in self.cameras]
                    yield stamp, views

    def at(self, stamp: int) -> Sequence[Face] | None:
        """The heads at an image's stamp (ns); None when its set was not answered."""
        stamps = self.tracking.stamps_ns
        row = int(np.abs(stamps - stamp).argmin())
        return self.tracking.faces[row] if abs(stamps[row] - stamp) < _SLOP_NS else None

    def _view(self, name: str, stamp: int, image: Image) -> View:
        heads = [face.vertices for face in self.at(stamp) or () if face.vertices is not None]
        return View(image, self.cameras[name](stamp), heads)


def write_sheet(answers: Answers, path: Path, rows: int = SHEET_ROWS) -> None:
    """Evenly spread moments with heads in all views, each camera plain and with the tracked mesh.

    Raises ValueError when no answer has a head.
    """
    shown = [stamp for stamp, views in answers.moments() if all(view.heads for view in views)]
    if not shown:
        raise ValueError(f"no head was tracked in {answers.bag}")
    places = np.linspace(0, len(shown) - 1, min(rows, len(shown)) + 1)[1:].round().astype(int)
    chosen = [shown[place] for place in places]
    # Read again, lest all images of a recording be held at a time.
    views_at = {stamp: views for stamp, views in answers.moments() if stamp in chosen}
    start_ns = int(answers.tracking.stamps_ns[0])
    titles = [f"{(stamp - start_ns) * 1e-9:.2f} s" for stamp in chosen]
    sheet = contact_sheet(load_builtin_head(), [views_at[stamp] for stamp in chosen], titles)
    path.write_bytes(encode_png(sheet))


def write_video(answers: Answers, path: Path) -> None:
    """All moments, cameras side by side, as WebM (VP8), which browsers play.

    In the place of a set that was dropped stands the one before it, as on a screen that shows what
    the tracker answers. Raises OSError when the video cannot be written.
    """
    mesh = wireframe(load_builtin_head())
    writer: cv2.VideoWriter | None = None
    for stamp, views in answers.moments():
        if writer is None or answers.at(stamp) is not None:
            frame = np.concatenate([_tile(view, mesh) for view in views], axis=1)
        if writer is None:
            size = (frame.shape[1] // 2 * 2, frame.shape[0] // 2 * 2)
            writer = _opened(path, size)
        writer.write(cv2.cvtColor(frame[: size[1], : size[0]], cv2.COLOR_RGB2BGR))
    if writer is not None:
        writer.release()


def _opened(path: Path, size: tuple[int, int]) -> cv2.VideoWriter:
    with _without_stderr():  # OpenCV warns there that WebM has no tag for VP8, and goes on
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP80"), _FPS, size)
    if not writer.isOpened():
        raise OSError(f"{path} cannot be written")
    return writer


@contextmanager
def _without_stderr() -> Iterator[None]:
    """What libraries print to the standard error is dropped."""
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _tile(view: View, mesh: Wireframe) -> Image:
    scale = _TILE_HEIGHT_PX / view.camera.height
    size = (round(view.camera.width * scale), _TILE_HEIGHT_PX)
    tile = cv2.resize(view.image, size, interpolation=cv2.INTER_AREA)
    camera = view.camera.scaled(*size)
    for vertices in view.heads:
        tile = draw_mesh(tile, camera, vertices, mesh, _MESH_OPACITY)
    return tile
