"""`flowface evaluate --peer mediapipe`, with a pretended MediaPipe that knows the truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from scipy.spatial import Delaunay

from flowface_ros import cli
from flowface_ros.align.embedding import landmark_points
from flowface_ros.bag.all_images import all_images
from flowface_ros.bag.evaluation_input import read_recording
from flowface_ros.bag.reader import open_bag
from flowface_ros.evaluate.matching import truth_at
from flowface_ros.evaluate.moving_mesh import project_vertices
from flowface_ros.evaluate.peer import landmarker
from flowface_ros.evaluate.peer.aligner import picture_key
from flowface_ros.evaluate.peer.mesh import lifted, nearest_face
from flowface_ros.evaluate.report import SCHEMA_PATH
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.ros.transform_buffer import recording_buffer

Pretend = Callable[..., Path]


@pytest.fixture
def pretend(truth_bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """Writes what the pretended MediaPipe knows: the true points of every image, moved by
    shift_px(frame)."""

    def write(shift_px: Callable[[int], float] = lambda frame: 0.0, dies: bool = False) -> Path:
        model = load_builtin_head()
        points = landmark_points(model)
        recording = read_recording(truth_bag, truth_bag, recording_buffer(), "/ground_truth")
        faces = {}
        with open_bag(truth_bag) as bag:
            for row, (name, stamp, image) in enumerate(all_images(bag, recording.cameras)):
                camera = recording.cameras[name](stamp)
                (face,) = truth_at(recording.truth, stamp)
                assert face.vertices is not None
                places = project_vertices(
                    camera, points.interpolate(model.triangles, face.vertices)
                )
                depth = places[:, 2:] - places[:, 2].mean()
                pixels = places[:, :2] + [shift_px(row // 2), 0]
                scaled = depth * camera.intrinsics[0, 0] / places[:, 2].mean()
                faces[picture_key(image).hex()] = [np.hstack([pixels, scaled]).tolist()]
        neutral = points.interpolate(model.triangles, model.template)[:468]
        triangles = Delaunay(neutral[:, :2]).simplices.tolist()
        path = tmp_path / "known.json"
        path.write_text(json.dumps({"triangles": triangles, "faces": faces, "dies": dies}))
        monkeypatch.setattr(
            landmarker, "_WORKER", Path(__file__).with_name("fake_worker.py"), raising=True
        )
        return path

    return write


def judged(truth_bag: Path, out: Path, model: Path, *more: str) -> dict[str, Any]:
    arguments = [str(truth_bag), "--namespace", "/ground_truth", "--out", str(out), *more]
    assert (
        cli.main(["evaluate", *arguments, "--peer", "mediapipe", "--peer-model", str(model)]) == 0
    )
    metrics = json.loads((out / "metrics.json").read_text())
    jsonschema.validate(metrics, json.loads(SCHEMA_PATH.read_text()))
    return metrics["peers"]["mediapipe"]


def test_true_points_have_no_error(truth_bag: Path, tmp_path: Path, pretend: Pretend) -> None:
    peer = judged(truth_bag, tmp_path / "report", pretend())
    mesh, fitted = peer["mesh"], peer["fitted"]
    assert mesh["faces"] == 12 and mesh["found_share"] == 1 and mesh["ms"] == 2
    assert mesh["landmarks"]["px"]["max"] == pytest.approx(0, abs=1e-2)
    # Flat triangles between the points are not the surface.
    assert mesh["ssme"]["score_px"] < 0.1
    assert fitted["tracking"]["tracked_share"] == 1
    assert fitted["image"]["landmarks"]["px"]["mean"] < 0.5
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Beside mediapipe" in page and "its points fitted" in page


def test_shaking_points_shake(truth_bag: Path, tmp_path: Path, pretend: Pretend) -> None:
    model = pretend(lambda frame: 0.5 * (-1) ** frame)
    mesh = judged(truth_bag, tmp_path / "report", model)["mesh"]
    assert mesh["landmarks"]["px"]["mean"] == pytest.approx(0.5, abs=1e-2)
    curve = mesh["ssme"]["by_horizon_px"]
    assert curve[0] == pytest.approx(1, rel=0.1) and curve[1] < 0.15
    lips = mesh["landmarks"]["regions_percent"]["lips"]
    assert lips == pytest.approx(mesh["landmarks"]["percent"]["mean"], rel=0.2)


def test_what_stops_the_peer_is_told(
    truth_bag: Path, tmp_path: Path, pretend: Pretend, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(truth_bag), "--namespace", "/ground_truth", "--out", str(tmp_path / "out")]
    arguments += ["--peer", "mediapipe", "--peer-model"]
    assert cli.main(["evaluate", *arguments, str(pretend(dies=True))]) == 2
    said = capsys.readouterr().err
    assert "needs `mediapipe==1.2.*`" in said and "out of luck" in said
    assert cli.main(["evaluate", *arguments, str(tmp_path / "none.task")]) == 2
    assert "none.task: no such model file" in capsys.readouterr().err


def test_lifted_points_project_to_where_they_were(truth_bag: Path) -> None:
    recording = read_recording(truth_bag, truth_bag, recording_buffer(), "/ground_truth")
    for camera_at in recording.cameras.values():
        camera = camera_at(int(recording.truth.stamps_ns[0]))
        points = np.random.default_rng(0).uniform(20, 70, (478, 3)) - [0, 0, 45]
        back = project_vertices(camera, lifted(points, camera))
        np.testing.assert_allclose(back[:, :2], points[:, :2], atol=1e-4)
        order = np.argsort(points[:, 2])
        assert (np.diff(back[order, 2]) > 0).all()


def test_the_face_that_lies_on_the_truth_is_taken() -> None:
    truth = np.random.default_rng(0).uniform(0, 50, (468, 2))
    faces = [np.vstack([truth + shift, np.zeros((10, 2))]) for shift in (40, 3, 8)]
    assert nearest_face(faces, truth, inter_ocular_px=20) == 1
    assert nearest_face(faces[:1], truth, inter_ocular_px=20) is None
    assert nearest_face([], truth, inter_ocular_px=20) is None
