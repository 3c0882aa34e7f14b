"""A FLAME-shaped file of known truth is imported once; the tests look at what came out."""

from __future__ import annotations

import copy
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from flowface_ros import cli
from flowface_ros.head.atlas import texel_grid, uv_at_points
from flowface_ros.head.evaluator import vertex_evaluator
from flowface_ros.head.flame_import import import_flame
from flowface_ros.head.model import HeadModel
from flowface_ros.head.model_file import read_head, write_head
from flowface_ros.head.registration import Registration
from flowface_ros.head.state import Unknowns, neutral_state


def with_chumpy(arrays: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """FLAME's dictionary as of 2020: chumpy arrays, a scipy matrix, and entries nobody reads."""
    module = types.ModuleType("chumpy.ch")

    class Ch:
        def __init__(self, x: np.ndarray) -> None:
            self.x = x
            self._dirty_vars: set[str] = set()
            self._depends_on_deps: dict[str, Any] = {}

    Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"
    module.Ch = Ch  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    monkeypatch.setitem(sys.modules, "chumpy.ch", module)
    values: dict[str, Any] = dict(arrays)
    for name in ("shapedirs", "v_template", "posedirs", "weights"):
        values[name] = Ch(arrays[name])
    values["J_regressor"] = scipy.sparse.csc_matrix(arrays["J_regressor"])
    return values | {"bs_type": "lrotmin", "bs_style": "lbs"}


def write_pickle(path: Path, values: dict[str, Any], protocol: int = 2) -> Path:
    path.write_bytes(pickle.dumps(values, protocol))
    return path


@pytest.fixture(scope="module")
def imported(
    builtin: HeadModel, flame_like: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[HeadModel, Registration]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        values = with_chumpy(flame_like.arrays, monkeypatch)
        path = write_pickle(tmp_path_factory.mktemp("flame") / "flame2020.pkl", values)
    return import_flame(path, builtin)


def test_the_arrays_are_the_files(
    imported: tuple[HeadModel, Registration], flame_like: Any
) -> None:
    model, _ = imported
    arrays = flame_like.arrays
    np.testing.assert_array_equal(model.template, arrays["v_template"].astype(np.float32))
    np.testing.assert_array_equal(model.triangles, arrays["f"])
    np.testing.assert_array_equal(model.joint_regressor, arrays["J_regressor"])
    bases = np.concatenate([model.shape_basis, model.expression_basis], axis=2)
    np.testing.assert_array_equal(bases, arrays["shapedirs"].astype(np.float32))
    assert (model.shape_count, model.expression_count) == (300, 2)
    assert model.expression_names == ("exp_000", "exp_001")
    assert model.parents.tolist() == [-1, 0, 1, 1, 1]
    assert model.blendshapes is None and model.version == "flame2020"


def test_the_atlas_is_the_built_in_one(
    imported: tuple[HeadModel, Registration], builtin: HeadModel, flame_like: Any
) -> None:
    """Distance on the surface between where a texel is and where it should be."""
    model, _ = imported
    assert model.atlas_hash == builtin.atlas_hash
    grid, own = texel_grid(model, 96), texel_grid(builtin, 96)
    # A triangle may bulge over a hollow of the island's rim by a texel, no more.
    assert np.sum(grid.valid & ~own.valid) < 5
    both = own.valid[grid.valid]
    places = grid.points[both].interpolate(model.triangles, model.template.astype(float))
    truth = own.points[grid.valid[own.valid]].interpolate(builtin.triangles, flame_like.truth)
    error_mm = np.linalg.norm(places - truth, axis=1) * 1000
    triangles = own.points.triangle[grid.valid[own.valid]]
    limits = {"face": (1.5, 4.5), "lips": (1.5, 4.0), "eyelids": (1.2, 3.0), "nose": (1.5, 3.5)}
    for name, (median, p95) in limits.items():
        group = np.isin(builtin.triangles, builtin.vertex_groups[name]).all(axis=1)[triangles]
        assert np.median(error_mm[group]) < median, name
        assert np.percentile(error_mm[group], 95) < p95, name


def test_most_of_the_face_is_in_the_atlas(
    imported: tuple[HeadModel, Registration], builtin: HeadModel
) -> None:
    model, _ = imported
    grid, own = texel_grid(model, 96), texel_grid(builtin, 96)
    face = np.isin(builtin.triangles, builtin.vertex_groups["face"]).all(axis=1)
    in_face = np.zeros_like(own.valid)
    in_face[own.valid] = face[own.points.triangle]
    assert (grid.valid & in_face).sum() > 0.93 * in_face.sum()


def test_groups_and_eyes_are_transferred(
    imported: tuple[HeadModel, Registration], flame_like: Any
) -> None:
    model, _ = imported
    count = len(flame_like.points)
    for i, name in enumerate(("left_eyeball", "right_eyeball")):
        expected = np.arange(4000 + i * 422, 4000 + (i + 1) * 422)
        np.testing.assert_array_equal(model.vertex_groups[name], expected)
    assert len(model.vertex_groups["skin"]) > 0.98 * (count - 844)
    chin = model.template[model.vertex_groups["lips"]].mean(axis=0)
    assert abs(chin[0]) < 0.005 and chin[1] < 0


def test_landmarks_are_transferred(
    imported: tuple[HeadModel, Registration], builtin: HeadModel, flame_like: Any
) -> None:
    model, _ = imported
    for name in ("sellion", "ibug68"):
        places = model.landmarks[name].interpolate(model.triangles, model.template)
        truth = builtin.landmarks[name].interpolate(builtin.triangles, flame_like.truth)
        error_mm = np.linalg.norm(places - truth, axis=1) * 1000
        assert np.median(error_mm) < 1.8 and error_mm.max() < 7


def test_the_residual_is_reported(imported: tuple[HeadModel, Registration]) -> None:
    _, registration = imported
    assert np.median(registration.residual_mm[registration.face]) < 0.5
    assert "face median 0." in registration.summary()


def test_it_is_a_model_like_any_other(
    imported: tuple[HeadModel, Registration], tmp_path: Path
) -> None:
    model, _ = imported
    write_head(tmp_path / "flame.npz", model)
    assert read_head(tmp_path / "flame.npz").model_hash == model.model_hash
    unknowns = Unknowns(jaw=True, expression=[1], shape=[0, 299])
    points, jacobian = vertex_evaluator(model).positions_and_jacobian(
        neutral_state(model), unknowns
    )
    np.testing.assert_allclose(points, model.template, atol=1e-7)
    assert jacobian.shape == (model.vertex_count, 3, 12)


def changed(flame_like: Any, **values: Any) -> dict[str, Any]:
    arrays = copy.copy(flame_like.arrays)
    arrays["shapedirs"] = arrays["shapedirs"].astype(np.float32)
    return arrays | values


def refuse(builtin: HeadModel, path: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        import_flame(write_pickle(path, values), builtin)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize(
    "name",
    ["v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table"],
)
def test_a_missing_or_misshapen_entry_is_named(
    builtin: HeadModel, flame_like: Any, tmp_path: Path, name: str
) -> None:
    values = changed(flame_like, shapedirs=np.zeros((len(flame_like.points), 3, 301), np.float32))
    entry = values.pop(name)
    refuse(builtin, tmp_path / "x.pkl", values, f"{name}: missing")
    refuse(builtin, tmp_path / "x.pkl", values | {name: entry[..., :-1]}, name)
    refuse(builtin, tmp_path / "x.pkl", values | {name: "text"}, f"{name}: is a str")


def test_millimetres_are_refused(builtin: HeadModel, flame_like: Any, tmp_path: Path) -> None:
    values = changed(flame_like, v_template=flame_like.arrays["v_template"] * 1000)
    refuse(builtin, tmp_path / "x.pkl", values, "other units, or not a head")


def test_another_orientation_is_refused(
    builtin: HeadModel, flame_like: Any, tmp_path: Path
) -> None:
    turned = flame_like.arrays["v_template"] * [-1, 1, -1]
    refuse(builtin, tmp_path / "x.pkl", changed(flame_like, v_template=turned), "x must go to")


def test_a_shape_that_is_no_head_is_refused(
    builtin: HeadModel, flame_like: Any, tmp_path: Path
) -> None:
    """The same mesh and joints, its skin blown up to a ball around the eyes."""
    vertices = flame_like.arrays["v_template"].copy()
    centre = vertices[:4000].mean(axis=0)
    outward = vertices[:4000] - centre
    vertices[:4000] = centre + 0.1 * outward / np.linalg.norm(outward, axis=1, keepdims=True)
    values = changed(flame_like, v_template=vertices)
    values["J_regressor"] = flame_like.arrays["J_regressor"].copy()
    for row, target in zip(
        values["J_regressor"],
        flame_like.arrays["J_regressor"] @ flame_like.arrays["v_template"],
        strict=True,
    ):
        system = np.concatenate([vertices.T, np.ones((1, len(vertices)))])
        row[:] = np.linalg.lstsq(system, [*target, 1], rcond=None)[0]
    refuse(builtin, tmp_path / "x.pkl", values, "registration to the built-in head failed")


def test_random_points_are_refused(builtin: HeadModel, flame_like: Any, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, flame_like.arrays["v_template"].shape)
    values = changed(flame_like, v_template=flame_like.arrays["v_template"] + noise)
    refuse(builtin, tmp_path / "x.pkl", values, "registration to the built-in head failed|eyes are")


def test_the_command(
    flame_like: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], builtin: HeadModel
) -> None:
    path = write_pickle(tmp_path / "bad.pkl", {"v_template": 1})
    assert cli.main(["head", "import", str(path), "--out", str(tmp_path / "o.npz")]) == 2
    assert "bad.pkl: v_template: is a int, must be a numeric array" in capsys.readouterr().err
    assert not (tmp_path / "o.npz").exists()


def test_known_landmarks_hold_the_registration(
    builtin: HeadModel, flame_like: Any, tmp_path: Path
) -> None:
    inner = builtin.landmarks["ibug68"][17:]
    places = inner.interpolate(builtin.triangles, flame_like.truth)
    from flowface_ros.head.closest import ClosestPoints

    triangles = flame_like.arrays["f"].astype(np.int32)
    found, _ = ClosestPoints(flame_like.arrays["v_template"], triangles).query(places)
    embedding = write_pickle(
        tmp_path / "embedding.pkl",
        {"lmk_face_idx": found.triangle, "lmk_b_coords": found.barycentric},
    )
    values = changed(flame_like)
    model, _ = import_flame(write_pickle(tmp_path / "flame.pkl", values), builtin, embedding)
    own = model.landmarks["ibug68"][17:]
    np.testing.assert_array_equal(own.triangle, found.triangle)
    # The atlas agrees with the landmarks: both say the same about where they are.
    gap = uv_at_points(model, own) - uv_at_points(builtin, inner)
    assert np.median(np.linalg.norm(gap, axis=1)) < 0.004
