"""People of a bag over time, for exports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from flowface_ros.bag.evaluation_input import find_model, find_topics, read_head_model
from flowface_ros.bag.face_messages import FaceRecord, read_face, read_mesh, stamp_ns
from flowface_ros.bag.reader import open_bag
from flowface_ros.evaluate.tracking import Mesh
from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.model import HeadModel
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.state import HeadState
from flowface_ros.rigid import apply, rotation_from_rotvec
from flowface_ros.track.tracked_head import HEAD_FROM_FACE


@dataclass(frozen=True, eq=False)
class PersonTrack:
    """One id in the T frames where it is.

    stamps_ns: (T,). faces: T. vertices: T arrays (V, 3), metres in the rig frame, None where the
    bag has no mesh.
    """

    id: str
    stamps_ns: NDArray[np.int64]
    faces: tuple[FaceRecord, ...]
    vertices: tuple[NDArray[np.float32] | None, ...]


@dataclass(frozen=True, eq=False)
class BagTracks:
    """Everybody in a bag. mesh: None when the bag has no HeadModel. model: None when its head
    model is not at hand. period_s: median time between FaceArrays."""

    people: tuple[PersonTrack, ...]
    mesh: Mesh | None
    model: HeadModel | None
    period_s: float


def read_tracks(
    path: Path, namespace: str | None = None, heads: tuple[HeadModel, ...] = ()
) -> BagTracks:
    """All people of a tracker's topics; heads: models beyond the built-in one.

    Raises ValueError for a bag without FaceArray or with nobody in it.
    """
    faces: dict[tuple[str, int], FaceRecord] = {}
    meshes: dict[tuple[str, int], Any] = {}
    mesh: Mesh | None = None
    stamps: set[int] = set()
    with open_bag(path) as bag:
        topics = find_topics(bag, namespace)
        wanted = [name for name in (topics.faces, topics.meshes, topics.model) if name]
        for topic, _, message in bag.messages(wanted):
            stamp = stamp_ns(message)
            if topic == topics.faces:
                stamps.add(stamp)
                faces |= {(face.id, stamp): read_face(face) for face in message.faces}
            elif topic == topics.meshes:
                meshes[message.id, stamp] = read_mesh(message)
            else:
                mesh = read_head_model(message)
    if not faces:
        raise ValueError(f"{path}: {topics.faces} has no faces")
    people = tuple(_person(name, faces, meshes) for name in sorted({key[0] for key in faces}))
    model = find_model(mesh, (load_builtin_head(), *heads))
    steps = np.diff(sorted(stamps))
    return BagTracks(people, mesh, model, float(np.median(steps)) * 1e-9 if len(steps) else 1.0)


def _person(
    name: str, faces: dict[tuple[str, int], FaceRecord], meshes: dict[tuple[str, int], Any]
) -> PersonTrack:
    stamps = sorted(stamp for face_id, stamp in faces if face_id == name)
    records = tuple(faces[name, stamp] for stamp in stamps)
    vertices = [
        apply(record.rig_from_face, meshes[name, stamp]).astype(np.float32)
        if (name, stamp) in meshes
        else None
        for record, stamp in zip(records, stamps, strict=True)
    ]
    return PersonTrack(name, np.array(stamps, np.int64), records, tuple(vertices))


def head_state(model: HeadModel, face: FaceRecord) -> HeadState:
    """The state of a head whose Face message this is; offsets are not in it.

    Raises ValueError when the coefficients are not those of the model.
    """
    for name, count in (("shape", model.shape_count), ("expression", model.expression_count)):
        if len(getattr(face, name)) != count:
            raise ValueError(
                f"face {face.id!r} has {len(getattr(face, name))} {name} coefficients; "
                f"the head {model.name!r} has {count}"
            )
    skull = face.rig_from_face[:3, :3] @ HEAD_FROM_FACE.T
    rotation = skull @ rotation_from_rotvec(face.neck).T
    state = HeadState(
        translation=np.zeros(3),
        rotation=Rotation.from_matrix(rotation).as_rotvec(),
        neck=face.neck,
        jaw=face.jaw,
        left_eye=face.left_eye,
        right_eye=face.right_eye,
        expression=face.expression,
        shape=face.shape,
    )
    sellion = SurfaceEvaluator(model, model.landmarks["sellion"]).positions(state)[0]
    return HeadState(**{**vars(state), "translation": face.rig_from_face[:3, 3] - sellion})
