"""The head model: FLAME's structure for any topology."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowface_ros.head.checks import check_range, check_shape, digest, read_only
from flowface_ros.head.surface import SurfacePoints

JOINT_NAMES = ("root", "neck", "jaw", "left_eye", "right_eye")

VERTEX_GROUP_NAMES = (
    "skin",
    "face",
    "ears",
    "neck",
    "scalp",
    "lips",
    "eyelids",
    "left_eyelids",
    "right_eyelids",
    "brows",
    "nose",
    "left_eyeball",
    "right_eyeball",
    "teeth",
    "upper_teeth",
    "lower_teeth",
    "gums",
    "tongue",
    "mouth_cavity",
)

_SUM_TOLERANCE = 1e-3
"""How far weights that must sum to 1 may be from it: files hold them in float32 and rounded."""

FIELD_DTYPES: dict[str, type[np.generic]] = {
    "template": np.float32,
    "shape_basis": np.float32,
    "expression_basis": np.float32,
    "expression_bounds": np.float64,
    "pose_correctives": np.float32,
    "joint_regressor": np.float64,
    "parents": np.int32,
    "joint_bounds": np.float64,
    "skinning_weights": np.float32,
    "triangles": np.int32,
    "uv": np.float32,
    "uv_triangles": np.int32,
}


@dataclass(frozen=True, eq=False, kw_only=True)
class JointBlendshapes:
    """ARKit blendshapes that are joint rotations: weight w adds w * rotation to the joint.

    names: B ARKit names, e.g. jawOpen, eyeLookUpLeft.
    joints: (B,) int32, rows of `JOINT_NAMES`.
    rotations: (B, 3) float64, the joint's rotation vector at weight 1, radians.
    """

    names: tuple[str, ...]
    joints: NDArray[np.int32]
    rotations: NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class HeadModel:
    """A linear-blend-skinned head. Metres; the head's frame: x to the subject's left, y up, z out
    of the face. Arrays are made read-only. ValueError names the field that does not fit.

    As in FLAME, the joints are `joint_regressor @ (template + shape + expression)`; offsets of a
    state do not move them. The root never rotates: the pose of the head takes its place.

    name, version: what it is, e.g. "flowface" and "1".
    licence: the terms it may be used under, e.g. "CC0-1.0".
    template: (V, 3) float32 neutral mean vertices.
    shape_basis: (V, 3, S) float32, displacement per standard deviation of the identity coefficient.
    shape_names: S names.
    expression_basis: (V, 3, E) float32, displacement at coefficient 1.
    expression_names: E names, ARKit spelling where ARKit has the motion.
    expression_bounds: (E, 2) float64, lowest and highest allowed coefficient.
    pose_correctives: (V, 3, 9 * (J - 1)) float32, displacement per entry of R - I (row-major) of
        the joints after the root, as in FLAME; None for none.
    joint_regressor: (J, V) float64, joints of a shaped neutral mesh; rows sum to 1.
    parents: (J,) int32, the root's is -1.
    joint_bounds: (J, 3, 2) float64, range of each joint's rotation vector components, radians.
    skinning_weights: (V, J) float32, rows sum to 1.
    triangles: (F, 3) int32, counter-clockwise seen from outside.
    uv: (U, 2) float32 in [0, 1], origin at the top left of the atlas, v down.
    uv_triangles: (F, 3) int32, rows of `uv` for each triangle corner.
    atlas_hash: uint64 of the UV layout that the networks were trained on: `hash_atlas` of the head
        that defines the atlas; a head that was registered to that atlas carries the same value.
    landmarks: named SurfacePoints: "sellion" (1), "ibug68" (68), and where the head knows them
        "left_iris", "right_iris" (1).
    vertex_groups: named (n,) int32 vertex indices, names as in `VERTEX_GROUP_NAMES`. "skin" is the
        outer skin: the island of the atlas that networks are asked about.
    blendshapes: how joint rotations are reported as ARKit weights; None when the head has no
        such mapping.
    """

    name: str
    version: str
    licence: str
    template: NDArray[np.float32]
    shape_basis: NDArray[np.float32]
    shape_names: tuple[str, ...]
    expression_basis: NDArray[np.float32]
    expression_names: tuple[str, ...]
    expression_bounds: NDArray[np.float64]
    pose_correctives: NDArray[np.float32] | None
    joint_regressor: NDArray[np.float64]
    parents: NDArray[np.int32]
    joint_bounds: NDArray[np.float64]
    skinning_weights: NDArray[np.float32]
    triangles: NDArray[np.int32]
    uv: NDArray[np.float32]
    uv_triangles: NDArray[np.int32]
    atlas_hash: int
    landmarks: Mapping[str, SurfacePoints] = field(default_factory=dict)
    vertex_groups: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)
    blendshapes: JointBlendshapes | None = None

    def __post_init__(self) -> None:
        for name, dtype in FIELD_DTYPES.items():
            if getattr(self, name) is not None:
                self._set(name, read_only(name, getattr(self, name), dtype))
        self._set("shape_names", tuple(str(n) for n in self.shape_names))
        self._set("expression_names", tuple(str(n) for n in self.expression_names))
        self._set("atlas_hash", int(self.atlas_hash))
        self._check_shapes()
        self._check_values()
        self._freeze_landmarks()
        self._freeze_groups()
        self._freeze_blendshapes()

    def __repr__(self) -> str:
        return f"<HeadModel {self.name} {self.version}, {self.vertex_count} vertices>"

    @property
    def vertex_count(self) -> int:
        return len(self.template)

    @property
    def triangle_count(self) -> int:
        return len(self.triangles)

    @property
    def joint_count(self) -> int:
        return len(self.parents)

    @property
    def shape_count(self) -> int:
        return len(self.shape_names)

    @property
    def expression_count(self) -> int:
        return len(self.expression_names)

    @cached_property
    def field_digests(self) -> dict[str, str]:
        """SHA-256 of every field's canonical content, by the field's name in the file."""
        return {name: digest(value) for name, value in self.fields().items()}

    @cached_property
    def model_hash(self) -> int:
        """uint64 of the whole content: the first 8 bytes of SHA-256 over the fields' digests."""
        text = "\n".join(f"{name} {value}" for name, value in sorted(self.field_digests.items()))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")

    def fields(self) -> dict[str, NDArray]:
        """The content as named arrays: what the model file holds and what the hash covers."""
        arrays: dict[str, NDArray] = {
            name: np.array(getattr(self, name)) for name in ("name", "version", "licence")
        }
        arrays |= {n: getattr(self, n) for n in FIELD_DTYPES if getattr(self, n) is not None}
        arrays["shape_names"] = np.array(self.shape_names, np.str_)
        arrays["expression_names"] = np.array(self.expression_names, np.str_)
        arrays["atlas_hash"] = np.array(self.atlas_hash, np.uint64)
        for name, points in self.landmarks.items():
            arrays[f"landmarks/{name}/triangle"] = points.triangle
            arrays[f"landmarks/{name}/barycentric"] = points.barycentric
        arrays |= {f"vertex_groups/{n}": group for n, group in self.vertex_groups.items()}
        if self.blendshapes is not None:
            arrays["blendshapes/names"] = np.array(self.blendshapes.names, np.str_)
            arrays["blendshapes/joints"] = self.blendshapes.joints
            arrays["blendshapes/rotations"] = self.blendshapes.rotations
        return arrays

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_shapes(self) -> None:
        V, F, J = len(self.template), len(self.triangles), len(JOINT_NAMES)
        S, E = len(self.shape_names), len(self.expression_names)
        expected: dict[str, tuple[int | None, ...]] = {
            "template": (None, 3),
            "shape_basis": (V, 3, S),
            "expression_basis": (V, 3, E),
            "expression_bounds": (E, 2),
            "pose_correctives": (V, 3, 9 * (J - 1)),
            "joint_regressor": (J, V),
            "parents": (J,),
            "joint_bounds": (J, 3, 2),
            "skinning_weights": (V, J),
            "triangles": (None, 3),
            "uv": (None, 2),
            "uv_triangles": (F, 3),
        }
        for name, shape in expected.items():
            if getattr(self, name) is not None:
                check_shape(name, getattr(self, name), shape)
        if not V or not F:
            raise ValueError(f"template and triangles: {V} vertices and {F} triangles; need both")

    def _check_values(self) -> None:
        for name, dtype in FIELD_DTYPES.items():
            array = getattr(self, name)
            if array is None or not issubclass(dtype, np.floating):
                continue
            if not np.isfinite(array).all():
                raise ValueError(f"{name} holds values that are not finite")
        check_range("triangles", self.triangles, len(self.template))
        check_range("uv_triangles", self.uv_triangles, len(self.uv))
        if self.parents[0] != -1 or np.any(self.parents[1:] < 0):
            raise ValueError(f"parents is {self.parents.tolist()}; only the first may be -1")
        if np.any(self.parents >= np.arange(len(self.parents))):
            raise ValueError(f"parents is {self.parents.tolist()}; a parent comes before its child")
        for name in ("joint_regressor", "skinning_weights"):
            sums = getattr(self, name).sum(axis=1, dtype=np.float64)
            if np.abs(sums - 1).max() > _SUM_TOLERANCE:
                raise ValueError(f"{name} rows sum to {sums.min():.4f}..{sums.max():.4f}, not to 1")
        for name in ("expression_bounds", "joint_bounds"):
            if np.any(getattr(self, name)[..., 0] > getattr(self, name)[..., 1]):
                raise ValueError(f"{name} has a lowest value above the highest")
        if len(self.uv) and (self.uv.min() < 0 or self.uv.max() > 1):
            raise ValueError(f"uv is in {self.uv.min()}..{self.uv.max()}, must be in 0..1")
        if not 0 <= self.atlas_hash < 2**64:
            raise ValueError(f"atlas_hash is {self.atlas_hash}, must fit in 64 bits")

    def _freeze_landmarks(self) -> None:
        frozen = {}
        for name, points in self.landmarks.items():
            triangle = read_only(f"landmarks/{name}/triangle", points.triangle, np.int32)
            weights = read_only(f"landmarks/{name}/barycentric", points.barycentric, np.float64)
            check_shape(f"landmarks/{name}/triangle", triangle, (None,))
            check_shape(f"landmarks/{name}/barycentric", weights, (len(triangle), 3))
            check_range(f"landmarks/{name}/triangle", triangle, len(self.triangles))
            if len(weights) and not np.abs(weights.sum(axis=1) - 1).max() <= _SUM_TOLERANCE:
                raise ValueError(f"landmarks/{name}/barycentric rows do not sum to 1")
            frozen[name] = SurfacePoints(triangle, weights)
        self._set("landmarks", MappingProxyType(frozen))

    def _freeze_groups(self) -> None:
        frozen = {}
        for name, group in self.vertex_groups.items():
            if name not in VERTEX_GROUP_NAMES:
                raise ValueError(f"vertex_groups has {name!r}; known are {VERTEX_GROUP_NAMES}")
            frozen[name] = read_only(f"vertex_groups/{name}", group, np.int32)
            check_shape(f"vertex_groups/{name}", frozen[name], (None,))
            check_range(f"vertex_groups/{name}", frozen[name], len(self.template))
        self._set("vertex_groups", MappingProxyType(frozen))

    def _freeze_blendshapes(self) -> None:
        if self.blendshapes is None:
            return
        names = tuple(str(n) for n in self.blendshapes.names)
        joints = read_only("blendshapes/joints", self.blendshapes.joints, np.int32)
        rotations = read_only("blendshapes/rotations", self.blendshapes.rotations, np.float64)
        check_shape("blendshapes/joints", joints, (len(names),))
        check_shape("blendshapes/rotations", rotations, (len(names), 3))
        check_range("blendshapes/joints", joints, len(self.parents))
        if np.any(joints == 0):
            raise ValueError("blendshapes/joints has the root, which never rotates")
        if not np.isfinite(rotations).all():
            raise ValueError("blendshapes/rotations holds values that are not finite")
        frozen = JointBlendshapes(names=names, joints=joints, rotations=rotations)
        self._set("blendshapes", frozen)


def hash_atlas(uv: NDArray[np.float32], uv_triangles: NDArray[np.int32]) -> int:
    """uint64 of a UV layout: `uv` (U, 2) and `uv_triangles` (F, 3)."""
    text = digest(np.asarray(uv, np.float32)) + digest(np.asarray(uv_triangles, np.int32))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
