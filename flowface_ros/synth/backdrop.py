"""What is behind the people: a room as a panorama at infinity, looked up along each pixel's ray."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from flowface_ros.camera.camera import Camera

_HEIGHT = 768
"""Rows of a panorama: 4 pixels per degree, as sharp as an out-of-focus room needs."""


def sample_panorama(rng: np.random.Generator) -> NDArray[np.float32]:
    """A random room (H, 2 H, 3) float32, linear light; columns run around the rig's z axis."""
    height, width = _HEIGHT, 2 * _HEIGHT
    wall = np.exp(rng.normal(np.log(0.25), 0.6)) * np.exp(rng.normal(0.0, 0.15, 3))
    floor = wall * rng.uniform(0.3, 0.9) * np.exp(rng.normal(0.0, 0.2, 3))
    horizon = 1.0 / (1.0 + np.exp(-(np.arange(height) - 0.72 * height) / 6.0))
    rows = wall + horizon[:, None] * (floor - wall)
    image = np.repeat(rows[:, None], width, axis=1).astype(np.float32)
    for _ in range(int(rng.integers(25, 60))):
        _add_rectangle(image, rng)
    image *= np.exp(0.25 * _noise(rng, height, width, cell=160))[..., None]
    image *= np.exp(0.08 * _noise(rng, height, width, cell=12))[..., None]
    blur = rng.uniform(0.8, 5.0)
    image = np.concatenate([image[:, -64:], image, image[:, :64]], axis=1)
    return np.ascontiguousarray(cv2.GaussianBlur(image, (0, 0), blur)[:, 64:-64])


def _add_rectangle(image: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Furniture, a picture, a door, a window or a lamp, somewhere around the horizon."""
    height, width = image.shape[:2]
    size = np.exp(rng.uniform(np.log(12), np.log(180), 2)) * (1.0, 1.3)
    x, y = rng.uniform(0, width), height * np.clip(rng.normal(0.52, 0.14), 0.05, 0.95)
    shine = rng.choice([1.0, 4.0], p=[0.93, 0.07])
    tint = np.exp(rng.normal(np.log(0.2), 0.8)) * np.exp(rng.normal(0.0, 0.35, 3)) * shine
    corners = [(x - size[0] / 2, y - size[1] / 2), (x + size[0] / 2, y + size[1] / 2)]
    first, last = (tuple(int(v) for v in corner) for corner in corners)
    color = tuple(float(v) for v in np.minimum(tint, 3.0))
    # Drawn twice, so that what leaves the panorama at one side comes in at the other.
    for shift in (0, -width if last[0] >= width else width):
        start, end = (first[0] + shift, first[1]), (last[0] + shift, last[1])
        cv2.rectangle(image, start, end, color, thickness=-1)
        cv2.rectangle(image, start, end, tuple(0.5 * v for v in color), thickness=2)


def _noise(rng: np.random.Generator, height: int, width: int, cell: int) -> NDArray[np.float32]:
    """Smooth noise (H, W) that wraps around; bumps of about `cell` pixels."""
    coarse = rng.standard_normal((height // cell + 2, width // cell), np.float32)
    coarse = np.concatenate([coarse, coarse[:, :1]], axis=1)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


class Backdrop:
    """Views of one panorama."""

    def __init__(self, panorama: NDArray[np.float32]) -> None:
        self.panorama = np.concatenate([panorama, panorama[:, :1]], axis=1)
        self._rays: dict[str, NDArray[np.float32]] = {}

    def view(self, camera: Camera) -> NDArray[np.float32]:
        """What the camera sees of it, (H, W, 3) float32, linear.

        Rays are cached by the camera's name: its lens and intrinsics must not change.
        """
        rays = self._camera_rays(camera) @ camera.rig_from_camera[:3, :3].T.astype(np.float32)
        azimuth = cv2.phase(rays[..., 0], rays[..., 1])
        elevation = np.arcsin(np.clip(rays[..., 2], -1.0, 1.0))
        height, width = self.panorama.shape[0], self.panorama.shape[1] - 1
        columns = (1.0 - azimuth / np.float32(2 * np.pi)) * width
        rows = (0.5 - elevation / np.float32(np.pi)) * (height - 1)
        return cv2.remap(
            self.panorama,
            np.clip(columns, 0, width).astype(np.float32),
            rows.astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )

    def _camera_rays(self, camera: Camera) -> NDArray[np.float32]:
        if camera.name not in self._rays:
            x, y = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
            rays, valid = camera.unproject(np.stack([x, y], axis=-1).astype(np.float64))
            self._rays[camera.name] = np.where(valid[..., None], rays, (0, 0, 1)).astype(np.float32)
        return self._rays[camera.name]
