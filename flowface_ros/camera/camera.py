"""A calibrated camera: pixels, rays and points of its own frame."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowface_ros import rigid
from flowface_ros.camera.lens import Lens

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_RIGID = 1e-4
"""How far R^T R may be from identity: transforms read from text have some five digits."""

_ON_PLANE = 1e-9
"""Unit rays with a smaller z are too close to 90 degrees to meet the z = 1 plane."""


@dataclass(frozen=True, eq=False)
class Camera:
    """One camera of a rig, in OpenCV's optical frame (x right, y down, z forward).

    name: what the rest of the program calls it.
    width, height: of the image, pixels.
    intrinsics: (3, 3) K of that image; the centre of its top-left pixel is (0, 0).
    lens: distortion between the z = 1 plane and K.
    rig_from_camera: (4, 4) maps points of the camera's frame into the rig's, metres.
    frame: name of the optical frame in TF, "" if not known.

    Raises ValueError that names the field for a size that is not positive, an intrinsic matrix of
    another shape or form or with a zero, negative or not finite focal length, and a transform
    that is not rigid.
    """

    name: str
    width: int
    height: int
    intrinsics: NDArray[np.float64]
    lens: Lens = field(default_factory=Lens)
    rig_from_camera: NDArray[np.float64] = field(default_factory=lambda: np.eye(4))
    frame: str = ""

    def __post_init__(self) -> None:
        for label, size in (("width", self.width), ("height", self.height)):
            if int(size) != size or size <= 0:
                raise ValueError(f"image {label} of camera {self.name!r} is {size}; must be > 0")
        for label, check in (
            ("intrinsics", _checked_intrinsics),
            ("rig_from_camera", _checked_transform),
        ):
            try:
                matrix = check(np.array(getattr(self, label), np.float64))
            except ValueError as error:
                raise ValueError(f"{label} of camera {self.name!r}: {error}") from None
            matrix.flags.writeable = False
            object.__setattr__(self, label, matrix)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Camera) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    @property
    def camera_from_rig(self) -> Array:
        """(4, 4), the inverse of `rig_from_camera`."""
        return rigid.inverse(self.rig_from_camera)

    def project(self, points_camera: ArrayLike) -> tuple[Array, Mask]:
        """Pixels (..., 2) of points (..., 3) of the camera's frame, metres, and valid (...).

        Not valid, with NaN pixels: points behind a pinhole, or where the lens folds back. A valid
        pixel may lie outside the image: see `contains`.
        """
        pixels, _, valid = self.project_with_jacobian(points_camera)
        return pixels, valid

    def project_with_jacobian(self, points_camera: ArrayLike) -> tuple[Array, Array, Mask]:
        """As `project`, with d pixel / d point (..., 2, 3) in px / m, NaN where not valid."""
        points = np.asarray(points_camera, np.float64)
        if points.shape[-1:] != (3,):
            raise ValueError(f"points_camera must have shape (..., 3), got {points.shape}")
        pixels, jacobian, valid = self.lens.project(points.reshape(-1, 3))
        (fx, skew, cx), (_, fy, cy) = self.intrinsics[:2]
        pixels[:, 0] = fx * pixels[:, 0] + skew * pixels[:, 1] + cx
        pixels[:, 1] = fy * pixels[:, 1] + cy
        jacobian[:, 0] *= fx
        if skew:
            jacobian[:, 0] += skew * jacobian[:, 1]
        jacobian[:, 1] *= fy
        pixels[~valid], jacobian[~valid] = np.nan, np.nan
        shape = points.shape[:-1]
        return pixels.reshape(*shape, 2), jacobian.reshape(*shape, 2, 3), valid.reshape(shape)

    def unproject(self, pixels: ArrayLike) -> tuple[Array, Mask]:
        """Unit rays (..., 3) in the camera's frame of pixels (..., 2), and valid (...).

        Not valid, with NaN rays: pixels that no ray of the lens's valid region reaches.
        """
        pixel = np.asarray(pixels, np.float64)
        if pixel.shape[-1:] != (2,):
            raise ValueError(f"pixels must have shape (..., 2), got {pixel.shape}")
        (fx, skew, cx), (_, fy, cy) = self.intrinsics[:2]
        distorted = np.empty((pixel.size // 2, 2))
        distorted[:, 1] = (pixel[..., 1].reshape(-1) - cy) / fy
        distorted[:, 0] = (pixel[..., 0].reshape(-1) - cx - skew * distorted[:, 1]) / fx
        rays, valid = self.lens.unproject(distorted)
        rays[~valid] = np.nan
        shape = pixel.shape[:-1]
        return rays.reshape(*shape, 3), valid.reshape(shape)

    def undistort(self, pixels: ArrayLike) -> tuple[Array, Mask]:
        """Undistorted points (..., 2) on the z = 1 plane of pixels (..., 2), and valid (...).

        As `unproject`; rays of a fisheye at 90 degrees and beyond are not valid here.
        """
        rays, valid = self.unproject(pixels)
        valid = valid & (rays[..., 2] > _ON_PLANE)
        depth = np.where(valid, rays[..., 2], np.nan)
        return rays[..., :2] / depth[..., None], valid

    def undistort_with_jacobian(self, pixels: ArrayLike) -> tuple[Array, Array, Mask]:
        """As `undistort`, with d normalised / d pixel (..., 2, 2), NaN where not valid.

        It carries a pixel's sigma into undistorted coordinates.
        """
        normalised, valid = self.undistort(pixels)
        points = np.concatenate([normalised, np.ones((*normalised.shape[:-1], 1))], axis=-1)
        points[~valid] = (0.0, 0.0, 1.0)
        _, forward, _ = self.project_with_jacobian(points)
        a, b, c, d = (forward[..., i, j] for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)))
        adjugate = np.stack([np.stack([d, -b], -1), np.stack([-c, a], -1)], -2)
        jacobian = adjugate / (a * d - b * c)[..., None, None]
        jacobian[~valid] = np.nan
        return normalised, jacobian, valid

    def contains(self, pixels: ArrayLike) -> Mask:
        """Whether pixels (..., 2) lie on the image, borders of the outer pixels included."""
        x, y = np.moveaxis(np.asarray(pixels, np.float64), -1, 0)
        return (x >= -0.5) & (x <= self.width - 0.5) & (y >= -0.5) & (y <= self.height - 0.5)

    def cropped(self, x: int, y: int, width: int, height: int) -> Camera:
        """The camera of a window of the image whose top-left pixel is (x, y)."""
        intrinsics = self.intrinsics.copy()
        intrinsics[:2, 2] -= (x, y)
        return replace(self, width=width, height=height, intrinsics=intrinsics)

    def scaled(self, width: int, height: int) -> Camera:
        """The camera of the image resized to width x height, corners kept (as cv2.resize does)."""
        factor = np.array([width / self.width, height / self.height])
        return replace(
            self, width=width, height=height, intrinsics=scaled_intrinsics(self.intrinsics, factor)
        )

    def moved(self, rig_from_camera: ArrayLike) -> Camera:
        """The same camera elsewhere in the rig."""
        return replace(self, rig_from_camera=np.asarray(rig_from_camera, np.float64))

    def _key(self) -> tuple[object, ...]:
        # Adding zero turns -0.0, whose bytes differ, into 0.0.
        matrices = (self.intrinsics + 0.0).tobytes(), (self.rig_from_camera + 0.0).tobytes()
        return self.name, self.width, self.height, self.lens, self.frame, *matrices


def pinhole(width: int, height: int, horizontal_fov: float, name: str = "camera") -> Camera:
    """A camera without distortion for pictures whose calibration is not known.

    horizontal_fov: angle (rad) between the image's left and right borders, in (0, pi).
    """
    if not 0 < horizontal_fov < np.pi:
        raise ValueError(f"horizontal_fov is {horizontal_fov} rad; must be between 0 and pi")
    focal = 0.5 * width / np.tan(0.5 * horizontal_fov)
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    return Camera(name, width, height, intrinsics_matrix(focal, focal, centre_x, centre_y))


def intrinsics_matrix(fx: float, fy: float, cx: float, cy: float) -> Array:
    """K (3, 3) without skew, pixels."""
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def scaled_intrinsics(intrinsics: Array, factor: Array) -> Array:
    """K (3, 3) of an image whose pixels are 1 / factor (2,) as wide and as high.

    A pixel's centre is half a pixel from its border, so that u' = (u + 0.5) factor - 0.5.
    """
    scaled = intrinsics.copy()
    scaled[:2] *= np.asarray(factor, np.float64)[:, None]
    scaled[:2, 2] += 0.5 * (np.asarray(factor) - 1)
    return scaled


def _checked_intrinsics(matrix: Array) -> Array:
    if matrix.shape != (3, 3):
        raise ValueError(f"K must have shape (3, 3), got {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError(f"K must be finite, got {matrix.tolist()}")
    for label, focal in (("fx", matrix[0, 0]), ("fy", matrix[1, 1])):
        if focal <= 0:
            raise ValueError(f"focal length {label} is {focal}; must be > 0")
    if matrix[1, 0] != 0 or not np.array_equal(matrix[2], (0, 0, 1)):
        raise ValueError(f"K must be upper triangular with last row 0 0 1, got {matrix.tolist()}")
    return matrix


def _checked_transform(matrix: Array) -> Array:
    if matrix.shape != (4, 4):
        raise ValueError(f"must have shape (4, 4), got {matrix.shape}")
    rotation = matrix[:3, :3]
    if (
        not np.isfinite(matrix).all()
        or np.abs(rotation.T @ rotation - np.eye(3)).max() > _RIGID
        or np.linalg.det(rotation) < 0
        or not np.array_equal(matrix[3], (0, 0, 0, 1))
    ):
        raise ValueError(f"must be a rotation and a translation, got {matrix.tolist()}")
    return matrix
