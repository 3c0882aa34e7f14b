"""Scans and photographs without calibration: registration, expression and camera are found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from capture_trees import write_noise
from numpy.typing import NDArray

from flowface_ros import rigid
from flowface_ros.align.embedding import SKIN_POINTS
from flowface_ros.camera.camera import Camera
from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.mesh_files import write_mesh_file
from flowface_ros.head.model import HeadModel
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.head.state import HeadState, neutral_state
from flowface_ros.head.surface import SurfacePoints
from flowface_ros.synth.person.person import Odds, Person, sample_person
from flowface_ros.synth.render.light import sample_light
from flowface_ros.synth.scene.picture import render_scene
from flowface_ros.train.datasets.source import CaptureSource, query_points
from flowface_ros.train.datasets.stirling import StirlingCaptures

torch.set_num_threads(1)

WIDTH, HEIGHT, FOCAL, DISTANCE = 360, 420, 700.0, 0.7


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return load_builtin_head()


@pytest.fixture(scope="module")
def person(model: HeadModel) -> Person:
    return sample_person(model, np.random.default_rng(4), 256, 800, Odds(0, 0, 0, 1))


def camera() -> Camera:
    K = np.array([[FOCAL, 0, (WIDTH - 1) / 2], [0, FOCAL, (HEIGHT - 1) / 2], [0, 0, 1]])
    pose = rigid.transform(np.diag([1.0, -1.0, -1.0]), np.array([0, 0, DISTANCE]))
    return Camera("camera", WIDTH, HEIGHT, K, rig_from_camera=pose)


def write_photograph(path: Path, person: Person, state: HeadState) -> None:
    background = np.full((HEIGHT, WIDTH, 3), 0.3, np.float32)
    rng = np.random.default_rng(8)
    image = render_scene([(person, state)], camera(), sample_light(rng), background, [])
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image.rgb[..., ::-1])


def write_scan(path: Path, model: HeadModel, state: HeadState) -> None:
    """The skin and the eyes, in one piece, in millimetres."""
    shown = np.zeros(model.vertex_count, bool)
    for name in ("skin", "left_eyeball", "right_eyeball"):
        shown[model.vertex_groups[name]] = True
    path.parent.mkdir(parents=True, exist_ok=True)
    triangles = model.triangles[shown[model.triangles].all(axis=1)]
    write_mesh_file(path, 1e3 * pose_vertices(model, state), triangles)


@pytest.fixture(scope="module")
def tree(
    tmp_path_factory: pytest.TempPathFactory, model: HeadModel, person: Person
) -> tuple[Path, list[HeadState]]:
    folder = tmp_path_factory.mktemp("stirling")
    neutral = replace(neutral_state(model), shape=person.shape)
    surprised = replace(neutral, jaw=np.array([0.32, 0.0, 0.0]))
    for name, state in (("neutral", neutral), ("surprise", surprised)):
        write_scan(folder / "3D" / f"F1001_{name}.obj", model, state)
        write_noise(folder / "3D" / f"F1001_{name}.png")
        turned = replace(state, rotation=np.array([0.05, 0.25, 0.0]))
        write_photograph(folder / "2D" / f"F1001_{name}_20.png", person, turned)
    write_noise(folder / "2D" / "F1001_nobody.png")
    write_scan(folder / "3D" / "M1002_neutral.obj", model, neutral)
    return folder, [neutral, surprised]


@pytest.fixture(scope="module")
def points(model: HeadModel) -> SurfacePoints:
    return query_points(model, 24)


@pytest.mark.slow
def test_photographs_find_their_scan_and_camera(
    tree: tuple[Path, list[HeadState]], model: HeadModel, points: SurfacePoints
) -> None:
    folder, states = tree
    captures = StirlingCaptures(folder, model, points)
    assert len(captures) == 2  # nobody took pictures of M1002
    for number, state in enumerate(states):
        capture = captures.read(number)
        true = SurfaceEvaluator(model, points).positions(state)
        error = np.linalg.norm(capture.places - true, axis=1)
        assert np.nanmedian(error) < 2.5e-3
        (view,) = capture.views
        assert ("neutral", "surprise")[number] in view.picture.name
        turned = replace(state, rotation=np.array([0.05, 0.25, 0.0]))
        expected = seen(camera(), SurfaceEvaluator(model, points).positions(turned))
        off = np.linalg.norm(seen(view.camera, capture.places) - expected, axis=1)
        eyes = np.linalg.norm(np.subtract(*expected[-SKIN_POINTS:][[33, 263]]))
        assert np.nanmedian(off[-SKIN_POINTS:]) / eyes < 0.04
    source = CaptureSource(model, captures, 128, 2, 0, 0)
    batch = next(source.batches(0))
    assert batch.visible.float().mean() > 0.15


def seen(camera: Camera, places: NDArray) -> NDArray:
    return camera.project(rigid.apply(camera.camera_from_rig, places))[0]


def test_errors_name_the_file(
    tmp_path: Path, model: HeadModel, points: SurfacePoints, person: Person
) -> None:
    with pytest.raises(ValueError, match="nobody has a scan"):
        StirlingCaptures(tmp_path, model, points)
    corners = np.array([[0, 0, 0], [0.2, 0, 0], [0, 0.2, 0]])
    write_mesh_file(tmp_path / "F1001.obj", corners, np.array([[0, 1, 2]]))
    write_noise(tmp_path / "photographs" / "F1001.png")
    with pytest.raises(ValueError, match=r"F1001\.obj: no face is seen"):
        StirlingCaptures(tmp_path, model, points).read(0)
