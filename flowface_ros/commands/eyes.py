"""The networks that commands run: an aligner and a face finder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowface_ros.align.aligner import Aligner
    from flowface_ros.align.landmark_net import FaceFinder
    from flowface_ros.head.model import HeadModel


def make_eyes(
    model: HeadModel,
    aligner: str,
    *,
    device: str,
    threads: int,
    grid: int,
    weights: Path | None,
    precision: str = "fp32",
    runtime: str = "onnx",
    looks: int = 1,
) -> tuple[Aligner, FaceFinder]:
    """An aligner, see `make_aligner`, and a face finder on the same device.

    Raises ValueError for a bad argument or file, OSError when the device cannot be had.
    """
    from flowface_ros.align.aligner import make_aligner
    from flowface_ros.align.landmark_net import FaceFinder
    from flowface_ros.align.onnx_session import DeviceError

    try:
        made = make_aligner(
            aligner,
            model,
            device=device,
            precision=precision,
            threads=threads,
            grid=grid,
            weights=weights,
            runtime=runtime,
            looks=looks,
        )
        return made, FaceFinder(device, threads)
    except DeviceError as error:
        raise OSError(str(error)) from error
