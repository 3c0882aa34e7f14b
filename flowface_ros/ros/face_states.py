"""Heads back from Face messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flowface_ros.bag.face_messages import read_face
from flowface_ros.bag.person_tracks import head_state
from flowface_ros.head.model import HeadModel
from flowface_ros.head.state import HeadState
from flowface_ros.track.tracked_head import Status, TrackedHead


def state_of_face(model: HeadModel, message: Any) -> HeadState:
    """The head's state of a Face message, without covariance; inverse of `face_pose`.

    Raises ValueError when the message is of another head model or not finite.
    """
    face = read_face(message)
    state = head_state(model, face)
    if not is_finite(state):
        raise ValueError(f"Face {face.id!r} has values that are not finite")
    return state


def heads_of_faces(model: HeadModel, faces: Sequence[Any]) -> list[TrackedHead]:
    """The heads of the Face messages of a FaceArray. Raises ValueError as `state_of_face`."""
    return [
        TrackedHead(
            id=face.id,
            status=Status(face.status),
            state=state_of_face(model, face),
            confidence=float(face.confidence),
            views=tuple(face.views),
            view_rmse_px=tuple(float(v) for v in face.view_rmse_px),
            stamp_spread_s=float(face.stamp_spread_s),
        )
        for face in faces
    ]


def is_finite(state: HeadState) -> bool:
    """Whether nothing in the state, its covariance included, is NaN or infinite."""
    arrays = (
        state.translation,
        state.rotation,
        state.neck,
        state.jaw,
        state.left_eye,
        state.right_eye,
        state.expression,
        state.shape,
        state.offsets,
        state.covariance,
    )
    return all(array is None or bool(np.isfinite(array).all()) for array in arrays)
