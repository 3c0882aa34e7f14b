"""Square, upright crops of pictures, and the way back from crop to picture.

Pixel centres are at integer coordinates, in the picture and in the crop. A crop of n pixels a side
covers [-0.5, n - 0.5] of its own coordinates, and a picture of W columns [-0.5, W - 0.5].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

FACE_MARGIN = 1.5
"""Side of a face's crop over the longer side of the box around its points. The landmark network
was made for this value."""

_PREFILTER_SCALE = 1.5
"""Shrinking by more than this aliases under bilinear sampling, so 2x2 means are taken first."""

_OUTSIDE_SIGMA = 0.1
"""Sigma over the crop's side just beyond the picture's border. The landmark network's guesses there
were 0.03 off on photographs with a part of the face cut away."""


@dataclass(frozen=True, eq=False)
class Crop:
    """A square of the picture, seen upright.

    image_from_crop: (2, 3) float64 similarity transform from crop pixels to picture pixels.
    size: crop pixels a side.
    """

    image_from_crop: Array
    size: int

    @property
    def scale(self) -> float:
        """Picture pixels per crop pixel."""
        return float(np.hypot(self.image_from_crop[0, 0], self.image_from_crop[1, 0]))

    @property
    def roll(self) -> float:
        """Radians by which the crop's x axis is turned from the picture's x towards its y."""
        return float(np.arctan2(self.image_from_crop[1, 0], self.image_from_crop[0, 0]))

    def to_image(self, points_crop: ArrayLike) -> Array:
        """Picture pixels (..., 2) of crop pixels (..., 2)."""
        points = np.asarray(points_crop, np.float64)
        return points @ self.image_from_crop[:, :2].T + self.image_from_crop[:, 2]

    def to_crop(self, points_image: ArrayLike) -> Array:
        """Crop pixels (..., 2) of picture pixels (..., 2)."""
        shifted = np.asarray(points_image, np.float64) - self.image_from_crop[:, 2]
        return shifted @ self.image_from_crop[:, :2] / self.scale**2

    def sigma_to_image(
        self, sigma_crop: ArrayLike, points_image: ArrayLike, width: int, height: int
    ) -> Array:
        """Sigma (...,) in picture pixels of sigma (...,) in crop pixels.

        points_image: (..., 2) where the points are in the picture of `width` x `height` pixels.
        Those beyond its border were never seen: their sigma grows with the distance to it.
        """
        sigma = np.asarray(sigma_crop, np.float64) * self.scale
        distance = distance_outside(points_image, width, height)
        unseen = np.where(distance > 0, distance + _OUTSIDE_SIGMA * self.size * self.scale, 0.0)
        return np.hypot(sigma, unseen)


def make_crop(centre: ArrayLike, side: float, roll: float, size: int) -> Crop:
    """The crop of a square.

    centre: (2,) picture pixels. side: picture pixels. size: crop pixels a side.
    roll: radians by which the square's x axis is turned from the picture's x towards its y.
    Raises ValueError when the square is empty or not finite.
    """
    centre = np.asarray(centre, np.float64)
    if not (np.isfinite(side) and side > 0 and np.isfinite(roll) and np.isfinite(centre).all()):
        raise ValueError(f"centre {centre}, side {side}, roll {roll}: not a square")
    scale = side / size
    cosine, sine = scale * np.cos(roll), scale * np.sin(roll)
    rotation = np.array([[cosine, -sine], [sine, cosine]])
    middle = (size - 1) / 2
    return Crop(np.column_stack([rotation, centre - rotation @ [middle, middle]]), size)


def crop_from_points(
    points: ArrayLike, roll: float, size: int, margin: float = FACE_MARGIN
) -> Crop:
    """The crop around points (N, 2), picture pixels, of a face with a known roll (radians).

    Its side is `margin` times the longer side of their bounding box in the rolled axes.
    Raises ValueError when there is no finite point.
    """
    points = np.asarray(points, np.float64).reshape(-1, 2)
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) == 0:
        raise ValueError("points: not one is finite")
    axes = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    rolled = points @ axes
    low, high = rolled.min(axis=0), rolled.max(axis=0)
    side = margin * max(float((high - low).max()), 1.0)
    return make_crop(axes @ (low + high) / 2, side, roll, size)


def distance_outside(points: ArrayLike, width: int, height: int) -> Array:
    """How far (...,) points (..., 2) lie beyond the border of a picture, pixels; 0 inside."""
    points = np.asarray(points, np.float64)
    high = np.array([width - 0.5, height - 0.5])
    beyond = np.maximum(np.maximum(-0.5 - points, points - high), 0)
    return np.hypot(beyond[..., 0], beyond[..., 1])


def check_image(image: Any) -> None:
    """Raises ValueError unless `image` is uint8, (H, W, 3), (H, W, 1) or (H, W), and not empty."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"image is {kind}, must be a uint8 array")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3)):
        raise ValueError(f"image has shape {image.shape}, must be (H, W, 3), (H, W, 1) or (H, W)")
    if image.size == 0:
        raise ValueError(f"image has shape {image.shape}, must not be empty")


def cut(image: NDArray[np.uint8], crops: Sequence[Crop]) -> NDArray[np.uint8]:
    """The crops' pixels (B, size, size, 3) from a uint8 picture (H, W, 3) or grey (H, W[, 1]).

    All crops have one size; there is at least one. Beyond the border they are black. Shrinking
    averages first, so that fine patterns do not alias.
    Raises ValueError for a picture that is empty or not uint8, and for crops of several sizes.
    """
    check_image(image)
    sizes = {crop.size for crop in crops}
    if len(sizes) != 1:
        raise ValueError(f"crops have sizes {sorted(sizes)}, must have one")
    size = sizes.pop()
    pixels = np.empty((len(crops), size, size, 3), np.uint8)
    for crop, target in zip(crops, pixels, strict=True):
        _cut_one(image, crop, target)
    return pixels


def _cut_one(image: NDArray[np.uint8], crop: Crop, target: NDArray[np.uint8]) -> None:
    if crop.scale > max(image.shape[:2]):
        target[:] = 0  # the whole picture is less than a pixel
        return
    halvings = round(np.log2(crop.scale)) if crop.scale > _PREFILTER_SCALE else 0
    source, origin = _region(image, crop, 2**halvings)
    for _ in range(halvings):
        half = (source.shape[1] // 2, source.shape[0] // 2)
        source = cv2.resize(source, half, interpolation=cv2.INTER_AREA)
    # A source pixel is the mean of `factor` x `factor` picture pixels.
    factor = 2**halvings
    source_from_crop = crop.image_from_crop.copy()
    source_from_crop[:, 2] -= origin + (factor - 1) / 2
    source_from_crop /= factor
    warped = cv2.warpAffine(
        source,
        source_from_crop,
        (crop.size, crop.size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
    )
    target[:] = warped.reshape(crop.size, crop.size, -1)  # grey spreads over the three channels


def _region(
    image: NDArray[np.uint8], crop: Crop, multiple: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The part of the picture under the crop, its sides multiples of `multiple`.

    Returns it and the picture coordinates (2,) of its first pixel.
    """
    last = crop.size - 0.5
    corners = crop.to_image([[-0.5, -0.5], [last, -0.5], [-0.5, last], [last, last]])
    extent = np.array([image.shape[1], image.shape[0]])
    margin = multiple + 1  # for the neighbours that bilinear sampling reads
    low = np.clip(np.floor(corners.min(axis=0)) - margin, 0, extent - 1).astype(np.int64)
    wanted = np.clip(np.ceil(corners.max(axis=0)) + margin, low + 1, extent).astype(np.int64)
    high = low + -(-(wanted - low) // multiple) * multiple
    region = image[low[1] : high[1], low[0] : high[0]]
    short = high - np.minimum(high, extent)
    if short.any():
        region = cv2.copyMakeBorder(region, 0, short[1], 0, short[0], cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(region), low
