"""Gives another head the built-in atlas, landmarks and vertex groups, by its shape alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowface_ros.head.closest import ClosestPoints
from flowface_ros.head.model import JOINT_NAMES, HeadModel
from flowface_ros.head.normals import vertex_normals
from flowface_ros.head.seams import atlas_triangles
from flowface_ros.head.skinning import joint_bases
from flowface_ros.head.surface import SurfacePoints
from flowface_ros.head.wrap import (
    NO_ANCHORS,
    Anchors,
    Mesh,
    Wrapped,
    beside_surface,
    boundary_vertices,
    match_features,
    mesh_features,
    wrap,
)

_Array = NDArray[np.float64]

_EYES = ("left_eyeball", "right_eyeball")
_EYE_JOINTS = (JOINT_NAMES.index("left_eye"), JOINT_NAMES.index("right_eye"))
_JAW = JOINT_NAMES.index("jaw")

_EYE_DISTANCE_RATIO = (0.7, 1.4)
"""Allowed distance between the eyes, against the built-in head's: outside the units are wrong."""
_MAX_MEDIAN_MM, _MAX_P95_MM = 1.0, 4.0
"""Residuals that a face can have; re-meshed heads were measured at 0.4 and below 1.5."""
_MAX_SHAPE_RMS = 3.5
"""Standard deviations per identity coefficient: people have about 1, a ball takes 6."""
_MIN_COVERED = 0.9
"""Least share of the built-in face's vertices that the other head must have a place for."""
_BESIDE_M = 0.003
"""How far beside the rim of the built-in skin a vertex may be and still be on it."""


@dataclass(frozen=True, eq=False)
class Registration:
    """Where the vertices of another head lie on the built-in head, and what follows from it.

    points: V SurfacePoints of the built-in mesh. on_atlas: (V,) bool, False where the other head
    goes on beyond the built-in one. uv: (U, 2), uv_triangles: (F, 3). residual_mm: (V,) distance
    to the wrapped built-in head. face: (V,) bool, what lies on the built-in face.
    """

    points: SurfacePoints
    on_atlas: NDArray[np.bool_]
    uv: _Array
    uv_triangles: NDArray[np.int32]
    landmarks: dict[str, SurfacePoints]
    vertex_groups: dict[str, NDArray[np.int32]]
    residual_mm: _Array
    face: NDArray[np.bool_]

    def summary(self) -> str:
        """The residual in words."""
        face, whole = self.residual_mm[self.face], self.residual_mm[self.on_atlas]
        return (
            f"registration to the built-in head: face median {np.median(face):.2f} mm, "
            f"95 % below {np.percentile(face, 95):.2f} mm; all of it median "
            f"{np.median(whole):.2f} mm, 95 % below {np.percentile(whole, 95):.2f} mm; "
            f"{np.mean(self.on_atlas):.0%} of the vertices are on the atlas"
        )


def register(
    builtin: HeadModel,
    template: NDArray[np.floating],
    triangles: NDArray[np.int32],
    skinning_weights: NDArray[np.floating],
    joints: _Array,
    known: Anchors = NO_ANCHORS,
) -> Registration:
    """Registers a head at rest, (V, 3) metres in the head's frame, to the built-in one.

    known: points of the built-in head whose places on the other head are known, if any are.

    ValueError when it is not a head in metres, or can not be matched well enough.
    """
    vertices = np.asarray(template, np.float64)
    check_eyes(builtin, joints)
    part = _parts(skinning_weights)
    jaw = np.asarray(skinning_weights[:, _JAW], np.float64)
    skin_triangles = triangles[np.all(part[triangles] == 0, axis=1)]
    if not len(skin_triangles):
        raise ValueError("not a head: every vertex belongs to an eye")
    target = Mesh(vertices, skin_triangles, jaw)
    fit = wrap(builtin, builtin.vertex_groups["skin"], target, joints, known)
    check_shape_of_head(fit)
    wrapped = _place_eyes(builtin, fit.vertices, vertices, part)
    points, residual_m, beside = _locate(builtin, wrapped, vertices, triangles, jaw, part)
    on_atlas = ~beside | (residual_m < _BESIDE_M)
    groups = _transfer_groups(builtin, points, on_atlas)
    face = np.isin(np.arange(len(vertices)), groups["face"])
    check_residual(builtin, points, residual_m * 1000, face)
    uv, uv_triangles = atlas_triangles(builtin, wrapped, points, triangles, on_atlas)
    landmarks = _transfer_landmarks(builtin, wrapped, vertices, triangles, part)
    return Registration(
        points, on_atlas, uv, uv_triangles, landmarks, groups, residual_m * 1000, face
    )


def check_eyes(builtin: HeadModel, joints: _Array) -> None:
    """ValueError unless the eyes are where a head in metres, looking along z, has them."""
    left, right = (joints[j] for j in _EYE_JOINTS)
    own = joint_bases(builtin).neutral
    expected = float(np.linalg.norm(own[_EYE_JOINTS[0]] - own[_EYE_JOINTS[1]]))
    distance = float(np.linalg.norm(left - right))
    low, high = _EYE_DISTANCE_RATIO
    if not low * expected <= distance <= high * expected:
        raise ValueError(
            f"the eyes are {distance:.4g} apart, a head in metres has {low * expected:.3f} to "
            f"{high * expected:.3f}: other units, or not a head"
        )
    if (left - right)[0] < 0.9 * distance:
        raise ValueError("the left eye is not to the left: x must go to the subject's left, y up")


def check_shape_of_head(fit: Wrapped) -> None:
    """ValueError when the built-in head took a shape that nobody has."""
    rms = float(np.sqrt(np.mean(fit.state.shape**2)))
    if not rms <= _MAX_SHAPE_RMS:
        raise ValueError(
            f"the registration to the built-in head failed: it took a shape of {rms:.1f} standard "
            f"deviations (at most {_MAX_SHAPE_RMS}); not a head"
        )


def check_residual(
    builtin: HeadModel, points: SurfacePoints, residual_mm: _Array, face: NDArray[np.bool_]
) -> None:
    """ValueError unless the face was matched closely and completely."""
    own_face = builtin.vertex_groups["face"]
    used = np.unique(builtin.triangles[points.triangle[face]])
    near = np.zeros(builtin.vertex_count, bool)
    near[used] = True
    for _ in range(3):  # A coarser mesh leaves gaps of a few triangles between its vertices.
        touched = near[builtin.triangles].any(axis=1)
        near[builtin.triangles[touched]] = True
    covered = near[own_face].mean()
    median, p95 = (np.percentile(residual_mm[face], q) if face.any() else np.inf for q in (50, 95))
    if median > _MAX_MEDIAN_MM or p95 > _MAX_P95_MM or covered < _MIN_COVERED:
        raise ValueError(
            f"the registration to the built-in head failed: residual of the face median "
            f"{median:.2f} mm (at most {_MAX_MEDIAN_MM}), 95 % below {p95:.2f} mm (at most "
            f"{_MAX_P95_MM}), {covered:.0%} of the face covered (at least {_MIN_COVERED:.0%})"
        )


def _parts(skinning_weights: NDArray[np.floating]) -> NDArray[np.int32]:
    """(V,) 0 for skin, 1 and 2 for the left and the right eyeball."""
    part = np.zeros(len(skinning_weights), np.int32)
    for i, joint in enumerate(_EYE_JOINTS, start=1):
        part[skinning_weights[:, joint] > 0.5] = i
    return part


def _place_eyes(
    builtin: HeadModel, wrapped: _Array, vertices: _Array, part: NDArray[np.int32]
) -> _Array:
    """The wrapped head with its eyeballs moved and scaled onto the other head's."""
    result = wrapped.copy()
    for i, name in enumerate(_EYES, start=1):
        other = vertices[part == i]
        if not len(other):
            continue
        group = builtin.vertex_groups[name]
        own = builtin.template[group].astype(np.float64)
        (centre, radius), (own_centre, own_radius) = _sphere(other), _sphere(own)
        result[group] = centre + (own - own_centre) * radius / own_radius
    return result


def _sphere(points: _Array) -> tuple[_Array, float]:
    """Centre and radius of the sphere that fits points (N, 3) best, by linear least squares."""
    system = np.concatenate([2 * points, np.ones((len(points), 1))], axis=1)
    solution = np.linalg.lstsq(system, (points**2).sum(axis=1), rcond=None)[0]
    centre = solution[:3]
    return centre, float(np.sqrt(max(solution[3] + centre @ centre, 1e-12)))


def _locate(
    builtin: HeadModel,
    wrapped: _Array,
    vertices: _Array,
    triangles: NDArray[np.int32],
    jaw: _Array,
    part: NDArray[np.int32],
) -> tuple[SurfacePoints, _Array, NDArray[np.bool_]]:
    """Each vertex on the wrapped head: its point, the distance (m), whether it is beside it."""
    normals = vertex_normals(vertices, triangles)
    own_jaw = builtin.skinning_weights[:, _JAW].astype(np.float64)
    triangle = np.zeros(len(vertices), np.int32)
    barycentric = np.zeros((len(vertices), 3))
    distance, beside = np.zeros(len(vertices)), np.zeros(len(vertices), bool)
    for i, rows in enumerate(_part_triangles(builtin)):
        chosen = np.flatnonzero(part == i)
        if not len(chosen):
            continue
        mesh = Mesh(wrapped, builtin.triangles[rows], own_jaw)
        lookup = ClosestPoints(wrapped, mesh.triangles, mesh_features(mesh))
        features = match_features(normals[chosen], jaw[chosen])
        found, places = lookup.query(vertices[chosen], features)
        triangle[chosen], barycentric[chosen] = rows[found.triangle], found.barycentric
        distance[chosen] = np.linalg.norm(places - vertices[chosen], axis=1)
        rim = boundary_vertices(mesh.triangles, len(wrapped))
        beside[chosen] = beside_surface(found, mesh.triangles, rim)
    return SurfacePoints(triangle, barycentric), distance, beside


def _part_triangles(builtin: HeadModel) -> list[NDArray[np.int64]]:
    """Triangles of the skin with the mouth's inside, the left and the right eyeball."""
    inside = []
    names = [("skin", "lips", "eyelids", "mouth_cavity"), *((name,) for name in _EYES)]
    for group in names:
        member = np.zeros(builtin.vertex_count, bool)
        for name in group:
            member[builtin.vertex_groups.get(name, np.zeros(0, np.int32))] = True
        inside.append(np.flatnonzero(member[builtin.triangles].all(axis=1)))
    return inside


def _transfer_groups(
    builtin: HeadModel, points: SurfacePoints, on_atlas: NDArray[np.bool_]
) -> dict[str, NDArray[np.int32]]:
    """Vertices whose place on the built-in head is nearest to a vertex of the group."""
    nearest = builtin.triangles[points.triangle, points.barycentric.argmax(axis=1)]
    groups = {}
    for name, group in builtin.vertex_groups.items():
        chosen = np.flatnonzero(np.isin(nearest, group) & on_atlas).astype(np.int32)
        if len(chosen) or name == "face":
            groups[name] = chosen
    return groups


def _transfer_landmarks(
    builtin: HeadModel,
    wrapped: _Array,
    vertices: _Array,
    triangles: NDArray[np.int32],
    part: NDArray[np.int32],
) -> dict[str, SurfacePoints]:
    """The built-in landmarks' closest points on the other head, of the same part of it."""
    eye = np.isin(
        np.arange(builtin.vertex_count), np.concatenate([builtin.vertex_groups[n] for n in _EYES])
    )
    landmarks = {}
    for name, points in builtin.landmarks.items():
        places = points.interpolate(builtin.triangles, wrapped)
        on_eye = eye[builtin.triangles[points.triangle]].all(axis=1)
        triangle = np.zeros(len(points), np.int32)
        barycentric = np.zeros((len(points), 3))
        for is_eye in (False, True):
            chosen = np.flatnonzero(on_eye == is_eye)
            rows = np.flatnonzero(np.all((part[triangles] > 0) == is_eye, axis=1))
            if len(chosen) and len(rows):
                found, _ = ClosestPoints(vertices, triangles[rows]).query(places[chosen])
                triangle[chosen], barycentric[chosen] = rows[found.triangle], found.barycentric
        landmarks[name] = SurfacePoints(triangle, barycentric)
    return landmarks
