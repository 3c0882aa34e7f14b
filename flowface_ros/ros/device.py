"""The device that networks run on: what was asked for, what was had, and what is left of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flowface_ros.align.aligner import Aligner, FaceAlignment, Picture, make_aligner
from flowface_ros.align.crop import Crop
from flowface_ros.align.landmark_net import FaceFinder, FaceLandmarks
from flowface_ros.align.onnx_session import DeviceError
from flowface_ros.head.model import HeadModel
from flowface_ros.ros.settings import AlignSettings
from flowface_ros.track.view_aligner import Finder

_OUT_OF_MEMORY = ("out of memory", "failed to allocate memory", "alloc_failed", "bad_alloc")
"""How ONNX Runtime, CUDA and torch say it, in lower case."""


class DeviceMemoryError(RuntimeError):
    """The device's memory does not even hold one crop at a time."""


Networks = tuple[Aligner, Finder]
NetworkFactory = Callable[[AlignSettings, HeadModel], Networks]


def make_networks(settings: AlignSettings, model: HeadModel) -> Networks:
    """The aligner and the face finder that the parameters ask for.

    Raises ValueError for a bad parameter or file, DeviceError when the device cannot be had.
    """

    def on(device: str) -> Networks:
        aligner = make_aligner(
            settings.aligner,
            model,
            device=device,
            precision=settings.precision if device != "cpu" else "fp32",
            threads=settings.threads,
            grid=settings.grid,
            weights=settings.weights_path,
            runtime=settings.runtime,
            looks=settings.looks,
        )
        return aligner, FaceFinder(str(aligner.device), threads=settings.threads)

    try:
        return on(settings.device)
    except DeviceError:
        if not settings.allow_cpu_fallback:
            raise
    return on("cpu")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the machine had no memory for a network's work."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(phrase in text for phrase in _OUT_OF_MEMORY)


class FrugalAligner:
    """An aligner that, once its device runs out of memory, takes one crop at a time.

    on_shrink: called once, with the reason. When one crop is too much, DeviceMemoryError.
    """

    def __init__(self, aligner: Any, on_shrink: Callable[[str], object]) -> None:
        self._aligner, self._on_shrink = aligner, on_shrink
        self.points, self.crop_size = aligner.points, aligner.crop_size
        self.device, self.grid = aligner.device, aligner.grid
        self.one_by_one = False

    def align(
        self, pictures: Sequence[Picture], crops: Sequence[Sequence[Crop]]
    ) -> list[list[FaceAlignment]]:
        """See `Aligner`."""
        if not self.one_by_one:
            try:
                return self._aligner.align(pictures, crops)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self.one_by_one = True
                self._on_shrink(str(error))
        return [
            [self._alone(self._aligner.align, [picture], [[crop]])[0][0] for crop in of_picture]
            for picture, of_picture in zip(pictures, crops, strict=True)
        ]

    def align_faces(self, picture: Picture, faces: Sequence[FaceLandmarks]) -> list[FaceAlignment]:
        """See `Aligner`."""
        return [self._alone(self._aligner.align_faces, picture, [face])[0] for face in faces]

    def warm_up(self, batch_sizes: Sequence[int] = (1,)) -> None:
        """See `Aligner`."""
        self._alone(self._aligner.warm_up, batch_sizes)

    @staticmethod
    def _alone(work: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return work(*arguments)
        except Exception as error:
            if is_out_of_memory(error):
                raise DeviceMemoryError(f"one crop at a time is too much: {error}") from error
            raise
