from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from flowface_ros.head.model import HeadModel, JointBlendshapes, hash_atlas
from flowface_ros.head.surface import SurfacePoints


def test_counts(toy: HeadModel) -> None:
    assert (toy.vertex_count, toy.triangle_count) == (108, 176)
    assert (toy.joint_count, toy.shape_count, toy.expression_count) == (5, 6, 5)


@pytest.mark.parametrize(
    "name",
    [
        "template",
        "shape_basis",
        "expression_basis",
        "expression_bounds",
        "pose_correctives",
        "joint_regressor",
        "parents",
        "joint_bounds",
        "skinning_weights",
        "triangles",
        "uv",
        "uv_triangles",
    ],
)
def test_a_field_of_the_wrong_shape_is_named(toy: HeadModel, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        replace(toy, **{name: np.asarray(getattr(toy, name))[..., :-1]})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("template", np.nan, "template .*not finite"),
        ("joint_regressor", 0.0, "joint_regressor rows sum"),
        ("skinning_weights", 0.0, "skinning_weights rows sum"),
        ("triangles", 108, "triangles has indices"),
        ("uv_triangles", -1, "uv_triangles has indices"),
        ("uv", 1.5, "uv is in"),
        ("parents", -1, "parents"),
        ("parents", 4, "parents"),
    ],
)
def test_a_bad_value_is_named(toy: HeadModel, name: str, value: float, message: str) -> None:
    array = np.array(getattr(toy, name))
    array[1] = value
    with pytest.raises(ValueError, match=message):
        replace(toy, **{name: array})


def test_bounds_the_wrong_way_round_are_refused(toy: HeadModel) -> None:
    with pytest.raises(ValueError, match="expression_bounds"):
        replace(toy, expression_bounds=toy.expression_bounds[:, ::-1])


def test_indices_must_be_integers(toy: HeadModel) -> None:
    with pytest.raises(ValueError, match=r"triangles.*integers"):
        replace(toy, triangles=toy.triangles.astype(np.float64))


def test_landmarks_must_lie_on_the_mesh(toy: HeadModel) -> None:
    off = SurfacePoints(np.array([176], np.int32), np.array([[1.0, 0, 0]]))
    with pytest.raises(ValueError, match="landmarks/tip/triangle"):
        replace(toy, landmarks={"tip": off})
    uneven = SurfacePoints(np.array([0], np.int32), np.array([[1.0, 1, 0]]))
    with pytest.raises(ValueError, match="landmarks/tip/barycentric"):
        replace(toy, landmarks={"tip": uneven})


def test_an_unknown_vertex_group_is_named(toy: HeadModel) -> None:
    with pytest.raises(ValueError, match="'moustache'"):
        replace(toy, vertex_groups={"moustache": np.array([0])})


def test_the_root_takes_no_blendshape(toy: HeadModel) -> None:
    jaw_open = JointBlendshapes(names=("jawOpen",), joints=np.array([0]), rotations=np.ones((1, 3)))
    with pytest.raises(ValueError, match="blendshapes/joints has the root"):
        replace(toy, blendshapes=jaw_open)


def test_arrays_are_read_only_and_apart_from_the_callers(toy: HeadModel) -> None:
    template = np.array(toy.template)
    model = replace(toy, template=template)
    template[0] = 7
    assert model.template[0, 0] != 7
    with pytest.raises(ValueError, match="read-only"):
        model.template[0] = 7


def test_the_hash_covers_every_field(toy: HeadModel) -> None:
    hashes = {toy.model_hash}
    changes: dict[str, object] = {
        "name": "other",
        "version": "2",
        "licence": "none",
        "atlas_hash": 1,
        "shape_names": ("x", *toy.shape_names[1:]),
        "expression_names": ("x", *toy.expression_names[1:]),
        "pose_correctives": None,
        "landmarks": {},
        "vertex_groups": {},
        "blendshapes": None,
    }
    for name in ("template", "shape_basis", "expression_basis", "uv", "expression_bounds"):
        array = np.array(getattr(toy, name))
        array.flat[1] = np.nextafter(array.flat[1], array.dtype.type(0.5))
        changes[name] = array
    changes["joint_bounds"] = toy.joint_bounds * 2
    changes["parents"] = np.array([-1, 0, 1, 1, 0])
    changes["joint_regressor"] = toy.joint_regressor[::-1]
    changes["skinning_weights"] = toy.skinning_weights[::-1]
    changes["triangles"] = toy.triangles[::-1]
    changes["uv_triangles"] = toy.uv_triangles[::-1]
    assert set(changes) == {f.name for f in fields(toy)}
    for name, value in changes.items():
        hashes.add(replace(toy, **{name: value}).model_hash)
    assert len(hashes) == len(changes) + 1


def test_equal_content_has_an_equal_hash(toy: HeadModel) -> None:
    copy = replace(toy, template=np.asarray(toy.template, np.float64), name="toy")
    assert copy.model_hash == toy.model_hash


def test_the_atlas_hash_sees_the_layout(toy: HeadModel) -> None:
    assert hash_atlas(toy.uv, toy.uv_triangles) == toy.atlas_hash
    assert hash_atlas(toy.uv[::-1], toy.uv_triangles) != toy.atlas_hash
