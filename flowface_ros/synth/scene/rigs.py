"""Camera rigs around people: one to eight cameras on an arc, with lenses as cameras have them.

The rig frame is a robot's (REP-103): x towards the people, y to the left, z up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowface_ros.camera.camera import Camera, intrinsics_matrix
from flowface_ros.camera.lens import Lens
from flowface_ros.camera.rig import Rig
from flowface_ros.rigid import rotation_from_rotvec, transform
from flowface_ros.synth.scene.curves import Waves, sample_waves, soft_limit

Array = NDArray[np.float64]

RIG_FRAME = "rig"
MOVING_FRAME = "rig_head"
"""Frame that carries the cameras of a moving rig; it moves in `RIG_FRAME`."""
MAX_CAMERAS = 8
MAX_FACES = 6
LENS_MODELS = ("plumb_bob", "rational_polynomial", "equidistant", "none")

FACE_SPACING_M = 0.5
"""Between neighbours: two head widths and both their sways, so that they never touch."""
_FACE_SHARE = (0.42, 0.6)
"""Height of one person's head in the image, as a share of the image height; one for all cameras."""
_HEAD_HEIGHT_M = 0.26
_CROWD_SHARE = 0.85
"""Width of several people in the image, as a share of the image width."""
_CROWD_FOCAL = 0.8
"""Focal length over the image width for several people: a field of view of 64 degrees."""
_ARC_DEG = (0.0, 0.0, 34.0, 60.0, 76.0, 90.0, 100.0, 106.0, 110.0)
"""Angle between the outermost cameras of a rig, by the number of cameras."""


def camera_names(count: int) -> tuple[str, ...]:
    """Names of a rig's cameras from the people's right to their left (left in the rig's eyes)."""
    if not 1 <= count <= MAX_CAMERAS:
        raise ValueError(f"cameras: {count} is not in 1..{MAX_CAMERAS}")
    named = {1: ("camera",), 2: ("left", "right"), 3: ("left", "center", "right")}
    return named.get(count, tuple(f"cam{i}" for i in range(count)))


def look_at(position: ArrayLike, target: ArrayLike, roll: float = 0.0) -> Array:
    """rig_from_camera (4, 4) of an optical frame at `position` (3,) that looks at `target` (3,).

    The rig's z axis is up in the image, turned by `roll` radians about the optical axis.
    """
    origin = np.asarray(position, np.float64)
    forward = np.asarray(target, np.float64) - origin
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    upright = np.column_stack([right, np.cross(forward, right), forward])
    return transform(upright @ rotation_from_rotvec([0.0, 0.0, roll]), origin)


def sample_lens(rng: np.random.Generator, model: str, normalised_radius: float) -> Lens:
    """A lens of the size that real ones have.

    normalised_radius: distance of the image corner from the principal point over the focal length.
    The strength is chosen so that a corner moves by 2 to 6 percent of that distance, which keeps
    the lens one-to-one over the whole image.
    """
    if model == "none":
        return Lens()
    bend = rng.uniform(0.02, 0.06) * rng.choice([-1.0, -1.0, 1.0]) / normalised_radius**2
    fine = -0.25 * bend / normalised_radius**2
    p1, p2 = rng.normal(0.0, 4e-4, 2)
    if model == "plumb_bob":
        return Lens(model, np.array([bend, fine, p1, p2, 0.0]))
    if model == "rational_polynomial":
        # (1 + (k + b) r^2 + ...) / (1 + k r^2 + ...) bends by about b r^2 for any common k.
        k = rng.uniform(0.1, 0.4)
        return Lens(model, np.array([k + bend, fine, p1, p2, 0.0, k, 0.0, 0.0]))
    if model == "equidistant":
        return Lens(model, rng.normal(0.0, 1.0, 4) * (0.02, 0.01, 0.005, 0.002))
    raise ValueError(f"lens: {model!r} is not one of {', '.join(LENS_MODELS)}")


@dataclass(frozen=True)
class RigMotion:
    """A carrier that pans, tilts and sways, such as a robot's head: rig_from_carrier over time."""

    angles: Waves
    sway: Waves

    def pose(self, t: float) -> Array:
        """rig_from_carrier (4, 4) at time t."""
        # Roll, tilt and pan stay small: the people must stay in view.
        rotation = rotation_from_rotvec(soft_limit(self.angles.values(t), [0.05, 0.10, 0.15]))
        return transform(rotation, soft_limit(self.sway.values(t), 0.05))


def sample_rig_motion(rng: np.random.Generator) -> RigMotion:
    """Motion slow enough that TF at 100 Hz, interpolated, is exact to a hundredth of a pixel."""
    return RigMotion(
        angles=sample_waves(rng, [0.01, 0.03, 0.07], (0.1, 0.4), components=3),
        sway=sample_waves(rng, np.full(3, 0.01), (0.1, 0.5), components=3),
    )


@dataclass(frozen=True)
class MovingRig:
    """Cameras fixed to a carrier, which stands still (`motion` None) or moves.

    cameras: `rig_from_camera` of each holds carrier_from_camera.
    """

    cameras: tuple[Camera, ...]
    motion: RigMotion | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(camera.name for camera in self.cameras)

    @property
    def primary(self) -> int:
        """Row of the camera whose stamps the truth has: the one in the middle."""
        return (len(self.cameras) - 1) // 2

    def carrier_pose(self, t: float) -> Array:
        """rig_from_carrier (4, 4) at time t, seconds."""
        return np.eye(4) if self.motion is None else self.motion.pose(t)

    def at(self, t: float) -> Rig:
        """The rig as it stands at time t."""
        carrier = self.carrier_pose(t)
        return Rig(tuple(c.moved(carrier @ c.rig_from_camera) for c in self.cameras), RIG_FRAME)


def people_places(rng: np.random.Generator, count: int, distance_m: float) -> Array:
    """Mean head positions (count, 3), side by side before the rig, metres in the rig frame."""
    if not 0 <= count <= MAX_FACES:
        raise ValueError(f"faces: {count} is not in 0..{MAX_FACES}")
    y = (np.arange(count) - (count - 1) / 2) * FACE_SPACING_M
    x = distance_m + rng.uniform(-0.05, 0.05, count)
    return np.column_stack([x, y, rng.uniform(-0.04, 0.04, count)])


def subject_distance(rng: np.random.Generator, faces: int) -> float:
    """Distance of the people from the rig's origin, metres: as near as the image holds them all."""
    if faces <= 1:
        return rng.uniform(0.7, 1.0)
    width = faces * FACE_SPACING_M
    return max(1.0, width * _CROWD_FOCAL / _CROWD_SHARE) * rng.uniform(1.0, 1.1)


def sample_rig(
    rng: np.random.Generator,
    cameras: int,
    size: tuple[int, int],
    distance_m: float,
    faces: int = 1,
    lens: str = "plumb_bob",
    moving: bool = False,
) -> MovingRig:
    """A random rig of `cameras` cameras of `size` (width, height) that look at the people.

    distance_m: of the people from the rig's origin, along x.
    Raises ValueError for a count, size or lens that is not possible.
    """
    names = camera_names(cameras)
    width, height = size
    if width < 16 or height < 16:
        raise ValueError(f"size: {width}x{height} is too small, at least 16x16")
    # A crowd is seen from the front: from the side they would hide each other.
    arc = np.radians(_ARC_DEG[cameras]) * (1.0 if faces <= 1 else 0.5)
    angles = np.linspace(arc / 2, -arc / 2, cameras) + rng.normal(0.0, np.radians(1.5), cameras)
    share = rng.uniform(*_FACE_SHARE)
    made = []
    for i, (name, angle) in enumerate(zip(names, angles, strict=True)):
        radius = distance_m * rng.uniform(0.92, 1.08)
        # Many cameras stand in two rows.
        lift = rng.normal(0.0, 0.03) + (0.12 * (-1) ** i if cameras > 3 else 0.0)
        pose = _arc_pose(rng, distance_m, radius, angle, lift)
        intrinsics = _intrinsics(rng, width, height, radius, share if faces <= 1 else None)
        corner = float(np.hypot(width, height) / 2 / intrinsics[0, 0])
        made.append(
            Camera(
                name=name,
                width=width,
                height=height,
                intrinsics=intrinsics,
                lens=sample_lens(rng, lens, corner),
                rig_from_camera=pose,
                frame=f"{name}_optical_frame",
            )
        )
    return MovingRig(tuple(made), sample_rig_motion(rng) if moving else None)


def _arc_pose(
    rng: np.random.Generator, distance_m: float, radius: float, angle: float, lift: float
) -> Array:
    """rig_from_camera (4, 4) on the arc around the people, aimed and levelled by hand."""
    centre = np.array([distance_m, 0.0, 0.0])
    position = centre + np.array([-radius * np.cos(angle), radius * np.sin(angle), lift])
    target = centre + rng.normal(0.0, 0.015, 3)
    return look_at(position, target, rng.normal(0.0, np.radians(1.0)))


def _intrinsics(
    rng: np.random.Generator, width: int, height: int, distance_m: float, share: float | None
) -> Array:
    """K (3, 3): one head fills its share of the image's height, or (None) several its width;
    pixels are nearly square and the principal point nearly in the middle."""
    if share is not None:
        focal = min(share * height * distance_m / _HEAD_HEIGHT_M, 1.6 * width)
    else:
        focal = _CROWD_FOCAL * width
    focal *= rng.uniform(0.95, 1.05)
    centre = (np.array([width, height]) - 1) / 2 + rng.normal(0.0, 0.01, 2) * (width, height)
    return intrinsics_matrix(focal, focal * rng.uniform(0.998, 1.002), *centre)
