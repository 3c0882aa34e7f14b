"""What a tracker, or the truth, says about the heads in a recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from flowface_ros import rigid
from flowface_ros.camera.camera import Camera
from flowface_ros.head.model import HeadModel

Array = NDArray[np.float64]

TRACKED, COASTING = 2, 3
"""Face.status of a head that is measured, and of one that is predicted without measurement."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """The topology that a tracker's vertices belong to.

    model_hash: content hash of its head model. triangles: (F, 3).
    shape_names, expression_names, blendshape_names: of the coefficients.
    """

    model_hash: int
    triangles: NDArray[np.int32]
    shape_names: tuple[str, ...] = ()
    expression_names: tuple[str, ...] = ()
    blendshape_names: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Face:
    """One head at one moment, in the rig frame.

    rig_from_face: (4, 4), frame `face_<id>`. pose_covariance: (6, 6) position (m) then rotation
    (rad, left perturbation), rig axes; None when unknown. vertices: (V, 3) metres, None without.
    expression (E,), expression_sigma (E,) or (0,), shape (S,), blendshapes (52,) or (0,).
    status: as in Face.msg.
    """

    id: str
    rig_from_face: Array
    vertices: NDArray[np.floating] | None = None
    pose_covariance: Array | None = None
    expression: Array = field(default_factory=lambda: np.zeros(0))
    expression_sigma: Array = field(default_factory=lambda: np.zeros(0))
    shape: Array = field(default_factory=lambda: np.zeros(0))
    blendshapes: Array = field(default_factory=lambda: np.zeros(0))
    status: int = TRACKED

    @property
    def position(self) -> Array:
        """(3,) origin of the face's frame, metres."""
        return self.rig_from_face[:3, 3]


@dataclass(frozen=True, eq=False)
class Tracking:
    """All heads at T moments. ValueError for stamps that do not fit, poses that are not finite.

    stamps_ns: (T,) increasing. faces: T lists. mesh: None when there are no meshes.
    latency_ms: (T,) from the image's stamp to the recorded message; None when not recorded live.
    """

    stamps_ns: NDArray[np.int64]
    faces: Sequence[Sequence[Face]]
    mesh: Mesh | None = None
    latency_ms: Array | None = None

    def __post_init__(self) -> None:
        if len(self.stamps_ns) != len(self.faces):
            raise ValueError(f"{len(self.stamps_ns)} stamps for {len(self.faces)} lists of faces")
        if np.any(np.diff(self.stamps_ns) <= 0):
            raise ValueError("stamps_ns must increase")
        for stamp, faces in zip(self.stamps_ns, self.faces, strict=True):
            for face in faces:
                _check_finite(face, int(stamp))

    def __len__(self) -> int:
        return len(self.stamps_ns)


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where the texels of a UV grid are in one image, as a FaceAlignment says.

    pixels: (N, 2). sigma: (N,) pixels. grid: texels per side.
    """

    stamp_ns: int
    camera: str
    atlas_hash: int
    grid: int
    pixels: NDArray[np.float32]
    sigma: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Recording:
    """Everything that is judged.

    cameras: by name, the camera at a stamp (ns): a moving rig moves it.
    model: the head model of the true mesh, for regions, neutral shapes and inter-ocular distance;
        None when it is not at hand. predicted_model: the prediction's.
    """

    truth: Tracking
    prediction: Tracking
    cameras: Mapping[str, Callable[[int], Camera]]
    model: HeadModel | None = None
    predicted_model: HeadModel | None = None
    alignments: Sequence[Alignment] = ()


def _check_finite(face: Face, stamp_ns: int) -> None:
    """What is judged must be numbers: decompositions may never end on infinity."""
    for name in ("rig_from_face", "vertices"):
        values = getattr(face, name)
        if values is not None and not np.isfinite(values).all():
            raise ValueError(f"{name} of face {face.id} at {stamp_ns} ns is not finite")


def face_between(first: Face, second: Face, share: float) -> Face:
    """The same person at a moment between two, share in [0, 1] of the way; without covariance."""
    rotations = Rotation.from_matrix(
        np.stack([first.rig_from_face[:3, :3], second.rig_from_face[:3, :3]])
    )
    rotation = Slerp([0.0, 1.0], rotations)(share).as_matrix()

    def mix(a: NDArray, b: NDArray) -> NDArray:
        return (1 - share) * a + share * b

    vertices = None
    if first.vertices is not None and second.vertices is not None:
        vertices = mix(first.vertices, second.vertices)
    names = ("expression", "shape", "blendshapes")
    return Face(
        id=first.id,
        rig_from_face=rigid.transform(rotation, mix(first.position, second.position)),
        vertices=vertices,
        status=first.status,
        **{name: mix(getattr(first, name), getattr(second, name)) for name in names},
    )
