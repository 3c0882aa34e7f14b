"""The points of a face whose look is remembered, and how a head's motions move them in a crop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowface_ros import rigid
from flowface_ros.align.crop import Crop
from flowface_ros.align.embedding import parted_positions
from flowface_ros.camera.camera import Camera
from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.model import HeadModel
from flowface_ros.head.normals import vertex_normals
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.head.state import HeadState, Unknowns, neutral_state
from flowface_ros.head.surface import SurfacePoints
from flowface_ros.track.texture_alignment import Floats, Mask, Smoother

Array = NDArray[np.float64]

POSE = 6
"""Motions of the pose, which come first: translation and rotation in rig axes."""

_LEAST_COSINE = 0.2
"""Of the angle between the skin and the direction to the camera; skin seen more from the side is
left out: the background is too near."""
_LIGHT_M = 0.015
"""Standard deviation of the neighbourhood over which light is taken to change alike."""
_PLACE_M, _TURN_RAD = 0.005, 0.03
_JAW_RAD, _EXPRESSION = 0.05, 0.15
"""How far an aligner's answers are off, as motions of the head; standard deviations."""


@dataclass(frozen=True, eq=False)
class SkinView:
    """A face's N points, and the aligner's R others, as a camera would see a head.

    places: (N, 2) crop pixels. seen: (N,) whether a point faces the camera.
    direction: (3,) of the camera as the skull sees it, unit length.
    motions: (M, 2, N), other_motions: (6, 2, R) crop pixels by which one standard deviation of each
    motion moves the points; the others move with the pose alone.
    """

    places: Array
    seen: Mask
    direction: Array
    motions: Floats
    other_motions: Floats


class TexturedSkin:
    """Made once for an aligner; serves all people and cameras. Not for several threads at once."""

    def __init__(self, model: HeadModel, points: SurfacePoints) -> None:
        """points: of the aligner's answers, whose skin's atlas the model must wear."""
        self.count = len(points)
        self.rows = _face_rows(model, points)
        self.others = np.setdiff1d(np.arange(self.count), self.rows)
        face = points[self.rows]
        self.smoother = Smoother(parted_positions(model, face), _LIGHT_M)
        self._face = SurfaceEvaluator(model, face)
        self._others = SurfaceEvaluator(model, points[self.others])
        expressions = tuple(range(model.expression_count))
        self._unknowns = Unknowns(pose=True, jaw=True, expression=expressions)
        self._pose = Unknowns(pose=True)
        sizes = ((3, _PLACE_M), (3, _TURN_RAD), (3, _JAW_RAD), (len(expressions), _EXPRESSION))
        self._sigmas = np.concatenate([np.full(count, sigma) for count, sigma in sizes])
        normals = vertex_normals(pose_vertices(model, neutral_state(model)), model.triangles)
        outward = face.interpolate(model.triangles, normals)
        self._normals = outward / np.linalg.norm(outward, axis=1, keepdims=True)

    @property
    def motion_count(self) -> int:
        """M."""
        return len(self._sigmas)

    def view(self, camera: Camera, crop: Crop, state: HeadState) -> SkinView | None:
        """None when a point is not before the camera."""
        positions, jacobian = self._face.positions_and_jacobian(state, self._unknowns)
        others, others_jacobian = self._others.positions_and_jacobian(state, self._pose)
        at_face = _projected(camera, crop, positions, jacobian * self._sigmas)
        at_others = _projected(camera, crop, others, others_jacobian * self._sigmas[:POSE])
        if at_face is None or at_others is None:
            return None
        skull = rigid.rotation_from_rotvec(state.rotation) @ rigid.rotation_from_rotvec(state.neck)
        away = camera.rig_from_camera[:3, 3] - positions
        cosine = (self._normals @ skull.T * away).sum(axis=1) / np.linalg.norm(away, axis=1)
        direction = skull.T @ away.mean(axis=0)
        return SkinView(
            at_face[0],
            cosine > _LEAST_COSINE,
            direction / np.linalg.norm(direction),
            at_face[1],
            at_others[1],
        )


def _face_rows(model: HeadModel, points: SurfacePoints) -> NDArray[np.intp]:
    """Points on the face; all, where the model does not say what is its face."""
    group = model.vertex_groups.get("face")
    if group is None:
        return np.arange(len(points))
    on_face = np.zeros(model.vertex_count, bool)
    on_face[group] = True
    return np.flatnonzero(on_face[model.triangles[points.triangle]].all(axis=1))


def _projected(
    camera: Camera, crop: Crop, positions: Array, jacobian: Array
) -> tuple[Array, Floats] | None:
    """Crop pixels (N, 2) of points (N, 3) in the rig frame, and (M, 2, N) for a Jacobian
    (N, 3, M)."""
    camera_from_rig = camera.camera_from_rig
    in_camera = rigid.apply(camera_from_rig, positions)
    pixels, lens, valid = camera.project_with_jacobian(in_camera)
    if not valid.all():
        return None
    crop_from_rig = np.linalg.inv(crop.image_from_crop[:, :2]) @ lens @ camera_from_rig[:3, :3]
    moved = (crop_from_rig @ jacobian).astype(np.float32)
    return crop.to_crop(pixels), np.ascontiguousarray(moved.transpose(2, 1, 0))
