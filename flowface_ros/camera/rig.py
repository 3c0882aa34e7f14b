"""Several calibrated cameras that share a frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowface_ros import rigid
from flowface_ros.camera.camera import Camera

Array = NDArray[np.float64]

_REFINEMENTS = 2
"""Gauss-Newton steps after the linear solution; the second changes less than a micrometre."""
_PARALLEL = 1e-12
"""Rays whose normal matrix is worse conditioned than this do not meet."""


@dataclass(frozen=True)
class Rig:
    """Cameras with different names, in the order given; `frame` names the rig's frame in TF.

    Raises ValueError for no camera and for two of the same name.
    """

    cameras: tuple[Camera, ...]
    frame: str = "rig"

    def __post_init__(self) -> None:
        object.__setattr__(self, "cameras", tuple(self.cameras))
        if not self.cameras:
            raise ValueError("cameras is empty; a rig has at least one camera")
        duplicates = sorted({name for name in self.names if self.names.count(name) > 1})
        if duplicates:
            raise ValueError(f"cameras of a rig need different names; twice: {duplicates}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the cameras, in order."""
        return tuple(camera.name for camera in self.cameras)

    def __len__(self) -> int:
        return len(self.cameras)

    def __iter__(self) -> Iterator[Camera]:
        return iter(self.cameras)

    def __getitem__(self, name: str) -> Camera:
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise KeyError(f"no camera {name!r}; the rig has {', '.join(self.names)}")

    def rig_from_camera(self, name: str) -> Array:
        """(4, 4) of the camera of that name."""
        return self[name].rig_from_camera

    def triangulate(self, pixels: Mapping[str, ArrayLike]) -> Array:
        """Points (N, 3) of the rig's frame that cameras see at pixels (N, 2), by camera name.

        A camera that does not see a point has NaN there. The linear solution nearest to all rays,
        then Gauss-Newton on the reprojection error. NaN for a point with fewer than two valid
        views, with rays that are parallel, or behind a camera that sees it.
        """
        views = [(self[name], np.asarray(seen, np.float64)) for name, seen in pixels.items()]
        if len({seen.shape for _, seen in views}) > 1:
            raise ValueError(f"pixels differ in shape: {[seen.shape for _, seen in views]}")
        points = _nearest_to_rays(views)
        for _ in range(_REFINEMENTS):
            points = points + _reprojection_step(views, points)
        return points


def _nearest_to_rays(views: list[tuple[Camera, Array]]) -> Array:
    """Points (N, 3) of least squared distance to the rays."""
    count = len(views[0][1]) if views else 0
    normal, right, seen_by = np.zeros((count, 3, 3)), np.zeros((count, 3)), np.zeros(count, int)
    for camera, pixels in views:
        rays, valid = camera.unproject(pixels)
        directions = rays @ camera.rig_from_camera[:3, :3].T
        across = np.eye(3) - directions[:, :, None] * directions[:, None, :]
        across[~valid] = 0
        normal += across
        right += across @ camera.rig_from_camera[:3, 3]
        seen_by += valid
    return _solve(normal, right, seen_by >= 2)


def _reprojection_step(views: list[tuple[Camera, Array]], points: Array) -> Array:
    """One Gauss-Newton step (N, 3); NaN where a camera that sees the point cannot project it."""
    normal, right = np.zeros((len(points), 3, 3)), np.zeros((len(points), 3))
    usable = np.isfinite(points.sum(axis=1))
    for camera, pixels in views:
        inverse = camera.camera_from_rig
        predicted, jacobian, valid = camera.project_with_jacobian(rigid.apply(inverse, points))
        jacobian = jacobian @ inverse[:3, :3]
        seen = camera.unproject(pixels)[1]
        usable &= valid | ~seen
        use = seen & valid
        residual = np.where(use[:, None], pixels - predicted, 0.0)
        jacobian = np.where(use[:, None, None], jacobian, 0.0)
        normal += np.swapaxes(jacobian, 1, 2) @ jacobian
        right += np.einsum("nij,ni->nj", jacobian, residual)
    return _solve(normal, right, usable)


def _solve(normal: Array, right: Array, usable: NDArray[np.bool_]) -> Array:
    solution = np.full_like(right, np.nan)
    eigenvalues = np.linalg.eigvalsh(np.where(usable[:, None, None], normal, 0.0))
    usable = usable & (eigenvalues[:, 0] > _PARALLEL * eigenvalues[:, 2])
    solution[usable] = np.linalg.solve(normal[usable], right[usable][:, :, None])[:, :, 0]
    return solution
