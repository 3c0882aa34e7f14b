"""Aligners: from crops of pictures to observations of the head's surface.

There are two, `landmarks` and `network`, and nothing that uses one need know which it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.crop import Crop, check_image, crop_from_points, cut
from flowface_ros.align.landmark_net import FaceFinder, FaceLandmarks
from flowface_ros.align.observation import Observation
from flowface_ros.align.onnx_session import WEIGHTS_FOLDER, Device
from flowface_ros.camera.camera import Camera
from flowface_ros.head.atlas import TexelGrid
from flowface_ros.head.model import HeadModel
from flowface_ros.head.surface import SurfacePoints

ALIGNERS = ("network", "landmarks")
"""The first is the one that is used unless another is asked for."""

LIGHT_NETWORK = WEIGHTS_FOLDER / "flow_light.onnx"
"""The network that ships."""

DEFAULT_GRID = 48
"""Texels a side: some 1,900 points, finer than what the landmarks tell apart."""
GRID_RANGE = (8, 128)
"""Fewest and most texels a side: the memory that carrying landmarks takes grows with the points."""

_MIDLINE_M = 0.05


@dataclass(frozen=True, eq=False)
class Picture:
    """image: uint8 RGB (H, W, 3) or grey (H, W[, 1]). camera: name. stamp_ns: its time."""

    image: NDArray[np.uint8]
    camera: str = ""
    stamp_ns: int = 0

    def __post_init__(self) -> None:
        check_image(self.image)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), pixels."""
        return self.image.shape[1], self.image.shape[0]


@dataclass(frozen=True, eq=False)
class FaceAlignment:
    """What an aligner says about one crop.

    observation: of the surface points `Aligner.points`, in that order: all of them but those, if
    any, that a network had no finite answer for.
    presence: probability that the crop shows a face; None where the aligner cannot tell.
    crop: what it looked at. pixels: (S, S, 3) uint8 RGB of it, or None when it was not cut out.
    """

    observation: Observation
    presence: float | None
    crop: Crop
    pixels: NDArray[np.uint8] | None = None


class Aligner(Protocol):
    """What both aligners offer.

    points: the surface points of every observation: the texels of `grid`, and the ten iris points
    if it knows them. crop_size: pixels a side of the crops that it takes. device: where it runs.
    """

    points: SurfacePoints
    grid: TexelGrid
    crop_size: int
    device: Device

    def align(
        self, pictures: Sequence[Picture], crops: Sequence[Sequence[Crop]]
    ) -> list[list[FaceAlignment]]:
        """One answer for each crop of each picture; all of them are one batch.

        Raises ValueError for crops of another size than `crop_size`.
        """
        ...

    def align_faces(self, picture: Picture, faces: Sequence[FaceLandmarks]) -> list[FaceAlignment]:
        """One answer for each detected face, without looking at it twice where that is possible."""
        ...

    def warm_up(self, batch_sizes: Sequence[int] = (1,)) -> None:
        """Runs the networks on black crops, so that the first picture takes no longer."""
        ...


def make_aligner(
    name: str,
    model: HeadModel,
    *,
    device: str = "auto",
    precision: str = "fp32",
    threads: int = 1,
    grid: int = DEFAULT_GRID,
    weights: Path | None = None,
    runtime: str = "onnx",
    looks: int = 1,
) -> Aligner:
    """The aligner of a name out of `ALIGNERS`, for a head.

    device, precision, threads: see `OnnxSession`. grid: texels a side of the `landmarks` aligner,
        within `GRID_RANGE`; a network brings its own. weights: the ONNX file of a network,
        the one that ships when None. runtime: `onnx` or `torch`,
        of a network. looks: at each face, one of `LOOKS` in `several_looks.py`.
    Raises ValueError for a bad argument or a file that does not suit the head, DeviceError when
    the device cannot be had.
    """
    from flowface_ros.align.several_looks import SeveralLooks, check_looks

    check_looks(looks)
    if name not in ALIGNERS:
        raise ValueError(f"aligner is {name!r}, allowed are {', '.join(map(repr, ALIGNERS))}")
    if name == "landmarks":
        from flowface_ros.align.landmarks_aligner import LandmarksAligner

        if weights is not None:
            raise ValueError(f"weights is {weights}, but the aligner 'landmarks' takes none")
        once: Aligner = LandmarksAligner(model, grid, device, precision, threads)
    else:
        from flowface_ros.align.network_aligner import NetworkAligner

        file = weights or LIGHT_NETWORK
        once = NetworkAligner(model, file, device, precision, threads, runtime)
    return once if looks == 1 else SeveralLooks(once, looks)


def detect_and_align(
    aligner: Aligner, finder: FaceFinder, picture: Picture, max_faces: int | None = None
) -> list[FaceAlignment]:
    """Every face in a picture, most confident first; an empty list when there is none."""
    return aligner.align_faces(picture, finder.detect_faces(picture.image, max_faces))


def head_crop(
    camera: Camera, rig_from_head: NDArray[np.float64], points_rig: NDArray, size: int
) -> Crop | None:
    """The upright crop around a tracked head, or None when the camera does not see it.

    rig_from_head: (4, 4) pose, whose y axis says what is upright, in profiles too.
    points_rig: (N, 3) metres, where the face is, best `embedding.landmark_points` of the head.
    """
    ends = rig_from_head @ np.array([[0, 0], [0, _MIDLINE_M], [0, 0], [1, 1]])
    pose = camera.camera_from_rig
    middle, _ = camera.project((pose @ ends)[:3].T)
    pixels, seen = camera.project(points_rig @ pose[:3, :3].T + pose[:3, 3])
    up = middle[1] - middle[0]
    if not (np.isfinite(up).all() and seen.any()):
        return None
    return crop_from_points(pixels[seen], float(np.arctan2(up[0], -up[1])), size)


def cut_all(
    pictures: Sequence[Picture], crops: Sequence[Sequence[Crop]], size: int
) -> NDArray[np.uint8]:
    """Pixels (B, size, size, 3) of all crops of all pictures, in their order.

    Raises ValueError when there are not as many lists of crops as pictures, or for another size.
    """
    if len(pictures) != len(crops):
        raise ValueError(f"crops is for {len(crops)} pictures, there are {len(pictures)}")
    for crop in (crop for of_picture in crops for crop in of_picture):
        if crop.size != size:
            raise ValueError(f"crops: one is {crop.size} pixels a side, this aligner takes {size}")
    parts = [cut(p.image, c) for p, c in zip(pictures, crops, strict=True) if c]
    return np.concatenate([np.zeros((0, size, size, 3), np.uint8), *parts])
