"""Data sets on disk as training batches, in small trees of their layouts."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from capture_trees import (
    WIDTH,
    camera_before,
    facescape_tree,
    famos_tree,
    head_at,
    write_tka,
)
from numpy.typing import NDArray

from flowface_ros import rigid
from flowface_ros.align.embedding import SKIN_POINTS
from flowface_ros.camera.camera import Camera
from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.mesh_files import write_mesh_file
from flowface_ros.head.model import HeadModel
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.state import HeadState
from flowface_ros.head.surface import SurfacePoints
from flowface_ros.train.datasets.captures import Capture
from flowface_ros.train.datasets.facescape import FacescapeCaptures
from flowface_ros.train.datasets.famos import FamosCaptures, read_tka
from flowface_ros.train.datasets.parts import batch_counts, parse_data
from flowface_ros.train.datasets.source import CaptureSource, query_points
from flowface_ros.train.model_card import data_of, licence_of
from flowface_ros.train.processes import start_processes
from flowface_ros.train.run_config import RunConfig
from flowface_ros.train.trainer import open_source

torch.set_num_threads(1)

GRID, CROP_PX = 24, 128


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return load_builtin_head()


@pytest.fixture(scope="module")
def points(model: HeadModel) -> SurfacePoints:
    return query_points(model, GRID)


@pytest.fixture(scope="module")
def turned(model: HeadModel) -> HeadState:
    return head_at(
        model, 3, rotation=np.array([0.1, 0.4, -0.2]), translation=np.array([0.2, -0.1, 1.5])
    )


def seen(camera: Camera, places: NDArray) -> NDArray:
    return camera.project(rigid.apply(camera.camera_from_rig, places))[0]


def batch_of(model: HeadModel, captures: object, count: int = 3, number: int = 0):  # type: ignore[no-untyped-def]
    source = CaptureSource(model, captures, CROP_PX, count, 5, 0)  # type: ignore[arg-type]
    return next(source.batches(number))


@pytest.mark.parametrize("K", [0.0, 0.004, -0.006])
def test_tsai_calibration_is_the_camera_that_it_describes(
    tmp_path: Path, turned: HeadState, K: float
) -> None:
    camera = camera_before(turned, 0.3)
    path = tmp_path / "30_C.tka"
    write_tka(path, camera, K, -K / 50)
    read = read_tka(path)
    places = turned.translation + np.random.default_rng(0).uniform(-0.1, 0.1, (50, 3))
    distorted = seen(read, places)
    # From the distorted to the undistorted place on the sensor, millimetres, as Tsai has it.
    sensor = (distorted - camera.intrinsics[:2, 2]) * [0.01, 0.01 * 500 / 505]
    r2 = (sensor**2).sum(axis=1, keepdims=True)
    straight = sensor * (1 + K * r2 - K / 50 * r2**2) / [0.01, 0.01 * 500 / 505]
    expected = seen(camera, places)
    np.testing.assert_allclose(straight + camera.intrinsics[:2, 2], expected, atol=0.1)
    assert K == 0 or np.abs(distorted - expected).max() > 0.5


def test_famos_truth_is_where_the_head_is(
    tmp_path: Path, model: HeadModel, points: SurfacePoints, turned: HeadState
) -> None:
    camera = camera_before(turned)
    mesh = famos_tree(tmp_path, model, turned, camera)
    captures = FamosCaptures(tmp_path, model, points)
    assert len(captures) == 1
    capture = captures.read(0)
    (view,) = capture.views
    true = SurfaceEvaluator(model, points).positions(turned)
    np.testing.assert_allclose(capture.places, true, atol=1e-6)
    # The pictures are half as large as the calibration says.
    pixel = seen(view.camera, true)
    np.testing.assert_allclose(pixel, (seen(camera, true) + 0.5) / 2 - 0.5, atol=1e-3)
    batch = batch_of(model, captures)
    assert batch.light.shape == (3, 3, CROP_PX, CROP_PX) and batch.light.dtype == torch.float16
    assert batch.position_px.shape == (3, len(points) - SKIN_POINTS, 2)
    check_crops(batch, pixel[:-SKIN_POINTS], true)

    write_mesh_file(mesh, true[:100], np.array([[0, 1, 2]]))
    with pytest.raises(ValueError, match=r"anger\.000007\.ply: has 100 vertices"):
        captures.read(0)


def check_crops(batch, pixels: NDArray, true: NDArray) -> None:  # type: ignore[no-untyped-def]
    """Crops are similarity images of the picture; what faces the camera is seen."""
    for position, visible, iod in zip(
        batch.position_px.numpy(), batch.visible.numpy(), batch.iod_px.numpy(), strict=True
    ):
        known = np.isfinite(position).all(axis=1)
        a, b = pixels[known] - pixels[known].mean(0), position[known] - position[known].mean(0)
        u, s, vt = np.linalg.svd(a.T @ b)
        scale = s.sum() / (a**2).sum()
        assert np.linalg.norm(scale * a @ u @ vt - b, axis=1).max() < 0.05
        assert np.linalg.det(u @ vt) > 0
        assert 0.2 < visible.mean() < 0.8
        eyes = true[-SKIN_POINTS:][[263, 33]]
        assert 0.15 < iod / CROP_PX < 0.6 and np.linalg.norm(eyes[0] - eyes[1]) > 0.07


def test_data_sets_are_mixed_by_weight(tmp_path: Path, model: HeadModel, turned: HeadState) -> None:
    famos_tree(tmp_path, model, turned, camera_before(turned))
    config = RunConfig(data=f"synth:0.3,famos:{tmp_path}:0.7", batch_size=3, people=2, workers=0)
    source = open_source(config, model, start_processes("cpu"))
    batch = next(source.batches(0))
    source.close()
    # What is drawn knows all of its truth; crops of pictures know it, too, here.
    assert len(batch) == 3 and batch.position_px.isfinite().all()
    assert licence_of(config).endswith("the terms of FaMoS come on top")
    assert re.fullmatch("33% pictures drawn by .*; 67% FaMoS", data_of(config))
    with pytest.raises(ValueError, match=r"batch_size: 1 is not allowed, .* for 2 parts and 0"):
        RunConfig(data=config.data, batch_size=1)


def test_batches_are_the_same_each_time(
    tmp_path: Path, model: HeadModel, points: SurfacePoints, turned: HeadState
) -> None:
    famos_tree(tmp_path, model, turned, camera_before(turned))
    batches = [batch_of(model, FamosCaptures(tmp_path, model, points), number=n) for n in (4, 4, 5)]
    same, other = (
        [torch.equal(a, b) for a, b in zip(batches[0].tensors(), x.tensors(), strict=True)]
        for x in batches[1:]
    )
    assert all(same) and not any(other[:2])


def test_a_camera_behind_the_head_gives_no_example(
    tmp_path: Path, model: HeadModel, points: SurfacePoints, turned: HeadState
) -> None:
    famos_tree(tmp_path, model, turned, camera_before(turned, side=np.pi))
    with pytest.raises(ValueError, match="no view of this moment shows the face"):
        batch_of(model, FamosCaptures(tmp_path, model, points))


def test_famos_says_what_is_missing(
    tmp_path: Path, model: HeadModel, points: SurfacePoints, turned: HeadState
) -> None:
    with pytest.raises(FileNotFoundError, match="registrations"):
        FamosCaptures(tmp_path, model, points)
    famos_tree(tmp_path, model, turned, camera_before(turned))
    (tmp_path / "flame.npz").unlink()
    with pytest.raises(FileNotFoundError, match="flowface head import"):
        FamosCaptures(tmp_path, model, points)
    calibration = next(tmp_path.rglob("*.tka"))
    good = calibration.read_text()
    for old, new, message in (
        ("f = ", "g = ", "has no f"),
        ("x = 0.01", "x = 0", "x is 0.0, must be positive"),
        ("X = ", "X = nan #", "could not convert"),
        ("K = 0", "K = nan", "not finite"),
        ("M =\n", "M =\n\n", "lines 2 to 4 are not a rotation"),
    ):
        assert old in good
        calibration.write_text(good.replace(old, new))
        with pytest.raises(ValueError, match=rf"30_C\.tka: not a calibration: .*{message}"):
            read_tka(calibration)


@pytest.fixture(scope="module")
def facescape(
    tmp_path_factory: pytest.TempPathFactory, model: HeadModel, points: SurfacePoints
) -> tuple[Path, FacescapeCaptures, dict[str, HeadState]]:
    folder = tmp_path_factory.mktemp("facescape")
    states = {
        "1_neutral": head_at(model, 1, translation=np.array([0.01, 0.02, -0.03])),
        "3_mouth_stretch": head_at(model, 1, jaw=np.array([0.3, 0.0, 0.0])),
    }
    cameras = [camera_before(states["1_neutral"], side) for side in (0.0, 0.6, -0.5)]
    facescape_tree(folder, model, states, cameras)
    return folder, FacescapeCaptures(folder, model, points), states


def test_facescape_is_registered_once_and_carried_by_topology(
    facescape: tuple[Path, FacescapeCaptures, dict[str, HeadState]],
    model: HeadModel,
    points: SurfacePoints,
) -> None:
    _, captures, states = facescape
    assert len(captures) == 2
    for number, state in enumerate(states.values()):
        capture: Capture = captures.read(number)
        true = SurfaceEvaluator(model, points).positions(state)
        error = np.linalg.norm(capture.places - true, axis=1)
        assert np.isfinite(capture.places).all(axis=1).mean() > 0.97
        assert np.nanmedian(error) < 1e-3 and np.nanpercentile(error, 95) < 3e-3
        assert [view.picture.name for view in capture.views] == ["0.jpg", "1.jpg"]
        camera = capture.views[1].camera
        expected = camera_before(states["1_neutral"], 0.6)
        assert np.abs(seen(camera, true) - seen(expected, true)).max() < 1e-3
    batch = batch_of(model, captures, 5)
    assert batch.light.isfinite().all() and 0.15 < batch.visible.float().mean() < 0.8


def test_facescape_errors_name_the_file(
    facescape: tuple[Path, FacescapeCaptures, dict[str, HeadState]],
    tmp_path: Path,
    model: HeadModel,
    points: SurfacePoints,
) -> None:
    folder, captures, _ = facescape
    params = next(folder.rglob("1_neutral/params.json"))
    text = params.read_text()
    params.write_text(text.replace('"1_K"', '"1_k"'))
    with pytest.raises(ValueError, match=r"params\.json: view 1: KeyError\('1_K'\)"):
        captures.read(0)
    params.write_text("[]")
    with pytest.raises(ValueError, match=r"params\.json: holds a list"):
        captures.read(0)
    params.write_text(text)
    with pytest.raises(ValueError, match="models_reg"):
        FacescapeCaptures(tmp_path, model, points)


def test_parts_and_weights() -> None:
    (only,) = parse_data("synth")
    assert (only.kind, only.folder, only.weight) == ("synth", None, 1.0)
    parts = parse_data("synth:0.7, famos:/data/famos:0.2,facescape:/a:b:0.1")
    assert [p.folder for p in parts] == [None, Path("/data/famos"), Path("/a:b")]
    np.testing.assert_allclose([p.weight for p in parts], [0.7, 0.2, 0.1])
    assert parse_data("pictures:/blender")[0].folder == Path("/blender")
    assert batch_counts(parts, 10) == (7, 2, 1) and batch_counts(parts, 3) == (1, 1, 1)
    assert batch_counts(parse_data("synth:98,famos:/d:1,stirling:/s:1"), 8) == (6, 1, 1)
    for size in range(3, 60):
        assert sum(batch_counts(parts, size)) == size
    with pytest.raises(ValueError, match="batch_size is 2"):
        batch_counts(parts, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video", "'video' is not known"),
        ("famos", "has no folder"),
        ("famos:0.3", "has no folder"),
        ("synth:many", "'many' is not a weight"),
        ("synth:0", "must be positive"),
        ("synth:nan", "must be positive"),
        ("synth,synth-gpu", "more than one synthetic"),
        ("", "is not known"),
    ],
)
def test_bad_parts(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_data(text)


def test_picture_of_another_size_than_its_camera(
    facescape: tuple[Path, FacescapeCaptures, dict[str, HeadState]], model: HeadModel
) -> None:
    folder, captures, _ = facescape
    params = next(folder.rglob("1_neutral/params.json"))
    text = params.read_text()
    params.write_text(text.replace(f'"0_width": {WIDTH}', '"0_width": 99'))
    try:
        with pytest.raises(ValueError, match=r"\.jpg: is \(400, 300\) pixels, its camera \(99"):
            for number in range(6):
                batch_of(model, captures, number=number)
    finally:
        params.write_text(text)
