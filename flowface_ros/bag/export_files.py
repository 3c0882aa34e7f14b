"""People of a bag as files: arrays, meshes, Live Link Face tables, FLAME parameters."""

from __future__ import annotations

import csv
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from flowface_ros.bag.face_messages import FaceRecord
from flowface_ros.bag.person_tracks import BagTracks, PersonTrack, head_state
from flowface_ros.head.blendshapes import ARKIT_NAMES
from flowface_ros.head.mesh_files import write_mesh_file
from flowface_ros.head.model import HeadModel
from flowface_ros.head.skinning import posed_joints
from flowface_ros.head.state import HeadState
from flowface_ros.track.tracked_head import HEAD_FROM_FACE

_ROTATIONS = ("Head", "LeftEye", "RightEye")
_ANGLES = ("Yaw", "Pitch", "Roll")
LIVE_LINK_COLUMNS = (
    "Timecode",
    "BlendshapeCount",
    *(name[0].upper() + name[1:] for name in ARKIT_NAMES),
    *(f"{part}{angle}" for part in _ROTATIONS for angle in _ANGLES),
)
"""As the Live Link Face app writes them: 52 ARKit weights, then nine angles."""

_FLAME_JOINTS = {
    "neck_pose": "neck",
    "jaw_pose": "jaw",
    "leye_pose": "left_eye",
    "reye_pose": "right_eye",
}
"""Names of smplx's FLAME layer, and ours."""


def export_npz(tracks: BagTracks, folder: Path) -> list[Path]:
    """FOLDER/<id>/<stamp in ns>.npz for every face, and FOLDER/head_model.npz.

    Each holds stamp_ns, rig_from_face (4, 4), pose_covariance (6, 6) zero when unknown, vertices
    (V, 3) in the rig frame when there is a mesh, and the coefficients of the Face message.
    """
    paths = []
    for person in tracks.people:
        for stamp, face, vertices in _frames(person):
            arrays: dict[str, Any] = {
                "stamp_ns": np.array(stamp),
                "status": np.array(face.status),
                "rig_from_face": face.rig_from_face,
                "pose_covariance": np.zeros((6, 6))
                if face.pose_covariance is None
                else face.pose_covariance,
            }
            for name in ("expression", "expression_sigma", "shape", "blendshapes"):
                arrays[name] = getattr(face, name)
            for name in _FLAME_JOINTS.values():
                arrays[name] = getattr(face, name)
            if vertices is not None:
                arrays["vertices"] = vertices
            paths.append(_parent(folder / person.id / f"{stamp}.npz"))
            np.savez(paths[-1], **arrays)
    if tracks.mesh is not None:
        mesh = tracks.mesh
        paths.append(_parent(folder / "head_model.npz"))
        np.savez(
            paths[-1],
            model_hash=np.array(mesh.model_hash, np.uint64),
            triangles=mesh.triangles,
            shape_names=np.array(mesh.shape_names, np.str_),
            expression_names=np.array(mesh.expression_names, np.str_),
            blendshape_names=np.array(mesh.blendshape_names, np.str_),
        )
    return paths


def export_meshes(tracks: BagTracks, folder: Path, suffix: str) -> list[Path]:
    """FOLDER/<id>/<stamp in ns>.obj or .ply, metres in the rig frame.

    Raises ValueError when the bag has no meshes.
    """
    if tracks.mesh is None:
        raise ValueError("the bag has no HeadModel, so its meshes have no triangles")
    paths = []
    for person in tracks.people:
        for stamp, _, vertices in _frames(person):
            if vertices is not None:
                paths.append(_parent(folder / person.id / f"{stamp}{suffix}"))
                write_mesh_file(paths[-1], vertices, tracks.mesh.triangles)
    if not paths:
        raise ValueError("the bag has no FaceMesh")
    return paths


def export_live_link(tracks: BagTracks, folder: Path) -> list[Path]:
    """FOLDER/<id>.csv with the columns of a Live Link Face recording.

    Timecode is the time of day (UTC) of the stamp, hours:minutes:seconds:frame. Angles are radians:
    yaw to the subject's left, pitch down, roll towards the right shoulder; the head's are against
    its first frame, for the rig has no forward direction, the eyes' against the head.
    Raises ValueError for a head without ARKit weights.
    """
    paths = []
    for person in tracks.people:
        if any(len(face.blendshapes) != len(ARKIT_NAMES) for face in person.faces):
            raise ValueError(f"{person.id!r} has no ARKit weights: its head has no mapping to them")
        paths.append(_parent(folder / f"{person.id}.csv"))
        first = person.faces[0].rig_from_face[:3, :3]
        with paths[-1].open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(LIVE_LINK_COLUMNS)
            for stamp, face, _ in _frames(person):
                angles = [
                    _angles(
                        HEAD_FROM_FACE @ first.T @ face.rig_from_face[:3, :3] @ HEAD_FROM_FACE.T
                    ),
                    _angles(Rotation.from_rotvec(face.left_eye).as_matrix()),
                    _angles(Rotation.from_rotvec(face.right_eye).as_matrix()),
                ]
                numbers = np.concatenate([face.blendshapes, *angles])
                row = [timecode(stamp, tracks.period_s), str(len(numbers))]
                writer.writerow([*row, *(f"{value:.10f}" for value in numbers)])
    return paths


def _angles(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Yaw, pitch, roll (rad) of a rotation in the head's axes."""
    return Rotation.from_matrix(rotation).as_euler("YXZ")


def timecode(stamp_ns: int, period_s: float) -> str:
    """HH:MM:SS:FF.fff, the time of day in UTC; FF counts frames of the period."""
    seconds, rest = divmod(stamp_ns, 1_000_000_000)
    frame = round(rest * 1e-9 / period_s, 3)
    if frame * period_s > 1 - 1e-9:  # rounded up to the next second
        seconds, frame = seconds + 1, 0.0
    clock = datetime.fromtimestamp(seconds, timezone.utc)
    return f"{clock:%H:%M:%S}:{frame:06.3f}"


def export_flame(tracks: BagTracks, folder: Path) -> list[Path]:
    """FOLDER/<id>.npz with FLAME's parameters under the names of smplx's FLAME layer.

    stamps_ns (T,), betas (T, S), expression (T, E), global_orient, neck_pose, jaw_pose, leye_pose,
    reye_pose (T, 3) rotation vectors, transl (T, 3) metres: the layer then gives the vertices in
    the rig frame.
    Raises ValueError when the head is not FLAME, or not at hand.
    """
    model = tracks.model
    if model is None:
        raise ValueError("the bag's head model is not at hand: name its file with --head")
    if model.name != "flame":
        raise ValueError(f"the bag's head is {model.name!r}; FLAME parameters need a FLAME head")
    paths = []
    for person in tracks.people:
        states = [head_state(model, face) for face in person.faces]
        arrays: dict[str, Any] = {
            "stamps_ns": person.stamps_ns,
            "betas": np.stack([s.shape for s in states]),
            "expression": np.stack([s.expression for s in states]),
            "global_orient": np.stack([s.rotation for s in states]),
            "transl": np.stack([_flame_translation(model, s) for s in states]),
        }
        arrays |= {
            name: np.stack([getattr(s, ours) for s in states])
            for name, ours in _FLAME_JOINTS.items()
        }
        paths.append(_parent(folder / f"{person.id}.npz"))
        np.savez(paths[-1], **arrays)
    return paths


def _flame_translation(model: HeadModel, state: HeadState) -> NDArray[np.float64]:
    """transl (3,): the layer turns about the root joint, the state about the head's origin."""
    still = replace(state, rotation=np.zeros(3), translation=np.zeros(3))
    return posed_joints(model, state)[0] - posed_joints(model, still)[0]


def _frames(
    person: PersonTrack,
) -> list[tuple[int, FaceRecord, NDArray[np.float32] | None]]:
    return list(zip(person.stamps_ns.tolist(), person.faces, person.vertices, strict=True))


def _parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
