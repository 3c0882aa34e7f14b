"""The aligner that runs an exported flow network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.aligner import FaceAlignment, Picture, cut_all
from flowface_ros.align.atlas_table import check_atlas
from flowface_ros.align.crop import Crop
from flowface_ros.align.landmark_errors import query_points
from flowface_ros.align.landmark_net import FaceLandmarks, crop_from_landmarks
from flowface_ros.align.network.metadata import read_metadata
from flowface_ros.align.observation import observation_from_crop
from flowface_ros.align.onnx_session import DeviceError, OnnxSession, TensorSpec
from flowface_ros.head.atlas import texel_grid
from flowface_ros.head.model import HeadModel

if TYPE_CHECKING:
    from flowface_ros.align.torch_runtime import TorchSession

RUNTIMES = ("onnx", "torch")


class NetworkAligner:
    """See `Aligner`. weights: an exported network; its texels are the points, and of the light
    network the ten iris points follow.

    runtime: `onnx`, or `torch` (see `TorchSession`). device, precision, threads: see `OnnxSession`.
    Raises ValueError for a bad argument, a file that is not a flow network, or one of another
    atlas than the head wears; DeviceError when the device cannot be had.
    """

    def __init__(
        self,
        model: HeadModel,
        weights: Path,
        device: str = "auto",
        precision: str = "fp32",
        threads: int = 1,
        runtime: str = "onnx",
    ) -> None:
        if runtime not in RUNTIMES:
            raise ValueError(
                f"runtime is {runtime!r}, allowed are {', '.join(map(repr, RUNTIMES))}"
            )
        if not weights.is_file():
            raise ValueError(f"weights: there is no file {weights}")
        metadata = read_metadata(weights)
        check_atlas(
            f"the network {weights}", metadata.atlas_hash, model, "train it for this head's atlas"
        )
        self.crop_size = metadata.config.crop_px
        self.grid = texel_grid(model, metadata.config.output_grid)
        light = metadata.config.encoder == "landmark_trunk"
        self.points = query_points(model, self.grid) if light else self.grid.points
        self._session = _open(weights, device, precision, threads, runtime)
        self.device = self._session.device
        _check(weights, self._session, self.crop_size, len(self.points))

    def align(
        self, pictures: Sequence[Picture], crops: Sequence[Sequence[Crop]]
    ) -> list[list[FaceAlignment]]:
        """See `Aligner`."""
        pixels = cut_all(pictures, crops, self.crop_size)
        outputs = self._session.run(image=pixels)
        rows = iter(range(len(pixels)))
        return [
            [self._answer(picture, crop, pixels, outputs, next(rows)) for crop in of_picture]
            for picture, of_picture in zip(pictures, crops, strict=True)
        ]

    def align_faces(self, picture: Picture, faces: Sequence[FaceLandmarks]) -> list[FaceAlignment]:
        """See `Aligner`."""
        return self.align(
            [picture], [[crop_from_landmarks(face.points, self.crop_size) for face in faces]]
        )[0]

    def warm_up(self, batch_sizes: Sequence[int] = (1,)) -> None:
        """See `Aligner`."""
        self._session.warm_up(batch_sizes)

    def _answer(
        self,
        picture: Picture,
        crop: Crop,
        pixels: NDArray[np.uint8],
        outputs: dict[str, NDArray],
        row: int,
    ) -> FaceAlignment:
        observation = observation_from_crop(
            self.points,
            outputs["position_px"][row],
            np.exp(outputs["log_sigma"][row].astype(np.float64)),
            crop,
            picture.size,
            picture.camera,
            picture.stamp_ns,
        )
        presence = float(outputs["presence"][row]) if "presence" in outputs else None
        return FaceAlignment(observation, presence, crop, pixels[row])


def _open(
    weights: Path, device: str, precision: str, threads: int, runtime: str
) -> OnnxSession | TorchSession:
    if runtime == "onnx":
        return OnnxSession(weights, device, precision, threads)
    from flowface_ros.align.torch_runtime import TorchSession

    return TorchSession(weights, device, precision, threads)


def _check(weights: Path, session: OnnxSession | TorchSession, side: int, points: int) -> None:
    """ValueError unless the file takes and gives what its metadata promise for the head, and runs.
    A damaged one may well load."""
    found = {**session.inputs, **session.outputs}
    for name, wanted in (
        ("image", TensorSpec(np.uint8, (None, side, side, 3))),
        ("position_px", TensorSpec(np.float32, (None, points, 2))),
        ("log_sigma", TensorSpec(np.float32, (None, points))),
    ):
        if found.get(name) != wanted:
            raise ValueError(f"{weights}: {name} is {found.get(name)}, must be {wanted}")
    try:
        session.warm_up()
    except Exception as error:  # each runtime has its own
        if session.device.kind != "cpu":
            raise DeviceError(f"device {session.device}: {error}") from error
        raise ValueError(f"{weights}: damaged, does not run: {error}") from error
