"""People of a bag as an animated glTF file with morph targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from flowface_ros import __version__
from flowface_ros.bag.face_messages import FaceRecord
from flowface_ros.bag.gltf_file import MorphAnimation, write_glb
from flowface_ros.bag.person_tracks import BagTracks, PersonTrack
from flowface_ros.head.blendshapes import ARKIT_NAMES, state_from_blendshapes
from flowface_ros.head.model import JOINT_NAMES, HeadModel
from flowface_ros.head.normals import vertex_normals
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.head.state import HeadState, neutral_state
from flowface_ros.rigid import apply, inverse
from flowface_ros.track.tracked_head import face_pose

Array = NDArray[np.float64]

FILE_NAME = "tracking.glb"
_JOINT_STEP = 0.2
"""Rotation (rad) that the targets of joints are taken at: a jaw half open."""


def export_gltf(tracks: BagTracks, folder: Path) -> list[Path]:
    """FOLDER/tracking.glb: for each person the neutral head of its last frame, moved by its pose,
    with morph targets: the 52 ARKit shapes, or the head's own coefficients where it has no mapping
    to them. Targets add up linearly; where jaw and lips turn far, vertices differ from the meshes
    in the bag by some millimetres.

    Raises ValueError when the head model is not at hand.
    """
    if tracks.model is None:
        raise ValueError("the bag's head model is not at hand: name its file with --head")
    start = min(int(person.stamps_ns[0]) for person in tracks.people)
    meshes = [_animation(tracks.model, person, start) for person in tracks.people]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    write_glb(path, meshes, f"flowface_ros {__version__}")
    return [path]


def _animation(model: HeadModel, person: PersonTrack, start_ns: int) -> MorphAnimation:
    neutral = replace(neutral_state(model), shape=person.faces[-1].shape)
    base = _in_face_frame(model, neutral)
    targets, weights_of = _targets(model, neutral, base)
    used, triangles, uv = _split_at_seams(model)
    poses = np.stack([face.rig_from_face for face in person.faces])
    return MorphAnimation(
        name=person.id,
        vertices=base[used],
        normals=vertex_normals(base, model.triangles)[used],
        uv=uv,
        triangles=triangles,
        targets={name: shift[used] for name, shift in targets.items()},
        times_s=(person.stamps_ns - start_ns) * 1e-9,
        weights=np.stack([weights_of(face) for face in person.faces]),
        rotations=Rotation.from_matrix(poses[:, :3, :3]).as_quat(),
        translations=poses[:, :3, 3],
    )


def _targets(
    model: HeadModel, neutral: HeadState, base: Array
) -> tuple[dict[str, Array], Callable[[FaceRecord], Array]]:
    """Displacements (V, 3) by name, and what gives their weights in a frame."""
    if model.blendshapes is not None:
        states = {name: state_from_blendshapes(model, {name: 1.0}, neutral) for name in ARKIT_NAMES}
        shifts = {name: _in_face_frame(model, state) - base for name, state in states.items()}
        return shifts, lambda face: face.blendshapes
    shifts = {}
    for i, name in enumerate(model.expression_names):
        unit = np.eye(model.expression_count)[i]
        shifts[name] = _in_face_frame(model, replace(neutral, expression=unit)) - base
    joints = JOINT_NAMES[2:]
    for joint in joints:
        for axis, letter in enumerate("xyz"):
            turned = replace(neutral, **{joint: _JOINT_STEP * np.eye(3)[axis]})
            shifts[f"{joint}_{letter}"] = (_in_face_frame(model, turned) - base) / _JOINT_STEP
    return shifts, lambda face: np.concatenate(
        [face.expression, *(getattr(face, joint) for joint in joints)]
    )


def _in_face_frame(model: HeadModel, state: HeadState) -> Array:
    return apply(inverse(face_pose(model, state)), pose_vertices(model, state))


def _split_at_seams(model: HeadModel) -> tuple[NDArray, NDArray, NDArray]:
    """Vertex (N,) of each glTF vertex, triangles (F, 3) of these, uv (N, 2): a vertex of glTF has
    one place in the atlas."""
    pairs = np.stack([model.triangles.reshape(-1), model.uv_triangles.reshape(-1)], axis=1)
    unique, index = np.unique(pairs, axis=0, return_inverse=True)
    return unique[:, 0], index.reshape(-1, 3), model.uv[unique[:, 1]]
