"""What a data set of scanned people holds: a moment's surface, and the pictures taken of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from flowface_ros.camera.camera import Camera


@dataclass(frozen=True, eq=False)
class View:
    """A picture file and the camera that took it, in the capture's rig frame."""

    picture: Path
    camera: Camera


@dataclass(frozen=True, eq=False)
class Capture:
    """One moment of one person; the rig frame is the data set's own, in metres.

    vertices: (V, 3), triangles: (F, 3) int32, of the surface: what hides what.
    places: (N, 3) of the N surface points that were asked for; NaN where the surface lacks one.
    """

    vertices: NDArray[np.float64]
    triangles: NDArray[np.int32]
    places: NDArray[np.float64]
    views: tuple[View, ...]


class CaptureSet(Protocol):
    """A data set; what is read once, such as correspondences, is kept."""

    name: str

    def __len__(self) -> int:
        """How many captures."""
        ...

    def read(self, number: int) -> Capture:
        """Capture `number`. Raises ValueError or OSError that names the file."""
        ...


def read_picture(path: Path) -> NDArray[np.uint8]:
    """RGB (H, W, 3); grey pictures get three equal channels. ValueError names the file."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.exists() else None
    if image is None:
        raise ValueError(f"{path}: cannot be read as a picture")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def read_arrays(path: Path) -> dict[str, NDArray]:
    """The arrays of a .npz file by name. ValueError names the file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # numpy and zip tell of a broken file in a dozen ways
        raise ValueError(f"{path}: cannot be read as arrays: {error!r}") from error


def required_folder(*candidates: Path) -> Path:
    """The first that is there. FileNotFoundError names them all."""
    for path in candidates:
        if path.is_dir():
            return path
    raise FileNotFoundError(f"{' or '.join(map(str, candidates))}: no such folder")
