from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flowface_ros.align.embedding import (
    EMBEDDING_FILE,
    IRIS_POINTS,
    SKIN_POINTS,
    landmark_points,
    open_mouth_positions,
    read_embedding,
    write_embedding,
)
from flowface_ros.align.landmark_errors import read_errors
from flowface_ros.head.atlas import skin_triangles, uv_at_points
from flowface_ros.head.model_file import load_builtin_head

NOSE_TIP, CHIN, FOREHEAD, UPPER_LIP, LOWER_LIP = 1, 152, 10, 13, 14


@pytest.fixture(scope="module")
def places() -> np.ndarray:
    model = load_builtin_head()
    return landmark_points(model).interpolate(model.triangles, model.template)


def test_tables_were_made_for_the_built_in_head() -> None:
    # Remake them with tools/embed_landmarks.py, then tools/learn_sigma.py.
    model = load_builtin_head()
    for table in (read_embedding(), read_errors()):
        assert table.atlas_hash == model.atlas_hash
        assert table.provenance["model_hash"] == f"{model.model_hash:016x}"


def test_points_are_where_the_table_says() -> None:
    model, table = load_builtin_head(), read_embedding()
    points = landmark_points(model)
    assert len(points) == 478
    np.testing.assert_allclose(uv_at_points(model, points), table.uv, atol=1e-6)
    assert np.isin(points.triangle[:SKIN_POINTS], skin_triangles(model)).all()
    assert (points.barycentric >= -1e-9).all()


def test_named_points_are_in_their_places(places: np.ndarray) -> None:
    model = load_builtin_head()
    assert places[NOSE_TIP, 2] == places[:SKIN_POINTS, 2].max()
    assert places[CHIN, 1] < places[LOWER_LIP, 1] <= places[UPPER_LIP, 1] < places[NOSE_TIP, 1]
    assert places[FOREHEAD, 1] > places[:SKIN_POINTS, 1].max() - 0.01
    for rows, group in ((slice(1, 2), "nose"), (slice(13, 15), "lips")):
        corners = model.triangles[landmark_points(model).triangle[rows]]
        assert np.isin(corners, model.vertex_groups[group]).all()


def test_the_right_eye_comes_first(places: np.ndarray) -> None:
    # x is the subject's left.
    right, left = places[468:473], places[473:478]
    assert (right[:, 0] < 0).all()
    assert (left[:, 0] > 0).all()
    for ring in (right, left):
        radius = np.linalg.norm((ring[1:] - ring[0])[:, :2], axis=1)
        np.testing.assert_allclose(radius, radius.mean(), rtol=0.02)
        assert 0.004 < radius.mean() < 0.0075
        np.testing.assert_allclose(ring[1:, :2].mean(axis=0), ring[0, :2], atol=2e-4)


def test_left_and_right_mirror_each_other(places: np.ndarray) -> None:
    mirror = read_embedding().mirror
    distance = np.linalg.norm(places[mirror] * [-1, 1, 1] - places, axis=1)
    assert np.quantile(distance, 0.95) < 5e-4
    assert distance.max() < 2e-3
    # Pairs that are known from pictures of the network's points.
    for left, right in ((33, 263), (61, 291), (159, 386), (1, 1), (13, 13), (468, 473)):
        assert mirror[left] == right


def test_lips_are_apart_with_the_mouth_open() -> None:
    model = load_builtin_head()
    lips = open_mouth_positions(model, landmark_points(model)[np.array([UPPER_LIP, LOWER_LIP])])
    assert np.linalg.norm(lips[0] - lips[1]) > 0.015


def test_irises_turn_with_the_eyes() -> None:
    from flowface_ros.head.evaluator import SurfaceEvaluator
    from flowface_ros.head.state import neutral_state

    model = load_builtin_head()
    evaluator = SurfaceEvaluator(model, landmark_points(model)[IRIS_POINTS])
    still = neutral_state(model)
    turned = replace(still, left_eye=np.array([0, 0.3, 0]))
    moved = np.linalg.norm(evaluator.positions(turned) - evaluator.positions(still), axis=1)
    assert moved[:5].max() < 1e-9
    assert moved[5:].min() > 0.002


def test_another_atlas_is_refused() -> None:
    model = replace(load_builtin_head(), atlas_hash=7)
    with pytest.raises(ValueError, match=r"wears 0000000000000007.*embed_landmarks"):
        landmark_points(model)


def test_file_survives_the_round_trip(tmp_path: Path) -> None:
    table = read_embedding()
    write_embedding(tmp_path / "table.npz", table)
    again = read_embedding(tmp_path / "table.npz")
    np.testing.assert_array_equal(again.uv, table.uv)
    np.testing.assert_array_equal(again.mirror, table.mirror)
    assert again.atlas_hash == table.atlas_hash
    assert again.provenance == table.provenance


@pytest.mark.parametrize("damage", ["text", "cut", "empty", "field", "mirror", "rows"])
def test_a_broken_file_is_named(tmp_path: Path, damage: str) -> None:
    path, table = tmp_path / "table.npz", read_embedding()
    if damage == "text":
        path.write_text("not a table")
    elif damage == "cut":
        path.write_bytes(EMBEDDING_FILE.read_bytes()[:-100])
    elif damage == "empty":
        path.touch()
    elif damage == "field":
        np.savez(path, uv=table.uv)
    elif damage == "mirror":
        write_embedding(path, replace(table, mirror=np.roll(table.mirror, 1)))
    else:
        write_embedding(path, replace(table, mirror=table.mirror + 1))
    with pytest.raises(ValueError, match=r"table\.npz"):
        read_embedding(path)
