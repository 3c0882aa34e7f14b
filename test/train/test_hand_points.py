"""The benchmark against points set by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import hand_points

INNER = 51


def test_a_common_habit_is_no_error_and_what_a_face_lacks_is() -> None:
    rng = np.random.default_rng(0)
    habit = rng.normal(size=(INNER, 2))
    faces = [np.tile(habit, (2 * hand_points.CROPS, 1, 1)) for _ in range(6)]
    clean, spoilt = hand_points.rows("x", faces)
    assert clean["with habits"] == pytest.approx(np.linalg.norm(habit, axis=1).mean())
    assert clean["mean"] == spoilt["mean"] == pytest.approx(0)
    faces[2] = faces[2].copy()
    faces[2][hand_points.CROPS :, :10, 0] += 5  # brows of one face, where it is spoilt
    clean, spoilt = hand_points.rows("x", faces)
    assert clean["mean"] == pytest.approx(0)
    assert spoilt["brows"] == pytest.approx(5 / 6) and spoilt["eyes"] == pytest.approx(0)
    assert spoilt["mean"] == pytest.approx(5 * 10 / INNER / 6)


def test_points_are_counted_from_one(tmp_path: Path) -> None:
    path = tmp_path / "face.pts"
    lines = "\n".join(f"{k + 1}.0 {2 * k + 1}.0" for k in range(68))
    path.write_text(f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n")
    np.testing.assert_array_equal(
        hand_points.read_points(path), np.arange(68)[:, None] * np.array([[1.0, 2.0]])
    )
    with pytest.raises(ValueError, match=r"face\.pts: there is no picture beside it"):
        list(hand_points.pictures(tmp_path))
    path.write_text("68 points")
    with pytest.raises(ValueError, match=r"face\.pts: is no \.pts file"):
        hand_points.read_points(path)
    path.write_text("{\n1 2\n}")
    with pytest.raises(ValueError, match=r"face\.pts: has points \(1, 2\)"):
        hand_points.read_points(path)


def test_an_aligner_agrees_with_its_own_points() -> None:
    from flowface_ros.align.aligner import make_aligner
    from flowface_ros.align.landmark_net import FaceFinder
    from flowface_ros.head.atlas import texel_interpolation
    from flowface_ros.head.model_file import load_builtin_head

    data = pytest.importorskip("skimage.data")
    image = np.ascontiguousarray(data.astronaut())
    model, finder = load_builtin_head(), FaceFinder("cpu")
    aligner = make_aligner("landmarks", model, device="cpu")
    (found,) = aligner.align_faces(hand_points.Picture(image), finder.detect_faces(image, 1))
    matrix, _ = texel_interpolation(model, aligner.grid, model.landmarks["ibug68"])
    points = matrix @ found.observation.pixels[: len(aligner.grid.points)]
    face = hand_points.cut_out(finder, image, points, 0)
    assert face is not None and face.images.shape == (24, 256, 256, 3)
    away = hand_points.offsets(aligner, model, face)
    assert np.nanmean(np.linalg.norm(away[: hand_points.CROPS], axis=2)) < 1.2
