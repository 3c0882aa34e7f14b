"""Small trees in the layouts of published data sets, made of the built-in head."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from flowface_ros import rigid
from flowface_ros.camera.camera import Camera
from flowface_ros.head.mesh_files import write_mesh_file
from flowface_ros.head.model import HeadModel
from flowface_ros.head.model_file import write_head
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.head.state import HeadState, neutral_state
from flowface_ros.train.datasets.correspondence import INNER_LANDMARKS

WIDTH, HEIGHT = 400, 300


def head_at(model: HeadModel, seed: int, **changes: NDArray) -> HeadState:
    shape = np.random.default_rng(seed).normal(0, 0.7, model.shape_count)
    return replace(neutral_state(model), shape=shape, **changes)


def camera_before(state: HeadState, side: float = 0.0, distance: float = 0.6) -> Camera:
    """A pinhole that looks at the head from the front, or from its left by `side` radians."""
    turn = rigid.rotation_from_rotvec(state.rotation) @ rigid.rotation_from_rotvec([0, side, 0])
    facing = turn @ np.diag([1.0, -1.0, -1.0])
    centre = state.translation + turn @ np.array([0.0, 0.0, distance])
    K = np.array([[500.0, 0, 195], [0, 505, 152], [0, 0, 1]])
    return Camera("v", WIDTH, HEIGHT, K, rig_from_camera=rigid.transform(facing, centre))


def write_noise(path: Path, seed: int = 0, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    assert cv2.imwrite(str(path), noise)


def other_topology(
    model: HeadModel, vertices: NDArray
) -> tuple[NDArray, NDArray[np.int32], NDArray[np.int64]]:
    """The skin with every triangle cut in four and its vertices in another order: vertices,
    triangles, and rows of iBUG's 68."""
    on_skin = np.zeros(model.vertex_count, bool)
    on_skin[model.vertex_groups["skin"]] = True
    triangles = model.triangles[on_skin[model.triangles].all(axis=1)]
    edges = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]], axis=2)
    unique, row = np.unique(edges.reshape(-1, 2), axis=0, return_inverse=True)
    middles = vertices[unique].mean(axis=1)
    a, b, c = triangles.T
    x, y, z = len(vertices) + row.reshape(-1, 3).T
    cut = np.concatenate([np.stack(t, 1) for t in ((a, x, z), (x, b, y), (z, y, c), (x, y, z))])
    everything = np.concatenate([vertices, middles])
    used = np.random.default_rng(0).permutation(np.unique(cut))
    new = np.full(len(everything), -1)
    new[used] = np.arange(len(used))
    landmarks = model.landmarks["ibug68"].interpolate(model.triangles, vertices)
    distance = np.linalg.norm(everything[used][None] - landmarks[:, None], axis=2)
    return everything[used], new[cut].astype(np.int32), distance.argmin(axis=1)


def famos_tree(folder: Path, model: HeadModel, state: HeadState, camera: Camera) -> Path:
    """One registration, one picture of half its size, one calibration."""
    write_head(folder / "flame.npz", model)
    mesh = folder / "registrations" / "FaMoS_subject_001" / "anger" / "anger.000007.ply"
    mesh.parent.mkdir(parents=True)
    write_mesh_file(mesh, pose_vertices(model, state), model.triangles)
    name = "anger.000007.30_C.png"
    picture = folder / "training_images_4" / "FaMoS_subject_001" / "anger" / "000007" / name
    write_noise(picture, size=(WIDTH // 2, HEIGHT // 2))
    write_tka(folder / "training_calibrations" / "FaMoS_subject_001" / "anger" / "30_C.tka", camera)
    return mesh


def write_tka(path: Path, camera: Camera, K: float = 0.0, K2: float = 0.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixel_mm = 0.01
    X, Y, Z = 1e3 * camera.rig_from_camera[:3, 3]
    f = camera.intrinsics[0, 0] * pixel_mm
    y_mm = f / camera.intrinsics[1, 1]
    rows = [" ".join(f"{v:.17g}" for v in row) + " " for row in camera.camera_from_rig[:3, :3]]
    fields = {"X": X, "Y": Y, "Z": Z, "f": f, "K": K, "K2": K2, "S": 1.0, "x": pixel_mm, "y": y_mm}
    fields |= {"a": camera.intrinsics[0, 2], "b": camera.intrinsics[1, 2]}
    lines = ["M =", *rows, *(f"{name} = {value:.17g}" for name, value in fields.items())]
    lines += [f"IS = {camera.width} {camera.height}", "c = 0"]
    path.write_text("\n".join(lines) + "\n")


def facescape_tree(
    folder: Path, model: HeadModel, states: dict[str, HeadState], cameras: list[Camera]
) -> None:
    """One person; the last camera is marked as not valid. The multi-view frame is turned, shifted
    and scaled against the models'."""
    scale, turn, shift = 21.5, rigid.rotation_from_rotvec([0.3, -0.2, 1.1]), np.array([7.0, -9, 4])
    frames: dict[str, list] = {}
    for expression, state in states.items():
        vertices, triangles, rows = other_topology(model, pose_vertices(model, state))
        path = folder / "facescape_trainset_001_100" / "7" / "models_reg" / f"{expression}.obj"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_mesh_file(path, 1e3 * vertices, triangles)
        pictures = folder / "fsmview_trainset" / "7" / expression
        params: dict[str, object] = {}
        for i, camera in enumerate(cameras):
            write_noise(pictures / f"{i}.jpg")
            # x_c ~ R (1000 X) + t, with 1000 X = scale turn Y + shift
            pose = camera.camera_from_rig
            R = pose[:3, :3] @ turn
            t = (1e3 * pose[:3, 3] + pose[:3, :3] @ shift) / scale
            params[f"{i}_K"] = camera.intrinsics.tolist()
            params[f"{i}_Rt"] = np.column_stack([R, t]).tolist()
            params[f"{i}_distortion"] = [0.0] * 5
            params[f"{i}_width"], params[f"{i}_height"] = WIDTH, HEIGHT
            params[f"{i}_valid"] = i < len(cameras) - 1
        (pictures / "params.json").write_text(json.dumps(params))
        matrix = np.column_stack([turn, shift]).tolist()
        frames[expression.split("_")[0]] = [scale, matrix]
    predef = folder / "predef"
    predef.mkdir()
    (predef / "Rt_scale_dict.json").write_text(json.dumps({"7": frames}))
    np.savez(predef / "landmark_indices.npz", v10=rows)
    assert len(rows[INNER_LANDMARKS]) == 51
