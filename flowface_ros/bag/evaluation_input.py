"""What is judged, from bags: the truth, the cameras and a tracker's topics of this package's types.

Any tracker that publishes FaceArray, FaceMesh and HeadModel can be judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from flowface_ros.bag.camera_topics import CAMERA_INFO, camera_name
from flowface_ros.bag.face_messages import read_face, read_mesh, read_transform, stamp_ns
from flowface_ros.bag.reader import BagReader, open_bag
from flowface_ros.camera.camera import Camera
from flowface_ros.camera.camera_info import camera_from_info
from flowface_ros.evaluate.tracking import Alignment, Face, Mesh, Recording, Tracking
from flowface_ros.head.model import HeadModel
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.rigid import apply

Array = NDArray[np.float64]

TRUTH_NAMESPACE = "/ground_truth"
_FACES = "flowface_ros/msg/FaceArray"
_MESHES = "flowface_ros/msg/FaceMesh"
_MODEL = "flowface_ros/msg/HeadModel"
_ALIGNMENTS = ("flowface_ros/msg/FaceAlignment", "flowface_ros/msg/FaceAlignmentArray")
_SAME_TIME_NS = 1000
"""A message that was recorded within this of its stamp was written by a replay, not received."""


class Transforms(Protocol):
    """Frames over time."""

    def set_static(self, parent: str, child: str, parent_from_child: Array) -> None: ...

    def add(self, parent: str, child: str, parent_from_child: Array, stamp_ns: int) -> bool: ...

    def lookup(self, target: str, source: str, stamp_ns: int) -> Array:
        """target_from_source (4, 4); raises ValueError when it is not known."""


@dataclass(frozen=True)
class FaceTopics:
    """Topics of one tracker; meshes and model None where it has none."""

    faces: str
    meshes: str | None
    model: str | None


def read_recording(
    prediction_path: Path,
    truth_path: Path,
    transforms: Transforms,
    namespace: str | None = None,
    heads: Iterable[HeadModel] = (),
) -> Recording:
    """Truth, cameras and TF from one bag, the prediction from another or the same.

    transforms: empty, is filled. namespace: that of the predicted topics, when the bag has several;
    heads: models beyond the built-in one that meshes may be of.
    Raises ValueError that names the bag and what it lacks.
    """
    with open_bag(truth_path) as bag:
        read_transforms(bag, transforms)
        topics = find_topics(bag, TRUTH_NAMESPACE)
        truth, frame = read_tracking(bag, topics, transforms)
        cameras = _read_cameras(bag, transforms, frame)
    with open_bag(prediction_path) as bag:
        topics = find_topics(bag, namespace)
        prediction, _ = read_tracking(bag, topics, transforms, frame)
        alignments = _read_alignments(bag)
    known = [load_builtin_head(), *heads]
    return Recording(
        truth,
        prediction,
        cameras,
        find_model(truth.mesh, known),
        find_model(prediction.mesh, known),
        alignments,
    )


def find_topics(bag: BagReader, namespace: str | None = None) -> FaceTopics:
    """The topics of a tracker: those in the namespace; without one, those that are not the truth's.

    Raises ValueError when there is no FaceArray, or more than one.
    """

    def mine(topic: str) -> bool:
        if namespace is not None:
            return topic.startswith(namespace.rstrip("/") + "/")
        return not topic.startswith(TRUTH_NAMESPACE + "/")

    def of_type(kind: str) -> list[str]:
        return [name for name, found in bag.types.items() if found == kind and mine(name)]

    faces = of_type(_FACES)
    if not faces:
        where = "of a tracker" if namespace is None else f"in namespace {namespace}"
        others = [name for name, kind in bag.types.items() if kind == _FACES]
        hint = f"; it has {', '.join(others)}" if others else ""
        raise ValueError(f"{bag.path} has no FaceArray topic {where} with messages{hint}")
    if len(faces) > 1:
        raise ValueError(
            f"{bag.path} has several FaceArray topics ({', '.join(faces)}); "
            "name the namespace of one"
        )
    return FaceTopics(
        faces[0], _beside(faces[0], of_type(_MESHES)), _beside(faces[0], of_type(_MODEL))
    )


def _beside(topic: str, candidates: list[str]) -> str | None:
    """The candidate in the topic's own namespace, else the only one."""
    parent = topic.rsplit("/", 1)[0]
    own = [name for name in candidates if name.rsplit("/", 1)[0] == parent]
    if len(own) == 1:
        return own[0]
    return candidates[0] if len(candidates) == 1 else None


def read_tracking(
    bag: BagReader, topics: FaceTopics, transforms: Transforms, frame: str | None = None
) -> tuple[Tracking, str]:
    """All faces of a tracker, and the frame that they are in.

    frame: brings them into it; None leaves them in that of the first message.
    Raises ValueError for faces that cannot be brought there, or meshes that do not fit.
    """
    arrays: dict[int, Any] = {}
    meshes: dict[tuple[int, str], Any] = {}
    delays_ns: dict[int, int] = {}
    mesh: Mesh | None = None
    wanted = [name for name in (topics.faces, topics.meshes, topics.model) if name]
    for topic, time_ns, message in bag.messages(wanted):
        stamp = stamp_ns(message)
        if topic == topics.faces:
            arrays[stamp] = message
            delays_ns[stamp] = time_ns - stamp
        elif topic == topics.meshes:
            meshes[stamp, message.id] = message
        else:
            mesh = read_head_model(message)
    stamps = sorted(arrays)
    target = frame or arrays[stamps[0]].header.frame_id
    faces = [
        [
            _face(bag, message, meshes.get((stamp, message.id)), mesh, source, move)
            for message in arrays[stamp].faces
        ]
        for stamp in stamps
        for source in [arrays[stamp].header.frame_id]
        for move in [_to_frame(transforms, target, source, stamp)]
    ]
    delays = np.array([delays_ns[stamp] for stamp in stamps])
    live = bool((np.abs(delays) > _SAME_TIME_NS).any())
    tracking = Tracking(np.array(stamps), faces, mesh, delays * 1e-6 if live else None)
    return tracking, target


def _to_frame(transforms: Transforms, target: str, source: str, stamp: int) -> Array | None:
    return None if source == target else transforms.lookup(target, source, stamp)


def _face(
    bag: BagReader,
    message: Any,
    mesh_message: Any,
    mesh: Mesh | None,
    frame: str,
    move: Array | None,
) -> Face:
    """move: from the message's frame to the wanted one; None for none."""
    record = read_face(message)
    vertices = None
    if mesh_message is not None and mesh is not None:
        vertices = read_mesh(mesh_message)
        if mesh_message.model_hash != mesh.model_hash or len(vertices) <= mesh.triangles.max():
            raise ValueError(
                f"{bag.path}: mesh of {message.id!r} at {stamp_ns(mesh_message)} ns is not of the "
                "head model in the bag"
            )
        if mesh_message.header.frame_id != frame:
            vertices = apply(record.rig_from_face, vertices).astype(np.float32)
    pose, covariance = record.rig_from_face, record.pose_covariance
    if move is not None:
        pose = move @ pose
        vertices = None if vertices is None else apply(move, vertices).astype(np.float32)
        if covariance is not None:
            turn = np.kron(np.eye(2), move[:3, :3])
            covariance = turn @ covariance @ turn.T
    names = ("id", "status", "expression", "expression_sigma", "shape", "blendshapes")
    return Face(
        rig_from_face=pose,
        vertices=vertices,
        pose_covariance=covariance,
        **{name: getattr(record, name) for name in names},
    )


def read_head_model(message: Any) -> Mesh:
    """The topology of a HeadModel message."""
    return Mesh(
        int(message.model_hash),
        np.array(message.triangles, np.int64).reshape(-1, 3).astype(np.int32),
        tuple(message.shape_names),
        tuple(message.expression_names),
        tuple(message.blendshape_names),
    )


def find_model(mesh: Mesh | None, known: Iterable[HeadModel]) -> HeadModel | None:
    """The head model that a mesh is of; None when it is not known."""
    return next((m for m in known if mesh is not None and m.model_hash == mesh.model_hash), None)


def read_transforms(bag: BagReader, transforms: Transforms) -> None:
    """Fill transforms with all of a bag's /tf_static and /tf, but those that are not rigid."""
    present = [name for name in ("/tf_static", "/tf") if name in bag.topics]
    for topic, _, message in bag.messages(present):
        for stamped in message.transforms:
            parent, child = stamped.header.frame_id, stamped.child_frame_id
            try:
                matrix = read_transform(stamped)
                if topic == "/tf_static":
                    transforms.set_static(parent, child, matrix)
                else:
                    transforms.add(parent, child, matrix, stamp_ns(stamped))
            except ValueError:
                pass  # of any part of the robot; who needs the frame is told that it is unknown


def _read_cameras(
    bag: BagReader, transforms: Transforms, frame: str
) -> Mapping[str, Callable[[int], Camera]]:
    """Cameras by the name of their topics; the first CameraInfo of each holds."""
    topics = [name for name, kind in bag.types.items() if kind == CAMERA_INFO]
    infos = {camera_name(topic): next(bag.messages([topic]))[2] for topic in topics}
    if not infos:
        raise ValueError(f"{bag.path} has no CameraInfo")

    def camera_over_time(name: str, info: Any) -> Callable[[int], Camera]:
        camera = camera_from_info(info, name)

        @cache
        def at(stamp: int) -> Camera:
            return camera.moved(transforms.lookup(frame, camera.frame, stamp))

        return at

    return {name: camera_over_time(name, info) for name, info in infos.items()}


def _read_alignments(bag: BagReader) -> list[Alignment]:
    topics = [name for name, topic in bag.topics.items() if topic.type in _ALIGNMENTS]
    alignments = []
    for _, _, message in bag.messages(topics):
        for one in getattr(message, "alignments", [message]):
            pixels = np.array(one.pixels, np.float32).reshape(-1, 2)
            sigma = np.array(one.sigma, np.float32)
            alignments.append(
                Alignment(
                    stamp_ns(one), one.camera, int(one.atlas_hash), int(one.grid), pixels, sigma
                )
            )
    return alignments
