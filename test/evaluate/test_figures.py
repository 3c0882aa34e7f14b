from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowface_ros.camera.camera import pinhole
from flowface_ros.evaluate.alignment_error import alignment_errors, alignment_figures, texel_points
from flowface_ros.evaluate.charts import Line, bar_chart, line_chart, ticks
from flowface_ros.evaluate.image_error import ImageErrors, TrueImage
from flowface_ros.evaluate.inter_ocular import inter_ocular_px
from flowface_ros.evaluate.jitter import jitter_mm
from flowface_ros.evaluate.moving_mesh import project_vertices
from flowface_ros.evaluate.pose_error import pose_nees, position_error_mm, rotation_error_deg
from flowface_ros.evaluate.regions import vertex_regions
from flowface_ros.evaluate.statistics import figures, nees_figures
from flowface_ros.evaluate.surface_error import (
    aligned_scan_to_mesh_distances,
    aligned_vertex_distances,
    rigid_alignment,
    scan_to_mesh_distances,
    similarity_alignment,
)
from flowface_ros.evaluate.tracking import Alignment, Face, Recording, Tracking
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.head.state import neutral_state
from flowface_ros.rigid import apply, rotation_from_rotvec, transform

RNG = np.random.default_rng(7)


def pose(rotvec: list[float], place: list[float]) -> np.ndarray:
    return transform(rotation_from_rotvec(rotvec), place)


def test_figures() -> None:
    row = figures([3.0, 4.0, np.nan, 5.0])
    assert row["count"] == 3 and row["mean"] == 4 and row["median"] == 4 and row["max"] == 5
    assert row["rms"] == pytest.approx(np.sqrt(50 / 3))
    assert figures([])["count"] == 0 and np.isnan(figures([])["mean"])


def test_pose_errors() -> None:
    truth = Face("a", pose([0, 0, 0.3], [0, 0, 1]))
    turn = rotation_from_rotvec([0.1, 0, 0]) @ truth.rig_from_face[:3, :3]
    guess = Face("p", transform(turn, [0.003, 0.004, 1]))
    assert position_error_mm(truth, guess) == pytest.approx(5)
    assert rotation_error_deg(truth, guess) == pytest.approx(np.degrees(0.1))
    covariance = np.diag([9e-6, 16e-6, 1, 0.01, 1, 1])
    assert pose_nees(truth, replace(guess, pose_covariance=covariance)) == pytest.approx(3)
    assert np.isnan(pose_nees(truth, guess))
    assert np.isnan(pose_nees(truth, replace(guess, pose_covariance=np.zeros((6, 6)) - 1)))


def test_honest_covariances_pass_and_others_do_not() -> None:
    root = RNG.normal(size=(6, 6)) * 1e-2
    covariance = root @ root.T
    truth = Face("a", np.eye(4))

    def nees(scale: float) -> list[float]:
        values = []
        for error in RNG.normal(size=(800, 6)) @ root.T:
            guess = Face(
                "p", pose(error[3:].tolist(), error[:3].tolist()), None, covariance * scale
            )
            values.append(pose_nees(truth, guess))
        return values

    honest, proud = nees_figures(nees(1.0), 6), nees_figures(nees(0.25), 6)
    assert honest["inside_95"] == pytest.approx(0.95, abs=0.025)
    assert 0.97 * honest["mean_low"] < honest["mean"] < 1.03 * honest["mean_high"]
    assert honest["mean_low"] < 6 < honest["mean_high"]
    assert proud["inside_95"] < 0.4 and proud["mean"] > 3 * proud["mean_high"]


def test_jitter_of_white_noise_and_of_motion() -> None:
    noise = RNG.normal(0, 0.002, (2000, 1, 3))
    assert jitter_mm(list(noise)) == pytest.approx(2 * np.sqrt(3), rel=0.05)
    steady = [np.full((4, 3), 0.01 * t + 0.5) for t in range(10)]
    assert jitter_mm(steady) == pytest.approx(0, abs=1e-9)
    assert np.isnan(jitter_mm([steady[0], steady[1], None, steady[3]]))


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.floats(-2, 2)] * 3), st.tuples(*[st.floats(-2, 2)] * 3), st.floats(0.2, 3))
def test_alignments_undo_motion(rotvec: tuple, place: tuple, scale: float) -> None:
    points = np.random.default_rng(1).normal(size=(12, 3))
    motion = pose(list(rotvec), list(place))
    np.testing.assert_allclose(rigid_alignment(points, apply(motion, points)), motion, atol=1e-9)
    assert aligned_vertex_distances(apply(motion, points), points).max() < 1e-9
    found, size = similarity_alignment(points, apply(motion, scale * points))
    assert size == pytest.approx(scale)
    np.testing.assert_allclose(found, motion, atol=1e-9)


def test_rigid_alignment_never_mirrors() -> None:
    flat = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [1, 1, 0.0]])
    found = rigid_alignment(flat, flat * (-1, 1, 1))
    assert np.linalg.det(found[:3, :3]) == pytest.approx(1)


def test_distance_of_a_scan_to_a_plane() -> None:
    vertices = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0.0]])
    triangles = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    scan = np.column_stack([RNG.uniform(-0.9, 0.9, (50, 2)), np.full(50, 0.25)])
    np.testing.assert_allclose(scan_to_mesh_distances(scan, vertices, triangles), 0.25)


def test_a_scan_that_was_moved_is_brought_back() -> None:
    model = load_builtin_head()
    chosen = model.vertex_groups["face"][::5]
    moved = apply(pose([0.03, -0.05, 0.02], [0.004, 0.002, -0.005]), model.template[chosen])
    before = scan_to_mesh_distances(moved, model.template, model.triangles).mean()
    after = aligned_scan_to_mesh_distances(moved, model.template, model.triangles).mean()
    assert before > 0.002 and after < 0.1 * before


def test_alignment_errors_and_calibration() -> None:
    model, camera = load_builtin_head(), pinhole(320, 240, 0.7, "left")
    upright = pose([np.pi, 0, 0], [0, 0, 0.8])
    vertices = apply(upright, pose_vertices(model, neutral_state(model)))
    truth = Face("a", upright, vertices)
    points = texel_points(model, 24)
    texels = project_vertices(camera, points.interpolate(model.triangles, vertices))[:, :2]
    sigma = RNG.uniform(0.2, 3.0, len(points))
    pixels = texels + RNG.normal(size=texels.shape) * sigma[:, None]
    # Ten points of something else follow, as an aligner may add.
    pixels = np.concatenate([pixels, np.zeros((10, 2))])
    sigma = np.concatenate([sigma, np.ones(10)])
    alignment = Alignment(5, "left", model.atlas_hash, 24, pixels, sigma)
    nobody = Tracking(np.zeros(0, int), [])
    recording = Recording(
        Tracking(np.array([5]), [[truth]]),
        nobody,
        {"left": lambda stamp: camera},
        model,
        alignments=[alignment],
    )
    found = alignment_figures(recording)
    assert found is not None and found["images"] == 1
    assert found["visible_percent"]["count"] > 50 < found["hidden_percent"]["count"]
    assert found["sigma"]["visible_normalised_rms"] == pytest.approx(1, abs=0.1)
    curve = found["sigma"]["reliability"]
    for point in curve:
        assert point["rms_px"] == pytest.approx(point["sigma_px"], rel=0.4)
    errors = alignment_errors(alignment, model, [truth], camera)
    size = inter_ocular_px(model, vertices, camera)
    percent = 100 * np.linalg.norm(errors.residual_px[errors.visible], axis=1).mean() / size
    assert found["visible_percent"]["mean"] == pytest.approx(percent)
    with pytest.raises(ValueError, match="a grid of 24 has"):
        alignment_errors(replace(alignment, pixels=pixels[:20]), model, [truth], camera)
    assert alignment_errors(alignment, model, [], camera) is None
    # Somebody behind the camera is nobody's match, and hides nobody else's.
    behind = replace(truth, vertices=vertices - (0, 0, 3))
    assert alignment_errors(alignment, model, [behind], camera) is None
    again = alignment_errors(alignment, model, [behind, truth], camera)
    assert again is not None
    np.testing.assert_array_equal(again.residual_px, errors.residual_px)


def test_image_errors_of_a_shift() -> None:
    model, camera = load_builtin_head(), pinhole(320, 240, 0.7)
    vertices = apply(pose([np.pi, 0, 0], [0, 0, 0.8]), model.template)
    seen, errors = TrueImage(model, vertices, camera), ImageErrors()
    seen.add_vertices(errors, project_vertices(camera, vertices)[:, :2] + (3, 4))
    found = errors.figures(vertex_regions(model))
    assert found["px"]["mean"] == pytest.approx(5) == found["px"]["max"]
    size = inter_ocular_px(model, vertices, camera)
    assert found["percent"]["mean"] == pytest.approx(500 / size)
    # The back of the head, the mouth's inside and most of the eyeballs are hidden.
    assert 0.25 < found["px"]["count"] / model.vertex_count < 0.6
    assert found["regions_percent"]["face"] == pytest.approx(500 / size)
    assert ImageErrors().figures({})["px"]["count"] == 0


def test_ticks_are_round_and_hold_the_values() -> None:
    np.testing.assert_allclose(ticks(0, 1.31), [0, 0.5, 1, 1.5])
    assert ticks(0, 0)[-1] > 0


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_ticks_of_anything(low: float, span: float) -> None:
    values = ticks(low, low + span)
    assert 2 <= len(values) <= 10
    tolerance = 1e-6 * max(abs(low), span, 1.0)
    assert values[0] <= low + tolerance and values[-1] >= low + span - tolerance


def test_charts_escape_and_break_at_gaps() -> None:
    chart = line_chart([Line("<b>", np.arange(4), np.array([1, np.nan, 2, 3]))], "x", "y")
    assert "&lt;b&gt;" in chart and "<b>" not in chart
    assert chart.split(' d="')[1].split('"')[0].count("M") == 2
    assert line_chart([Line("none", np.arange(2), np.full(2, np.nan))], "x", "y") == ""
    bars = bar_chart(["a", "b", "c"], [1.0, float("nan"), 1e-5], "mm")
    assert ">1 mm<" in bars and ">-<" in bars and ">&lt; 0.001 mm<" in bars
