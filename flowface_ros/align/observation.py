"""What an aligner returns: where a face's surface points are in one picture, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowface_ros.align.crop import Crop
from flowface_ros.head.surface import SurfacePoints

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Observation:
    """One face in one view: N points of the head's surface and where the picture shows them.

    points: N points of the surface.
    pixels: (N, 2) float64, pixels of the original picture, distorted as it is.
    sigma: (N,) float64, standard deviation per axis, pixels of the original picture.
    camera: name of the camera.
    stamp_ns: time of the picture, nanoseconds.
    Raises ValueError when the shapes differ, a value is not finite or a sigma not positive.
    """

    points: SurfacePoints
    pixels: Array
    sigma: Array
    camera: str
    stamp_ns: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "pixels", np.asarray(self.pixels, np.float64))
        object.__setattr__(self, "sigma", np.asarray(self.sigma, np.float64))
        count = len(self.points)
        if self.pixels.shape != (count, 2):
            raise ValueError(f"pixels has shape {self.pixels.shape}, must be ({count}, 2)")
        if self.sigma.shape != (count,):
            raise ValueError(f"sigma has shape {self.sigma.shape}, must be ({count},)")
        if not np.isfinite(self.pixels).all():
            raise ValueError("pixels must be finite")
        if not (np.isfinite(self.sigma) & (self.sigma > 0)).all():
            raise ValueError("sigma must be positive and finite")

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: NDArray | slice) -> Observation:
        """The observation of a part of the points."""
        return Observation(
            self.points[index], self.pixels[index], self.sigma[index], self.camera, self.stamp_ns
        )


def observation_from_crop(
    points: SurfacePoints,
    positions_crop: ArrayLike,
    sigma_crop: ArrayLike,
    crop: Crop,
    image_size: tuple[int, int],
    camera: str = "",
    stamp_ns: int = 0,
) -> Observation:
    """The observation of what a network says about a crop.

    positions_crop: (N, 2) crop pixels. sigma_crop: (N,) crop pixels.
    image_size: (width, height) of the picture, beyond which nothing was seen: sigma is large there.
    Points whose position or sigma is not finite are left out. Raises ValueError when none is left.
    """
    positions = np.asarray(positions_crop, np.float64)
    sigma = np.asarray(sigma_crop, np.float64)
    kept = np.isfinite(positions).all(axis=1) & np.isfinite(sigma) & (sigma > 0)
    if not kept.any():
        raise ValueError("positions_crop, sigma_crop: not one point is finite")
    pixels = crop.to_image(positions[kept])
    width, height = image_size
    in_image = crop.sigma_to_image(sigma[kept], pixels, width, height)
    return Observation(points[kept], pixels, in_image, camera, stamp_ns)
