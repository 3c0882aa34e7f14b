"""Readers of published data sets, on small trees in their layouts, and what is measured there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from flowface_ros import cli
from flowface_ros.evaluate.multiface import read_krt, read_segment
from flowface_ros.evaluate.scan_benchmarks import (
    face_sphere,
    now_distances_mm,
    now_items,
    read_picked_points,
    surface_score,
)
from flowface_ros.head.mesh_files import MeshFile, write_mesh_file
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.rigid import apply, rotation_from_rotvec, transform

FRAMES = ("000102", "000105", "000108")
SPEED_M = 0.001
FOCAL = 500.0


def bumpy(steps: int = 24, half: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """A surface like a face, metres: a bump without symmetry."""
    x, y = np.meshgrid(*[np.linspace(-half, half, steps + 1)] * 2)
    z = 0.05 * np.exp(-((x / 0.05) ** 2) - ((y / 0.08) ** 2)) + 0.3 * x * y + 0.1 * x
    corner = np.arange((steps + 1) * steps).reshape(steps, steps + 1)[:, :-1].reshape(-1)
    a, b, c, d = corner, corner + 1, corner + steps + 1, corner + steps + 2
    triangles = np.concatenate([np.stack([a, b, d], 1), np.stack([a, d, c], 1)])
    return np.stack([x, y, z], axis=-1).reshape(-1, 3), triangles


@pytest.fixture
def multiface(tmp_path: Path) -> Path:
    """A person before two cameras 1 m away, who moves to the right by 1 mm a frame."""
    entity = tmp_path / "m--20180227--0000--6795937--GHS"
    meshes = entity / "tracked_mesh" / "E001_Neutral"
    meshes.mkdir(parents=True)
    vertices, triangles = bumpy()
    for t, frame in enumerate(FRAMES):
        write_mesh_file(meshes / f"{frame}.obj", 1e3 * vertices, triangles)
        (1e3 * vertices).astype(np.float32).tofile(meshes / f"{frame}.bin")
        pose = transform(np.eye(3), [1e3 * SPEED_M * t, 0, 1000])
        np.savetxt(meshes / f"{frame}_transform.txt", pose[:3])
    blocks = []
    for name, shift in (("400002", 0.0), ("400004", 80.0), ("400070", 0.0)):
        blocks += [name, f"{FOCAL} 0 80", f"0 {FOCAL} 100", "0 0 1", "0 0 0 0 0"]
        blocks += [f"1 0 0 {shift}", "0 1 0 0", "0 0 1 0", ""]
    (entity / "KRT").write_text("\n".join(blocks) + "\n")
    for name in ("400002", "400004"):
        folder = entity / "images" / "E001_Neutral" / name
        folder.mkdir(parents=True)
        for frame in FRAMES:
            cv2.imwrite(str(folder / f"{frame}.png"), np.full((200, 160, 3), 30, np.uint8))
    return entity


def test_multiface_segment(multiface: Path) -> None:
    segment = read_segment(multiface, "E001_Neutral")
    assert segment.frames == FRAMES
    assert [camera.name for camera in segment.cameras] == ["400002", "400004"]
    assert (segment.cameras[0].width, segment.cameras[0].height) == (160, 200)
    np.testing.assert_allclose(segment.cameras[1].rig_from_camera[:3, 3], [-0.08, 0, 0])
    vertices, _ = bumpy()
    np.testing.assert_allclose(
        segment.mesh.vertices[2], vertices + np.array([0.002, 0, 1]), atol=1e-6
    )
    assert segment.image("400004", "000105").shape == (200, 160, 3)
    only = read_segment(multiface, "E001_Neutral", ("400004",))
    assert [camera.name for camera in only.cameras] == ["400004"]


def test_multiface_ssme(multiface: Path, tmp_path: Path) -> None:
    """A prediction of other topology that stands still is off by the motion."""
    predictions, out = tmp_path / "predictions", tmp_path / "out"
    predictions.mkdir()
    vertices, triangles = bumpy(40)
    for frame in FRAMES:
        write_mesh_file(predictions / f"{frame}.ply", vertices + np.array([0, 0, 1]), triangles)
    target = str(multiface / "tracked_mesh" / "E001_Neutral")
    arguments = [str(predictions), "--multiface", target, "--out", str(out)]
    assert cli.main(["evaluate", *arguments]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    # The surface is 0.95 to 1.01 m away.
    expected = FOCAL * SPEED_M * np.array([1, 2])
    np.testing.assert_allclose(metrics["by_horizon_px"][:2], expected, rtol=0.03)
    assert metrics["by_horizon_px"][2] is None
    assert metrics["coverage"] > 0.95 and set(metrics["cameras"]) == {"400002", "400004"}


def test_multiface_folders_that_are_none(
    multiface: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in (multiface, tmp_path / "tracked_mesh" / "nowhere"):
        command = ["evaluate", str(tmp_path), "--multiface", str(folder), "--out", str(tmp_path)]
        assert cli.main(command) == 2
        assert f"error: {folder}: is no folder tracked_mesh/SEGMENT" in capsys.readouterr().err


def test_multiface_files_that_do_not_fit(multiface: Path) -> None:
    krt = multiface / "KRT"
    good = krt.read_text()
    krt.write_text(good.replace("0 0 0 0 0", "0 0 0", 1))
    with pytest.raises(ValueError, match="KRT: camera 400002: expected 5 numbers"):
        read_krt(krt)
    krt.write_text(good.replace("1 0 0 0.0", "1 0 0 1e999", 1))
    with pytest.raises(ValueError, match="KRT: camera 400002: a pose must be finite"):
        read_krt(krt)
    krt.write_text(good + "400099\n1 2 3\n")
    with pytest.raises(ValueError, match="not whole blocks"):
        read_krt(krt)
    krt.write_text(good)
    with pytest.raises(ValueError, match="no camera 400005"):
        read_segment(multiface, "E001_Neutral", ("400005",))
    with pytest.raises(FileNotFoundError, match="no such segment"):
        read_segment(multiface, "E002_Swallow")
    short = multiface / "tracked_mesh" / "E001_Neutral" / "000105.bin"
    np.zeros(5, np.float32).tofile(short)
    with pytest.raises(ValueError, match=r"000105\.bin: has 5 numbers"):
        read_segment(multiface, "E001_Neutral")
    pose = multiface / "tracked_mesh" / "E001_Neutral" / "000102_transform.txt"
    pose.write_text("1 0 0 left\n")
    with pytest.raises(ValueError, match=r"000102_transform\.txt: could not convert"):
        read_segment(multiface, "E001_Neutral")


PICKED = "<!DOCTYPE PickedPoints>\n<PickedPoints>\n{}</PickedPoints>\n"


def landmarks_of(vertices: np.ndarray) -> np.ndarray:
    """Seven points of the built-in head in NoW's order, from its 68."""
    model = load_builtin_head()
    chosen = model.landmarks["ibug68"][np.array([36, 39, 42, 45, 33, 48, 54])]
    return chosen.interpolate(model.triangles, vertices)


@pytest.fixture
def now(tmp_path: Path) -> tuple[Path, Path]:
    """A scan (mm) of the built-in head, elsewhere in space, and the head as a prediction: right in
    the first picture, 6 mm too deep around the nose in the second, missing in the third."""
    dataset, predictions = tmp_path / "now", tmp_path / "predictions"
    model = load_builtin_head()
    pose = transform(rotation_from_rotvec([0.3, -0.2, 0.1]), [40, 20, -900])
    scans, points = dataset / "scans" / "FaMoS_1", dataset / "scans_lmks_onlypp" / "FaMoS_1"
    scans.mkdir(parents=True)
    points.mkdir(parents=True)
    scan = apply(pose, 1e3 * model.template)[::4]
    write_mesh_file(scans / "scan.obj", scan, np.zeros((0, 3), int))
    rows = "".join(
        f'<point x="{x}" y="{y}" z="{z}" active="1" name="{i}"/>\n'
        for i, (x, y, z) in enumerate(apply(pose, 1e3 * landmarks_of(model.template)))
    )
    (points / "scan_picked_points.pp").write_text(PICKED.format(rows))
    pictures = [f"FaMoS_1/multiview_neutral/IMG_{i}.jpg" for i in (1, 2, 3)]
    (dataset / "imagepathsvalidation.txt").write_text("\n".join(pictures) + "\n")
    folder = predictions / "FaMoS_1" / "multiview_neutral"
    folder.mkdir(parents=True)
    dented = np.array(model.template, np.float64)
    dented[model.vertex_groups["nose"], 2] -= 0.006
    for name, vertices, suffix in (("IMG_1", model.template, ".obj"), ("IMG_2", dented, ".ply")):
        # Any scale: the benchmark aligns it.
        write_mesh_file(folder / f"{name}{suffix}", 10 * vertices, model.triangles)
        np.save(folder / f"{name}.npy", 10 * landmarks_of(vertices))
    return dataset, predictions


def test_now(now: tuple[Path, Path], tmp_path: Path) -> None:
    right, dented, missing = now_items(*now)
    assert missing.mesh is None and dented.mesh is not None and dented.mesh.suffix == ".ply"
    assert np.median(now_distances_mm(right)) < 0.01
    distances = now_distances_mm(dented)
    assert 0.05 < np.median(distances) < 2 and distances.max() > 3
    with pytest.raises(ValueError, match=r"IMG_3\.jpg has no predicted mesh"):
        now_distances_mm(missing)
    out = tmp_path / "out"
    assert cli.main(["evaluate", str(now[1]), "--now", str(now[0]), "--out", str(out)]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["pictures"] == 2 and metrics["missing"] == 1
    assert list(metrics["challenges"]) == ["multiview_neutral"]


def test_now_metrical_keeps_the_scale(now: tuple[Path, Path]) -> None:
    """Predictions in metres are judged as they are, 5 % too large as that."""
    item = now_items(*now)[0]
    model = load_builtin_head()
    assert item.mesh is not None and item.mesh_landmarks is not None
    medians = []
    for scale in (1.0, 1.05):
        vertices = scale * model.template
        write_mesh_file(item.mesh, vertices, model.triangles)
        np.save(item.mesh_landmarks, landmarks_of(vertices))
        medians.append(np.median(now_distances_mm(item, metrical=True)))
    assert medians[0] < 0.01 and medians[1] > 0.5


def test_now_files_that_do_not_fit(now: tuple[Path, Path]) -> None:
    dataset, predictions = now
    points = next((dataset / "scans_lmks_onlypp" / "FaMoS_1").glob("*.pp"))
    right = points.with_name("right.txt")
    right.write_text(points.read_text())
    points.write_text(PICKED.format('<point x="1" y="2" z="3"/>'))
    with pytest.raises(ValueError, match="must hold 7 finite points"):
        read_picked_points(points)
    first = now_items(*now)[0]
    assert first.mesh is not None
    landmarks = predictions / "FaMoS_1" / "multiview_neutral" / "IMG_1.npy"
    for content in (b"", b"seven points"):
        landmarks.write_bytes(content)
        with pytest.raises(ValueError, match=r"IMG_1\.npy: not 7 landmarks"):
            now_distances_mm(replace(first, scan_landmarks=right))
    write_mesh_file(first.mesh, np.eye(3), np.zeros((0, 3), int))
    with pytest.raises(ValueError, match=r"IMG_1\.obj: has no faces"):
        now_distances_mm(replace(first, scan_landmarks=right))
    points.write_text("no xml")
    with pytest.raises(ValueError, match="not a file of picked points"):
        read_picked_points(points)
    (dataset / "imagepathsvalidation.txt").write_text("one.jpg\n")
    with pytest.raises(ValueError, match="is not SUBJECT/CHALLENGE/IMAGE"):
        now_items(dataset, predictions)


def test_the_judged_part_of_a_scan() -> None:
    points = np.array(
        [[-45, 0, 0], [-15, 0, 0], [15, 0, 0], [45, 0, 0], [0, -50, 0]] + [[0, 0, 0]] * 2
    )
    centre, radius = face_sphere(points.astype(float))
    np.testing.assert_allclose(centre, [0, -35, 0])
    assert radius == pytest.approx(0.7 * (90 + 50))


def test_facescape_measures_of_parallel_planes() -> None:
    """2 mm apart, facing alike; the prediction covers half of the truth."""
    square = np.array([[0, 0, 0], [100, 0, 0], [100, 100, 0], [0, 100, 0.0]])
    fine = np.stack(np.meshgrid(np.arange(11) * 10, np.arange(11) * 10, [0]), -1).reshape(-1, 3)
    corner = np.arange(110).reshape(10, 11)[:, :-1].reshape(-1)
    cells = np.stack([corner, corner + 11, corner + 12, corner + 1], 1)
    triangles = np.concatenate([cells[:, [0, 1, 2]], cells[:, [0, 2, 3]]]).astype(np.int32)
    truth = MeshFile(fine.astype(float), triangles)
    half = np.array([[0, 1, 2], [0, 2, 3]], np.int32)[:, ::-1]
    guess = MeshFile(square * (0.5, 1, 1) + (0, 0, 2), half)
    score = surface_score(truth, guess, reach=5)
    assert score.chamfer == pytest.approx(2)
    assert score.normal_error == pytest.approx(0, abs=1e-6)
    assert score.completeness == pytest.approx(0.5, abs=0.1)


def test_facescape_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vertices, triangles = bumpy()
    for root, shift in (("truth", 0.0), ("predictions", 1.5)):
        folder = tmp_path / root / "1" / "models_reg"
        folder.mkdir(parents=True)
        write_mesh_file(folder / "1_neutral.v2.obj", 1e3 * vertices + (0, 0, shift), triangles)
    arguments = [str(tmp_path / "predictions"), "--facescape", str(tmp_path / "truth")]
    assert cli.main(["evaluate", *arguments, "--out", str(tmp_path / "out")]) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert 0.8 < metrics["chamfer_mm"] <= 1.5 and metrics["completeness"] == 1
    assert list(metrics["meshes"]) == ["1/models_reg/1_neutral.v2"]
    (tmp_path / "empty").mkdir()
    arguments = [str(tmp_path / "empty"), "--facescape", str(tmp_path / "truth")]
    assert cli.main(["evaluate", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert "no mesh under a relative path" in capsys.readouterr().err
