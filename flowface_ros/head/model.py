"""The head model: FLAME's structure for any topology, and its versioned, hashed file."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from flowface_ros.head.surface import SurfacePoints

JOINT_NAMES = ("root", "neck", "jaw", "left_eye", "right_eye")


@dataclass(frozen=True)
class HeadModel:
    """A linear-blend-skinned head. Metres; the head's frame: x to the subject's left, y up, z out
    of the face. All arrays are read-only.

    name, version: what it is, e.g. "flowface" and "1".
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
    atlas_hash: uint64 of the UV layout that the networks were trained on.
    landmarks: named SurfacePoints, e.g. "sellion" (1), "ibug68" (68), "mediapipe478" (478).
    vertex_groups: named (n,) int32 vertex indices: face, ears, neck, scalp, lips, eyelids,
        left_eyeball, right_eyeball, teeth, tongue, mouth_cavity.
    blendshapes: how joint rotations are reported as ARKit weights, see `head/blendshapes.py`;
        None when the head has no such mapping.
    model_hash: uint64 of everything above.
    """

    name: str
    version: str
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
    landmarks: dict[str, SurfacePoints] = field(default_factory=dict)
    vertex_groups: dict[str, NDArray[np.int32]] = field(default_factory=dict)
