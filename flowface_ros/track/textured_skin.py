"""The points of a face whose look is remembered, and how a head's motions move them in a crop."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flowface_ros import rigid
from flowface_ros.align.crop import Crop
from flowface_ros.align.embedding import parted_positions
from flowface_ros.camera.camera import Camera
from flowface_ros.head.atlas import TexelGrid, texel_grid, texel_interpolation
from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.model import HeadModel
from flowface_ros.head.normals import vertex_normals
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.head.state import HeadState, Unknowns, neutral_state
from flowface_ros.head.surface import SurfacePoints
from flowface_ros.track import texture_kernels as kernels
from flowface_ros.track.texture_alignment import Between, Floats, Mask, Smoother

Array = NDArray[np.float64]

POSE = 6
"""Motions of the pose, which come first: translation and rotation in rig axes."""
_OF_HEAD = ("neck", "jaw", "left_eye", "right_eye", "expression", "shape")
"""Parts of a state that say what a head is like, not where."""

_LEAST_COSINE = 0.2
"""Of the angle between the skin and the direction to the camera; skin seen more from the side is
left out: the background is too near."""
_FINER = 2
"""Times as many texels a side as the aligner has: its texels are wider than skin's detail."""
_SLIT = 3.0
"""Neighbouring points that are farther apart than usual by this are on two lids or lips."""
_LIGHT_M = 0.015
"""Standard deviation of the neighbourhood over which light is taken to change alike."""
_PLACE_M, _TURN_RAD = 0.005, 0.03
_JAW_RAD, _EXPRESSION = 0.05, 0.15
"""How far an aligner's answers are off, as motions of the head; standard deviations."""

_KEPT = 4
"""Heads whose points are kept from one view of a set to the next."""


@dataclass(frozen=True, eq=False)
class SkinView:
    """A face's N points, and the aligner's R others, as a camera would see a head.

    places: (N, 2) crop pixels.
    direction: (3,) of the camera as the skull sees it, unit length.
    motions: (N, 2, M), other_motions: (R, 2, 6) crop pixels by which one standard deviation of each
    motion moves the points; the others move with the pose alone.
    fine_seen: (Q,) which of the places that are compared face the camera.
    """

    places: Array
    direction: Array
    motions: Floats
    other_motions: Floats
    fine_seen: Mask


@dataclass(frozen=True, eq=False)
class _Posed:
    """A head whose own frame is the rig's: what it looks the same in, wherever it is.

    points: (N + R, 3) of the face and the others, metres. middle: (3,) of the face's.
    jacobian: (N, 3, M - 6) d points of the face / d jaw and expression.
    """

    state: HeadState
    points: Array
    middle: Array
    jacobian: Array

    def fits(self, state: HeadState) -> bool:
        mine = self.state
        return mine.offsets is state.offsets and all(
            np.array_equal(getattr(mine, name), getattr(state, name)) for name in _OF_HEAD
        )


class TexturedSkin:
    """Made once for an aligner; serves all people and cameras. Not for several threads at once."""

    def __init__(self, model: HeadModel, points: SurfacePoints, grid: TexelGrid) -> None:
        """points: of the aligner's answers, whose skin's atlas the model must wear; first the
        texels of grid."""
        self.count = len(points)
        self.rows = _face_rows(model, points)
        self.others = np.setdiff1d(np.arange(self.count), self.rows)
        face = points[self.rows]
        self.between = _between(model, grid, self.rows)
        self.smoother = Smoother(parted_positions(model, face), _LIGHT_M)
        self._face = SurfaceEvaluator(model, face, precise=False)
        self._others = SurfaceEvaluator(model, points[self.others], precise=False)
        expressions = tuple(range(model.expression_count))
        self._unknowns = Unknowns(pose=False, jaw=True, expression=expressions)
        sizes = ((3, _PLACE_M), (3, _TURN_RAD), (3, _JAW_RAD), (len(expressions), _EXPRESSION))
        self._sigmas = np.concatenate([np.full(count, sigma) for count, sigma in sizes])
        normals = vertex_normals(pose_vertices(model, neutral_state(model)), model.triangles)
        outward = face.interpolate(model.triangles, normals)
        self._normals = outward / np.linalg.norm(outward, axis=1, keepdims=True)
        self._posed: deque[_Posed] = deque(maxlen=_KEPT)

    @property
    def motion_count(self) -> int:
        """M."""
        return len(self._sigmas)

    def view(self, camera: Camera, crop: Crop, state: HeadState) -> SkinView | None:
        """None when a point is not before the camera."""
        posed, face = self._pose(state), len(self.rows)
        rotation = rigid.rotation_from_rotvec(state.rotation)
        camera_from_head = camera.camera_from_rig @ rigid.transform(rotation, state.translation)
        in_camera = rigid.apply(camera_from_head, posed.points)
        pixels, lens, valid = camera.project_with_jacobian(in_camera)
        if not valid.all():
            return None
        skull = rigid.rotation_from_rotvec(state.neck)
        eye = rigid.inverse(camera_from_head)[:3, 3]
        direction = skull.T @ (eye - posed.middle)
        cosine = np.empty((face, 1))
        kernels.facing(posed.points[:face], self._normals, eye, skull, cosine[:, 0])
        crop_from_image = np.asarray(np.linalg.inv(crop.image_from_crop[:, :2]), np.float64)
        turns = crop_from_image, camera_from_head[:3, :3], rotation
        still = np.empty((len(self.others), 3, 0))
        return SkinView(
            crop.to_crop(pixels[:face]),
            direction / np.linalg.norm(direction),
            self._motions(lens[:face], posed.points[:face], posed.jacobian, *turns),
            self._motions(lens[face:], posed.points[face:], still, *turns),
            self.between.spread(cosine)[:, 0] > _LEAST_COSINE,
        )

    def _motions(self, lens: Array, points: Array, jacobian: Array, *turns: Array) -> Floats:
        """(n, 2, 6 + L), see `kernels.motions`."""
        size = POSE + jacobian.shape[2]
        motions = np.empty((len(points), 2, size), np.float32)
        kernels.motions(lens, points, jacobian, *turns, self._sigmas[:size], motions)
        return motions

    def _pose(self, state: HeadState) -> _Posed:
        """Kept, as a head is the same for all cameras of a set."""
        for posed in self._posed:
            if posed.fits(state):
                return posed
        still = replace(state, translation=np.zeros(3), rotation=np.zeros(3))
        face, jacobian = self._face.positions_and_jacobian(still, self._unknowns)
        points = np.concatenate([face, self._others.positions(still)])
        self._posed.appendleft(_Posed(still, points, face.mean(axis=0), jacobian))
        return self._posed[0]


def _between(model: HeadModel, grid: TexelGrid, face: NDArray[np.intp]) -> Between:
    """Places between an aligner's points of the face, where the skin's detail is compared.

    face: (N,) the face's points among the texels of grid.
    """
    means, _ = texel_interpolation(model, grid, texel_grid(model, _FINER * grid.size).points)
    of_face = means[:, face]
    whole = (np.diff(of_face.indptr) == 4) & (np.diff(means.indptr) == 4)
    of_face = of_face[np.flatnonzero(whole)]
    rows, shares = of_face.indices.reshape(-1, 4), of_face.data.reshape(-1, 4)
    corners = parted_positions(model, grid.points[face])[rows]
    size = np.ptp(corners, axis=1).max(axis=1)
    joined = size < _SLIT * np.median(size)
    # unsigned: compiled code then does not look for negative indices
    return Between(rows[joined].astype(np.uint32), shares[joined].astype(np.float32), len(face))


def _face_rows(model: HeadModel, points: SurfacePoints) -> NDArray[np.intp]:
    """Points on the face; all, where the model does not say what is its face."""
    group = model.vertex_groups.get("face")
    if group is None:
        return np.arange(len(points))
    on_face = np.zeros(model.vertex_count, bool)
    on_face[group] = True
    return np.flatnonzero(on_face[model.triangles[points.triangle]].all(axis=1))
