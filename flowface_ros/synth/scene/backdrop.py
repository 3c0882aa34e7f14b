"""What is behind the people: a room as a panorama at infinity, looked up along each pixel's ray."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from flowface_ros.camera.camera import Camera
from flowface_ros.synth.scene.background import sample_background

_WIDTH = 1536
"""Columns of a panorama: 4 pixels per degree, as sharp as what is out of focus needs."""
_SECTORS = 4
"""Walls of a room; each is a picture of its own."""
_HALF_HEIGHT = np.radians(50.0)
"""Elevation that the pictures reach; above and below their border goes on."""
_FADE_PX = 48
"""Over this width a wall turns into the next."""


def sample_panorama(rng: np.random.Generator) -> NDArray[np.float32]:
    """A random room (H, W, 3) float32, linear light; columns run clockwise around the
    rig's z axis, rows from elevation `_HALF_HEIGHT` down to its negative."""
    width = _WIDTH // _SECTORS
    height = round(_WIDTH * 2 * _HALF_HEIGHT / (2 * np.pi))
    walls = [sample_background(rng, width + _FADE_PX, height) for _ in range(_SECTORS)]
    # Walls of one room are lit alike.
    level = np.mean([wall.mean() for wall in walls])
    walls = [wall * np.sqrt(level / wall.mean()) for wall in walls]
    ramp = np.linspace(0.0, 1.0, _FADE_PX, dtype=np.float32)[:, None]
    for wall, before in zip(walls, [walls[-1], *walls[:-1]], strict=True):
        wall[:, :_FADE_PX] += (1.0 - ramp) * (before[:, width:] - wall[:, :_FADE_PX])
    return np.concatenate([wall[:, :width] for wall in walls], axis=1)


class Backdrop:
    """Views of one panorama."""

    def __init__(self, panorama: NDArray[np.float32]) -> None:
        self.panorama = np.concatenate([panorama, panorama[:, :1]], axis=1)
        self._rays: dict[str, NDArray[np.float32]] = {}
        self._latest: dict[str, tuple[Camera, NDArray[np.float32]]] = {}

    def view(self, camera: Camera) -> NDArray[np.float32]:
        """What the camera sees of it, (H, W, 3) float32, linear.

        Cached by the camera's name, the view while the camera stands still, its rays for ever: the
        lens and intrinsics of a name must not change.
        """
        seen = self._latest.get(camera.name)
        if seen is None or seen[0] != camera:
            seen = camera, self._look(camera)
            self._latest[camera.name] = seen
        return seen[1]

    def _look(self, camera: Camera) -> NDArray[np.float32]:
        rays = self._camera_rays(camera) @ camera.rig_from_camera[:3, :3].T.astype(np.float32)
        azimuth = cv2.phase(rays[..., 0], rays[..., 1])
        elevation = np.arcsin(np.clip(rays[..., 2], -1.0, 1.0))
        height, width = self.panorama.shape[0], self.panorama.shape[1] - 1
        # Straight ahead is the middle of the second wall.
        turn = np.float32(1.0 + 1.5 / _SECTORS) - azimuth / np.float32(2 * np.pi)
        columns = np.mod(turn, np.float32(1.0)) * width
        rows = (0.5 - elevation / np.float32(2 * _HALF_HEIGHT)) * (height - 1)
        return cv2.remap(
            self.panorama, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )

    def _camera_rays(self, camera: Camera) -> NDArray[np.float32]:
        if camera.name not in self._rays:
            x, y = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
            rays, valid = camera.unproject(np.stack([x, y], axis=-1).astype(np.float64))
            self._rays[camera.name] = np.where(valid[..., None], rays, (0, 0, 1)).astype(np.float32)
        return self._rays[camera.name]
