"""Where the built-in head's surface points lie on meshes of another topology."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flowface_ros import rigid
from flowface_ros.head.atlas import points_at_uv, skin_triangles, uv_at_points
from flowface_ros.head.closest import ClosestPoints
from flowface_ros.head.model import HeadModel
from flowface_ros.head.normals import vertex_normals
from flowface_ros.head.registration import check_shape_of_head
from flowface_ros.head.skinning import joint_bases
from flowface_ros.head.surface import SurfacePoints
from flowface_ros.head.wrap import Anchors, Mesh, match_features, mesh_features, wrap

Array = NDArray[np.float64]

_NEAR_M = 0.004
"""Farther from the mesh than this, the wrapped head's surface is not on it: scans have holes."""
_SAME_WAY = 0.5
"""Least cosine between the normals of the two surfaces where they meet."""
_ANCHOR_MISFIT_M = 0.015
"""Median distance of a person's landmarks from the mean head's: more is another unit or order."""
_TRIMS, _OUTLIER = 4, 4.0
"""Anchors farther off than so many medians are left out: a landmark may miss a scan's front."""
INNER_LANDMARKS = slice(17, 68)
"""Of iBUG's 68: those inside the face; the jaw line's are not at fixed places of the skin."""


@dataclass(frozen=True, eq=False)
class Correspondence:
    """points: N on meshes of this topology. found: (N,) bool, False where they mean nothing.
    vertex_count: that such a mesh has."""

    points: SurfacePoints
    found: NDArray[np.bool_]
    vertex_count: int

    def places(self, path: Path, vertices: Array, triangles: NDArray[np.int32]) -> Array:
        """(N, 3), NaN where not found. ValueError names the mesh's file when it differs."""
        if len(vertices) != self.vertex_count:
            have, want = len(vertices), self.vertex_count
            raise ValueError(f"{path}: has {have} vertices, its topology has {want}")
        places = self.points.interpolate(triangles, vertices)
        return np.where(self.found[:, None], places, np.nan)


def of_head(builtin: HeadModel, head: HeadModel, points: SurfacePoints) -> Correspondence:
    """Of a head that wears the built-in atlas, such as an imported FLAME: by that atlas."""
    if head.atlas_hash != builtin.atlas_hash:
        raise ValueError(f"the head {head.name!r} wears another atlas: import it anew")
    found, inside = points_at_uv(head, uv_at_points(builtin, points), skin_triangles(head))
    return Correspondence(found, inside, head.vertex_count)


def of_mesh(
    builtin: HeadModel,
    vertices: Array,
    triangles: NDArray[np.int32],
    anchors: Anchors,
    points: SurfacePoints,
) -> Correspondence:
    """Of any mesh of a head, metres, by registering the built-in head to it.

    anchors: points of the built-in head whose places on the mesh are known, 12 or more, on both
        lips and around both eyes. Its axes may be any.
    ValueError when it is not a head or the registration fails.
    """
    head_from_mesh, kept = _rough_pose(builtin, anchors)
    known = Anchors(anchors.points[kept], rigid.apply(head_from_mesh, anchors.places[kept]))
    moved = rigid.apply(head_from_mesh, vertices)
    # Which part moves with the jaw is not known: the same for all, it favours no match.
    target = Mesh(moved, triangles, np.zeros(len(moved)))
    joints = joint_bases(builtin).neutral
    skin = builtin.vertex_groups["skin"]
    fit = wrap(builtin, skin, target, joints, known)
    check_shape_of_head(fit)
    at = points.interpolate(builtin.triangles, fit.vertices)
    own = points.interpolate(builtin.triangles, vertex_normals(fit.vertices, builtin.triangles))
    own /= np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-12)
    lookup = ClosestPoints(moved, triangles, mesh_features(target))
    matched, there = lookup.query(at, match_features(own, np.zeros(len(own))))
    normals = matched.interpolate(triangles, vertex_normals(moved, triangles))
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    near = np.linalg.norm(there - at, axis=1) < _NEAR_M
    same_way = np.einsum("ni,ni->n", own, normals) > _SAME_WAY
    return Correspondence(matched, near & same_way, len(vertices))


def rigid_pose(source: Array, target: Array) -> Array:
    """target_from_source (4, 4) of least squared distance between points (N, 3)."""
    a, b = source.mean(axis=0), target.mean(axis=0)
    left, _, right = np.linalg.svd((target - b).T @ (source - a))
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    rotation = left @ flip @ right
    return rigid.transform(rotation, b - rotation @ a)


def _rough_pose(builtin: HeadModel, anchors: Anchors) -> tuple[Array, NDArray[np.bool_]]:
    """head_from_mesh (4, 4), and which anchors (N,) agree with it. ValueError when they are no
    face in metres."""
    own = anchors.points.interpolate(builtin.triangles, builtin.template.astype(np.float64))
    kept = np.ones(len(own), bool)
    for _ in range(_TRIMS):
        pose = rigid_pose(anchors.places[kept], own[kept])
        misfit = np.linalg.norm(own - rigid.apply(pose, anchors.places), axis=1)
        kept = misfit <= _OUTLIER * np.median(misfit)
    typical = float(np.median(misfit))
    if not typical < _ANCHOR_MISFIT_M:
        raise ValueError(
            f"its landmarks are {1e3 * typical:.0f} mm off those of a head (at most "
            f"{1e3 * _ANCHOR_MISFIT_M:.0f}): other units, or not a face"
        )
    return pose, kept
