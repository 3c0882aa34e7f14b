"""Turns a FLAME pickle into a head model that wears the built-in atlas."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowface_ros.head.checks import check_range, check_shape
from flowface_ros.head.flame_pickle import as_array, read_flame_pickle
from flowface_ros.head.model import HeadModel
from flowface_ros.head.registration import Registration, register
from flowface_ros.head.surface import SurfacePoints
from flowface_ros.head.wrap import NO_ANCHORS, Anchors

_IDENTITY_COUNT = 300
"""FLAME's shapedirs hold this many identity components, then the expressions."""
_PARENTS = [-1, 0, 1, 1, 1]
_EXPRESSION_BOUND = 3.0
"""FLAME's expression coefficients are in standard deviations; faces stay within three."""
_LICENCE = "FLAME licence of the file that this was imported from; not to be passed on"
_INNER_LANDMARKS = 51
"""FLAME's static landmarks are iBUG's 68 without the first 17, which run along the jaw."""


def import_flame(
    path: str | os.PathLike[str],
    builtin: HeadModel,
    landmarks: str | os.PathLike[str] | None = None,
) -> tuple[HeadModel, Registration]:
    """The head model of a FLAME pickle, 2017 to 2023 and 2023 Open, and how well it registered.

    landmarks: FLAME's static landmark embedding (pickle with lmk_face_idx and lmk_b_coords, 51
    points). It is not needed; with it the registration is held to these points.

    ValueError names the file and what is wrong with it. Nothing in the files is executed.
    """
    source = Path(path)
    values = read_flame_pickle(source)
    try:
        arrays = _arrays(values)
        known = {} if landmarks is None else {"ibug68": _embedding(Path(landmarks), arrays)}
        joints = arrays["J_regressor"] @ arrays["v_template"]
        registration = register(
            builtin,
            arrays["v_template"],
            arrays["f"],
            arrays["weights"],
            joints,
            _anchors(builtin, arrays, known),
        )
        model = _model(source.stem, arrays, builtin, registration, known)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    return model, registration


def _arrays(values: dict[str, Any]) -> dict[str, NDArray]:
    """FLAME's arrays under their names in the file, of checked shapes."""
    arrays: dict[str, NDArray] = {}
    for name in ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights"):
        if name not in values:
            raise ValueError(f"{name}: missing; not a FLAME model")
        arrays[name] = as_array(name, values[name])
    if "kintree_table" not in values:
        raise ValueError("kintree_table: missing; not a FLAME model")
    tree = as_array("kintree_table", values["kintree_table"])
    check_shape("kintree_table", tree, (2, len(_PARENTS)))
    parents = tree[0].astype(np.int64).astype(np.uint32).astype(np.int32)
    if parents.tolist() != _PARENTS:
        raise ValueError(f"kintree_table: parents are {parents.tolist()}, FLAME's are {_PARENTS}")
    V, J = len(arrays["v_template"]), len(_PARENTS)
    check_shape("v_template", arrays["v_template"], (None, 3))
    check_shape("shapedirs", arrays["shapedirs"], (V, 3, None))
    check_shape("posedirs", arrays["posedirs"], (V, 3, 9 * (J - 1)))
    check_shape("J_regressor", arrays["J_regressor"], (J, V))
    check_shape("weights", arrays["weights"], (V, J))
    check_shape("f", arrays["f"], (None, 3))
    if arrays["f"].dtype.kind not in "iu":
        raise ValueError(f"f: has type {arrays['f'].dtype}, must be integers")
    check_range("f", arrays["f"], V)
    arrays["f"] = arrays["f"].astype(np.int32)
    if arrays["shapedirs"].shape[2] <= _IDENTITY_COUNT:
        raise ValueError(
            f"shapedirs: {arrays['shapedirs'].shape[2]} components, must be more than the "
            f"{_IDENTITY_COUNT} of identity"
        )
    for name in set(arrays) - {"f"}:
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name}: holds values that are not finite")
    return arrays


def _embedding(path: Path, arrays: dict[str, NDArray]) -> SurfacePoints:
    """FLAME's 51 static landmarks."""
    values = read_flame_pickle(path)
    try:
        for name in ("lmk_face_idx", "lmk_b_coords"):
            if name not in values:
                raise ValueError(f"{name}: missing; not a landmark embedding")
        triangle = as_array("lmk_face_idx", values["lmk_face_idx"]).astype(np.int32)
        barycentric = as_array("lmk_b_coords", values["lmk_b_coords"]).astype(np.float64)
        check_shape("lmk_face_idx", triangle, (_INNER_LANDMARKS,))
        check_shape("lmk_b_coords", barycentric, (_INNER_LANDMARKS, 3))
        check_range("lmk_face_idx", triangle, len(arrays["f"]))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return SurfacePoints(triangle, barycentric)


def _anchors(
    builtin: HeadModel, arrays: dict[str, NDArray], known: dict[str, SurfacePoints]
) -> Anchors:
    if "ibug68" not in known:
        return NO_ANCHORS
    inner = builtin.landmarks["ibug68"][-_INNER_LANDMARKS:]
    return Anchors(inner, known["ibug68"].interpolate(arrays["f"], arrays["v_template"]))


def _model(
    version: str,
    arrays: dict[str, NDArray],
    builtin: HeadModel,
    registration: Registration,
    known: dict[str, SurfacePoints],
) -> HeadModel:
    landmarks = dict(registration.landmarks)
    for name, points in known.items():
        outline = landmarks[name][:-_INNER_LANDMARKS]
        landmarks[name] = SurfacePoints(
            np.concatenate([outline.triangle, points.triangle]),
            np.concatenate([outline.barycentric, points.barycentric]),
        )
    expression_count = arrays["shapedirs"].shape[2] - _IDENTITY_COUNT
    bounds = [-_EXPRESSION_BOUND, _EXPRESSION_BOUND]
    return HeadModel(
        name="flame",
        version=version,
        licence=_LICENCE,
        template=arrays["v_template"],
        shape_basis=arrays["shapedirs"][:, :, :_IDENTITY_COUNT],
        shape_names=tuple(f"shape_{i:03d}" for i in range(_IDENTITY_COUNT)),
        expression_basis=arrays["shapedirs"][:, :, _IDENTITY_COUNT:],
        expression_names=tuple(f"exp_{i:03d}" for i in range(expression_count)),
        expression_bounds=np.tile(bounds, (expression_count, 1)),
        pose_correctives=arrays["posedirs"],
        joint_regressor=arrays["J_regressor"],
        parents=np.array(_PARENTS, np.int32),
        joint_bounds=builtin.joint_bounds,
        skinning_weights=arrays["weights"],
        triangles=arrays["f"],
        uv=registration.uv.astype(np.float32),
        uv_triangles=registration.uv_triangles,
        atlas_hash=builtin.atlas_hash,
        landmarks=landmarks,
        vertex_groups=registration.vertex_groups,
    )
