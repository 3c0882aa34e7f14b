"""Where the landmark network's 478 points lie on a head's surface.

The table was measured on the head that defines the atlas and is kept as places in that atlas, so it
serves every head that wears it. `tools/embed_landmarks.py` makes it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.atlas_table import check_atlas, read_table, write_table
from flowface_ros.align.landmark_net import POINT_COUNT
from flowface_ros.head.atlas import points_at_uv, skin_triangles, uv_at_points
from flowface_ros.head.evaluator import SurfaceEvaluator
from flowface_ros.head.model import HeadModel
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.state import neutral_state
from flowface_ros.head.surface import SurfacePoints

EMBEDDING_FILE = Path(__file__).parent / "data" / "landmark_embedding.npz"

SKIN_POINTS = 468
"""Rows of the points on the skin; the others are on the irises."""
IRIS_POINTS = slice(SKIN_POINTS, POINT_COUNT)
"""Five of the subject's right eye, five of the left: the centre, then four on the rim."""

_OPEN_JAW_RAD = 0.3
"""At rest the lips touch; with the jaw this far open, distance tells them apart."""

_LID_STRETCH = 4.0
"""How many times over the way that a place goes in a blink counts as distance. From 2 on lids are
told apart; from 8 on nothing more is gained."""


@dataclass(frozen=True, eq=False)
class LandmarkEmbedding:
    """The table of `EMBEDDING_FILE`.

    atlas_hash: of the atlas that `uv` is of.
    uv: (478, 2) places in the atlas.
    mirror: (478,) int32, the point on the other side of the face for each point.
    provenance: how it was made and what its residuals were.
    """

    atlas_hash: int
    uv: NDArray[np.float64]
    mirror: NDArray[np.int32]
    provenance: dict[str, Any]


@cache
def read_embedding(path: Path = EMBEDDING_FILE) -> LandmarkEmbedding:
    """The table of a file. ValueError names the file and the field that is missing or broken."""
    atlas_hash, arrays, header = read_table(path, "an embedding of landmarks", ("uv", "mirror"))
    uv, mirror = arrays["uv"], arrays["mirror"].astype(np.int32)
    if uv.shape != (POINT_COUNT, 2) or mirror.shape != (POINT_COUNT,):
        raise ValueError(f"{path}: uv {uv.shape}, mirror {mirror.shape}; must have {POINT_COUNT}")
    rows = np.arange(POINT_COUNT)
    if not (np.array_equal(np.sort(mirror), rows) and np.array_equal(mirror[mirror], rows)):
        raise ValueError(f"{path}: mirror is not its own inverse")
    return LandmarkEmbedding(atlas_hash, uv, mirror, header)


def write_embedding(path: Path, embedding: LandmarkEmbedding) -> None:
    """Writes the table; `provenance` must be fit for JSON."""
    arrays = {"uv": embedding.uv, "mirror": embedding.mirror}
    write_table(path, embedding.atlas_hash, arrays, embedding.provenance)


_landmark_points: WeakKeyDictionary[HeadModel, SurfacePoints] = WeakKeyDictionary()


def landmark_points(model: HeadModel) -> SurfacePoints:
    """The 478 points on the model's surface.

    Raises ValueError when the model wears another atlas than the table is of.
    """
    points = _landmark_points.get(model)
    if points is None:
        table = read_embedding()
        remedy = "run tools/embed_landmarks.py, or import the head anew"
        check_atlas("the embedding of the landmarks", table.atlas_hash, model, remedy)
        on_skin, skin_found = points_at_uv(model, table.uv[:SKIN_POINTS], skin_triangles(model))
        on_eyes, eyes_found = points_at_uv(model, table.uv[IRIS_POINTS], _eye_triangles(model))
        if not (skin_found.all() and eyes_found.all()):
            missing = int((~skin_found).sum() + (~eyes_found).sum())
            raise ValueError(f"the head {model.name!r} lacks the surface of {missing} landmarks")
        points = SurfacePoints(
            np.concatenate([on_skin.triangle, on_eyes.triangle]),
            np.concatenate([on_skin.barycentric, on_eyes.barycentric]),
        )
        _landmark_points[model] = points
    return points


def open_mouth_positions(model: HeadModel, points: SurfacePoints) -> NDArray[np.float64]:
    """Places (N, 3), metres, of surface points on the mean head with its mouth open.

    Distance between them says how close two points are on the face: the lips are far apart.
    """
    jaw = np.array([_OPEN_JAW_RAD, 0.0, 0.0])
    return SurfaceEvaluator(model, points).positions(replace(neutral_state(model), jaw=jaw))


def parted_positions(model: HeadModel, points: SurfacePoints) -> NDArray[np.float64]:
    """Places (N, 6), metres: `open_mouth_positions`, then how far a blink would take each point.

    Distance between them says how much two points of the skin move alike: lips are far apart, and
    so are the lids, and the margin of the upper lid from its fold.
    """
    travel = _LID_STRETCH * _blink_travel(model, points)
    return np.concatenate([open_mouth_positions(model, points), travel], axis=1)


def _blink_travel(model: HeadModel, points: SurfacePoints) -> NDArray[np.float64]:
    """Displacements (N, 3), metres, as both eyes shut; of the head that the atlas was made for,
    since others may have no such expression."""
    head = load_builtin_head()
    found = np.ones(len(points), bool)
    if model is not head:
        points, found = points_at_uv(head, uv_at_points(model, points), skin_triangles(head))
    units = [head.expression_names.index(f"eyeBlink{side}") for side in ("Left", "Right")]
    blink = head.expression_basis[:, :, units].sum(axis=2).astype(np.float64)
    return np.where(found[:, None], points.interpolate(head.triangles, blink), 0.0)


def _eye_triangles(model: HeadModel) -> NDArray[np.int32]:
    on_eye = np.zeros(model.vertex_count, bool)
    for group in ("left_eyeball", "right_eyeball"):
        on_eye[model.vertex_groups[group]] = True
    return np.flatnonzero(on_eye[model.triangles].all(axis=1)).astype(np.int32)
