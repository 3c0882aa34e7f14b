"""`flowface export`: what is written means what the bag says."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from pygltflib import GLTF2
from scipy.spatial.transform import Rotation

from flowface_ros import cli
from flowface_ros.bag.export_files import (
    LIVE_LINK_COLUMNS,
    export_flame,
    export_live_link,
    timecode,
)
from flowface_ros.bag.export_gltf import export_gltf
from flowface_ros.bag.person_tracks import BagTracks, PersonTrack, head_state, read_tracks
from flowface_ros.head.blendshapes import ARKIT_NAMES
from flowface_ros.head.mesh_files import read_mesh_file
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.rigid import rotation_from_rotvec

TRUTH = ("--namespace", "/ground_truth")
FRAMES = 6


@pytest.fixture(scope="module")
def tracks(truth_bag: Path) -> BagTracks:
    return read_tracks(truth_bag, "/ground_truth")


def export(bag: Path, out: Path, kind: str, *more: str) -> int:
    return cli.main(["export", str(bag), "--format", kind, "--out", str(out), *TRUTH, *more])


def test_tracks(tracks: BagTracks) -> None:
    (person,) = tracks.people
    assert person.id == "f0" and len(person.faces) == FRAMES
    assert tracks.period_s == pytest.approx(1 / 15, abs=1e-6)
    assert tracks.model is not None and tracks.model.name == "flowface"


def test_the_state_of_a_face_gives_its_mesh_again(tracks: BagTracks) -> None:
    (person,) = tracks.people
    for face, vertices in zip(person.faces, person.vertices, strict=True):
        again = pose_vertices(tracks.model, head_state(tracks.model, face))
        np.testing.assert_allclose(again, vertices, atol=5e-6)
    with pytest.raises(ValueError, match="shape coefficients"):
        head_state(tracks.model, replace(person.faces[0], shape=np.zeros(3)))


def test_npz(truth_bag: Path, tracks: BagTracks, tmp_path: Path) -> None:
    assert export(truth_bag, tmp_path, "npz") == 0
    files = sorted((tmp_path / "f0").glob("*.npz"))
    assert len(files) == FRAMES
    with np.load(files[2]) as arrays:
        assert int(files[2].stem) == arrays["stamp_ns"] == tracks.people[0].stamps_ns[2]
        np.testing.assert_array_equal(arrays["vertices"], tracks.people[0].vertices[2])
        np.testing.assert_array_equal(arrays["jaw"], tracks.people[0].faces[2].jaw)
    with np.load(tmp_path / "head_model.npz") as arrays:
        assert list(arrays["blendshape_names"]) == list(ARKIT_NAMES)


@pytest.mark.parametrize("kind", ["obj", "ply"])
def test_meshes(truth_bag: Path, tracks: BagTracks, tmp_path: Path, kind: str) -> None:
    assert export(truth_bag, tmp_path, kind) == 0
    (path, *rest) = sorted((tmp_path / "f0").glob(f"*.{kind}"))
    assert len(rest) == FRAMES - 1
    mesh = read_mesh_file(path)
    np.testing.assert_allclose(mesh.vertices, tracks.people[0].vertices[0], atol=1e-6)
    np.testing.assert_array_equal(mesh.triangles, tracks.mesh.triangles)
    other = trimesh.load(path, process=False)
    np.testing.assert_allclose(other.vertices, mesh.vertices, atol=1e-6)


def test_live_link(truth_bag: Path, tracks: BagTracks, tmp_path: Path) -> None:
    assert export(truth_bag, tmp_path, "csv") == 0
    with (tmp_path / "f0.csv").open(newline="") as file:
        head, *rows = list(csv.reader(file))
    assert tuple(head) == LIVE_LINK_COLUMNS and len(rows) == FRAMES
    assert head[:3] == ["Timecode", "BlendshapeCount", "EyeBlinkLeft"]
    assert head[53:56] == ["TongueOut", "HeadYaw", "HeadPitch"] and head[-1] == "RightEyeRoll"
    table = np.array([[float(v) for v in row[1:]] for row in rows])
    assert (table[:, 0] == 61).all()
    weights = np.stack([face.blendshapes for face in tracks.people[0].faces])
    np.testing.assert_allclose(table[:, 1:53], weights, atol=1e-9)
    np.testing.assert_allclose(table[0, 53:56], 0, atol=1e-9)


def test_live_link_angles(tracks: BagTracks, tmp_path: Path) -> None:
    """The face's axes: x forward, y left, z up. To the left, then down."""
    (person,) = tracks.people
    start = person.faces[0].rig_from_face
    turns = ([0, 0, 0.2], [0, 0.3, 0], [0.1, 0, 0])
    faces = [person.faces[0]]
    for turn in turns:
        pose = start.copy()
        pose[:3, :3] = start[:3, :3] @ rotation_from_rotvec(turn)
        faces.append(replace(person.faces[0], rig_from_face=pose, left_eye=np.array([0.1, 0, 0])))
    moved = PersonTrack("a", person.stamps_ns[:4], tuple(faces), (None,) * 4)
    (path,) = export_live_link(replace(tracks, people=(moved,)), tmp_path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    angles = [[float(row[f"Head{a}"]) for a in ("Yaw", "Pitch", "Roll")] for row in rows]
    np.testing.assert_allclose(
        angles, [[0, 0, 0], [0.2, 0, 0], [0, 0.3, 0], [0, 0, 0.1]], atol=1e-9
    )
    assert float(rows[1]["LeftEyePitch"]) == pytest.approx(0.1)


def test_timecode() -> None:
    noon = 12 * 3600 * 10**9
    assert timecode(noon + 61 * 10**9 + 500_000_000, 1 / 30) == "12:01:01:15.000"
    assert timecode(noon + 16_666_667, 1 / 30) == "12:00:00:00.500"
    assert timecode(noon - 1_000, 1 / 30) == "12:00:00:00.000", "there is no frame 30"


def read_accessor(file: GLTF2, index: int) -> np.ndarray:
    accessor = file.accessors[index]
    view = file.bufferViews[accessor.bufferView]
    data = file.binary_blob()[view.byteOffset : view.byteOffset + view.byteLength]
    kind = {5126: "<f4", 5125: "<u4"}[accessor.componentType]
    width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}[accessor.type]
    return np.frombuffer(data, kind).reshape(accessor.count, width)


def test_gltf(truth_bag: Path, tracks: BagTracks, tmp_path: Path) -> None:
    """Base, targets, weights and pose give the bag's mesh again, but for linear blending."""
    assert export(truth_bag, tmp_path, "gltf") == 0
    file = GLTF2().load(str(tmp_path / "tracking.glb"))
    (mesh,) = file.meshes
    (primitive,) = mesh.primitives
    assert mesh.extras["targetNames"] == list(ARKIT_NAMES) and len(primitive.targets) == 52
    base = read_accessor(file, primitive.attributes.POSITION)
    shifts = np.stack([read_accessor(file, target["POSITION"]) for target in primitive.targets])
    channels = {channel.target.path: channel for channel in file.animations[0].channels}
    assert {channel.target.node for channel in channels.values()} == {1}
    output = {
        path: read_accessor(file, file.animations[0].samplers[channel.sampler].output)
        for path, channel in channels.items()
    }
    weights = output["weights"].reshape(FRAMES, 52)
    triangles = read_accessor(file, primitive.indices).reshape(-1, 3)
    corners = tracks.mesh.triangles
    for t, vertices in enumerate(tracks.people[0].vertices):
        local = base + np.einsum("k,kvi->vi", weights[t], shifts)
        turn = Rotation.from_quat(output["rotation"][t]).as_matrix()
        placed = local @ turn.T + output["translation"][t]
        error = np.linalg.norm(placed[triangles] - vertices[corners], axis=2)
        face = tracks.model.vertex_groups["face"]
        on_face = np.isin(corners, face)
        assert error[on_face].mean() < 1e-3 and error[on_face].max() < 8e-3
    assert isinstance(trimesh.load(tmp_path / "tracking.glb"), trimesh.Scene)


def test_gltf_stands_upright(truth_bag: Path, tracks: BagTracks, tmp_path: Path) -> None:
    """z of the rig is y of the file."""
    scene = trimesh.load(export_gltf(tracks, tmp_path)[0])
    (name,) = scene.graph.nodes_geometry
    file_from_rig, _ = scene.graph.get(name)
    np.testing.assert_allclose(file_from_rig[:3, :3] @ [0, 0, 1], [0, 1, 0], atol=1e-6)


def flame_tracks(tracks: BagTracks) -> BagTracks:
    """The same bag as if its head were FLAME: no mapping to ARKit, another name."""
    model = replace(tracks.model, name="flame", blendshapes=None)
    return replace(tracks, model=model)


def test_flame_parameters(tracks: BagTracks, tmp_path: Path) -> None:
    """Fed to FLAME's own formula, about the root joint, they give the vertices again."""
    flame = flame_tracks(tracks)
    (path,) = export_flame(flame, tmp_path)
    with np.load(path) as file:
        values = {name: file[name] for name in file.files}
    assert values["betas"].shape == (FRAMES, flame.model.shape_count)
    for t, vertices in enumerate(flame.people[0].vertices):
        state = replace(
            head_state(flame.model, flame.people[0].faces[t]),
            translation=np.zeros(3),
            rotation=np.zeros(3),
            jaw=values["jaw_pose"][t],
            left_eye=values["leye_pose"][t],
        )
        unposed = pose_vertices(flame.model, state)
        shaped = flame.model.template + flame.model.shape_basis @ values["betas"][t]
        shaped = shaped + flame.model.expression_basis @ values["expression"][t]
        root = flame.model.joint_regressor[0] @ shaped
        turn = rotation_from_rotvec(values["global_orient"][t])
        placed = (unposed - root) @ turn.T + root + values["transl"][t]
        np.testing.assert_allclose(placed, vertices, atol=1e-5)


def test_gltf_of_a_head_without_arkit(tracks: BagTracks, tmp_path: Path) -> None:
    """Its own coefficients and joints are the targets."""
    (path,) = export_gltf(flame_tracks(tracks), tmp_path)
    names = GLTF2().load(str(path)).meshes[0].extras["targetNames"]
    assert names[: tracks.model.expression_count] == list(tracks.model.expression_names)
    assert names[-9:] == [f"{j}_{a}" for j in ("jaw", "left_eye", "right_eye") for a in "xyz"]


def test_what_cannot_be_written(
    truth_bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(truth_bag, tmp_path, "flame") == 2
    assert "the bag's head is 'flowface'" in capsys.readouterr().err
    assert export(truth_bag, tmp_path, "csv", "--id", "f7") == 2
    assert "--id: no f7; the bag has f0" in capsys.readouterr().err
    assert cli.main(["export", str(truth_bag), "--format", "csv", "--out", str(tmp_path)]) == 2
    assert "no FaceArray topic" in capsys.readouterr().err
