"""Other faces and other light from one picture.

Few photographs may be used, and path-traced pictures take long. A network that sees the same few
people again and again learns them by heart, so each time a face is bent a little, as a whole and in
parts, and is lit anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from flowface_ros.align.crop import Crop, make_crop
from flowface_ros.train.batch import Batch, inside_crop

Array = NDArray[np.float64]

_MOST_STRENGTH = 1.2
_STRETCH_SIGMA, _SHEAR_SIGMA = 0.07, 0.04
_BUMPS, _BUMP_AREA, _BUMP_WIDTHS = 5, 0.3, (0.1, 0.3)
_BUMP_SLOPE_SIGMA = 0.12
"""Of a bump's height over its width."""
_STEPS_BACK = 12
_RELIT_SHARE, _TINTED_SHARE, _GREY_SHARE = 0.6, 0.6, 0.15
_SHADE_SIGMA, _TINT_SIGMA = 0.35, 0.06
_BRIGHTEST = 4.0


@dataclass(frozen=True)
class Warp:
    """A smooth map of a picture: what a new picture shows at x is at `to_old(x)`.

    middle: (2,) and side: pixels, of the face. linear: (2, 2). centres, heights: (K, 2) and widths:
    (K,), of Gaussian bumps, over the side.
    """

    middle: Array
    side: float
    linear: Array
    centres: Array
    heights: Array
    widths: Array

    def to_old(self, new: Array) -> Array:
        """(..., 2) pixels of the new picture -> of the old one."""
        place = (new - self.middle) / self.side
        offset = place @ self.linear.T
        for centre, height, width in zip(self.centres, self.heights, self.widths, strict=True):
            squared = np.square(place - centre).sum(axis=-1, keepdims=True)
            offset = offset + height * np.exp(-squared / (2 * width**2))
        return np.asarray(new + self.side * offset)

    def to_new(self, old: Array) -> Array:
        """(..., 2) pixels of the old picture -> of the new one; NaN stays NaN."""
        new = old
        for _ in range(_STEPS_BACK):
            new = new + old - self.to_old(new)
        return new

    def cut(self, image: NDArray, crop: Crop) -> NDArray:
        """(S, S, 3) of the new picture. image: the old one, uint8 or float32, not much finer than
        the crop."""
        axis = np.arange(float(crop.size))
        places = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
        old = self.to_old(crop.to_image(places)).reshape(crop.size, crop.size, 2)
        x, y = np.moveaxis(old.astype(np.float32), -1, 0)
        return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def sample_warp(rng: np.random.Generator, middle: Array, side: float) -> Warp:
    """From none to a strong one."""
    strength = rng.uniform(0, _MOST_STRENGTH)
    sigmas = np.array([[_STRETCH_SIGMA, _SHEAR_SIGMA], [_SHEAR_SIGMA, _STRETCH_SIGMA]])
    widths = rng.uniform(*_BUMP_WIDTHS, _BUMPS)
    slopes = rng.normal(0, _BUMP_SLOPE_SIGMA, (_BUMPS, 2))
    return Warp(
        np.asarray(middle, np.float64),
        side,
        strength * sigmas * rng.normal(size=(2, 2)),
        rng.uniform(-_BUMP_AREA, _BUMP_AREA, (_BUMPS, 2)),
        strength * slopes * widths[:, None],
        widths,
    )


def relit(light: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """(S, S, 3) linear light -> with shades over it, colours mixed, or grey."""
    size = light.shape[0]
    shades = rng.normal(0, _SHADE_SIGMA, (3, 3))
    shade = cv2.resize(shades, (size, size), None, 0, 0, cv2.INTER_CUBIC)[..., None]
    mix = np.eye(3) + rng.normal(0, _TINT_SIGMA, (3, 3))
    relights, tints, greys = rng.random(3) < (_RELIT_SHARE, _TINTED_SHARE, _GREY_SHARE)
    found = light.astype(np.float64)
    if relights:
        found = found * np.exp(shade)
    if tints:
        found = found @ mix.T
    if greys:
        found = np.repeat(found.mean(axis=2, keepdims=True), 3, axis=2)
    return np.clip(found, 0, _BRIGHTEST).astype(np.float32)


def remade(batch: Batch, rng: np.random.Generator) -> Batch:
    """Each picture bent and lit anew. What is hidden stays so; `iod_px` stays, too."""
    size = batch.light.shape[-1]
    middle = np.full(2, (size - 1) / 2)
    whole = make_crop(middle, size, 0.0, size)
    lights, positions = [], []
    for light, position in zip(batch.light.numpy(), batch.position_px.numpy(), strict=True):
        warp = sample_warp(rng, middle, size)
        image = np.ascontiguousarray(light.transpose(1, 2, 0), np.float32)
        lights.append(relit(warp.cut(image, whole), rng).transpose(2, 0, 1))
        positions.append(warp.to_new(position.astype(np.float64)).astype(np.float32))
    position_px = torch.from_numpy(np.stack(positions))
    visible = batch.visible & inside_crop(position_px, size)
    return Batch(torch.from_numpy(np.stack(lights)), position_px, visible, batch.iod_px)
