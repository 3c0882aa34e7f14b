"""Finds where the landmark network's 478 points lie on the built-in head, by voting.

The network looks at many synthetic people; the surface that is seen under each of its points is a
vote. The robust centre of the votes is put back on the surface, and made symmetric.

    python tools/embed_landmarks.py     writes flowface_ros/align/data/landmark_embedding.npz
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from face_views import FaceView, ViewRange, face_views
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from tqdm import tqdm

from flowface_ros.align.embedding import (
    EMBEDDING_FILE,
    SKIN_POINTS,
    LandmarkEmbedding,
    open_mouth_positions,
    write_embedding,
)
from flowface_ros.align.landmark_net import LEFT_EYE_OUTER, POINT_COUNT, RIGHT_EYE_OUTER
from flowface_ros.head.atlas import skin_triangles, uv_at_points, vertex_points
from flowface_ros.head.closest import ClosestPoints
from flowface_ros.head.model import HeadModel
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.normals import triangle_normals
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.head.surface import SurfacePoints

Array = NDArray[np.float64]

_RANGES = ViewRange(320, (230, 300), yaw_deg=40, pitch_deg=25, expression=0.5)
_SURE = 0.98
"""Presence from which on the network's points are taken."""
_REACH_PX = 4.0
"""A point this far off the skin that is seen still votes, for the nearest skin."""
_FACING = 0.25
"""Cosine between normal and view below which a pixel does not vote: a pixel is wide there."""
_FRONTAL_DEG = 20.0
_FEWEST_VOTES = 20
_IRIS_RINGS = ((468, "right_eyeball"), (473, "left_eyeball"))


@dataclass(frozen=True, eq=False)
class _Votes:
    """places: (N, 478, 3) metres on the open-mouthed mean head, NaN where there is no vote."""

    places: Array
    views: list[FaceView]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=EMBEDDING_FILE)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--people", type=int, default=80)
    parser.add_argument("--views", type=int, default=5, help="pictures of each")
    args = parser.parse_args()

    model = load_builtin_head()
    made = face_views(args.seed, args.people, args.views, _RANGES, True, "rendering")
    votes = _collect(model, [view for view in made if view.presence >= _SURE])
    places, spread = _centres(votes.places)
    mirror = _mirror_pairs(places)
    points, symmetry = _symmetric_points(model, places, mirror)
    provenance = {
        "tool": "tools/embed_landmarks.py",
        "seed": args.seed,
        "pictures": len(votes.views),
        "head": f"{model.name} {model.version}",
        "model_hash": f"{model.model_hash:016x}",
        "spread_mm": _summary(spread[:SKIN_POINTS] * 1e3),
        "asymmetry_mm": _summary(symmetry[:SKIN_POINTS] * 1e3),
        "residual_iod_percent": _residuals(model, points, votes.views),
    }
    uv = uv_at_points(model, points)
    write_embedding(args.out, LandmarkEmbedding(model.atlas_hash, uv, mirror, provenance))
    for key, value in provenance.items():
        print(f"{key}: {value}")
    print(f"wrote {args.out} ({args.out.stat().st_size / 1e3:.0f} kB)")


def _collect(model: HeadModel, views: list[FaceView]) -> _Votes:
    reference = open_mouth_positions(model, vertex_points(model))
    on_skin = np.zeros(model.triangle_count, bool)
    on_skin[skin_triangles(model)] = True
    on_eyes = np.asarray(np.isin(model.triangles, _eyeballs(model)).all(axis=1))
    places = np.full((len(views), POINT_COUNT, 3), np.nan)
    for row, view in enumerate(tqdm(views, desc="voting", unit="picture", dynamic_ncols=True)):
        places[row, :SKIN_POINTS] = _vote(model, reference, on_skin, view, slice(0, SKIN_POINTS))
        places[row, SKIN_POINTS:] = _vote(
            model, reference, on_eyes, view, slice(SKIN_POINTS, POINT_COUNT)
        )
    return _Votes(places, views)


def _vote(
    model: HeadModel, reference: Array, allowed: NDArray[np.bool_], view: FaceView, rows: slice
) -> Array:
    """Places (n, 3) on the reference head under the network's points; NaN where none is near."""
    assert view.rendered is not None
    seen = view.rendered.fragments
    vertices = pose_vertices(model, view.state)
    normals = triangle_normals(vertices, model.triangles)
    centres = vertices[model.triangles].mean(axis=1)
    length = np.linalg.norm(normals, axis=1) * np.linalg.norm(centres, axis=1)
    facing = -(normals * centres).sum(axis=1) / np.maximum(length, 1e-12) > _FACING
    usable = (seen.triangle >= 0) & (allowed & facing)[seen.triangle]
    if not usable.any():
        return np.full((rows.stop - rows.start, 3), np.nan)
    distance, label = cv2.distanceTransformWithLabels(
        (~usable).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    pixel_of_label = np.zeros(label.max() + 1, np.int64)
    pixel_of_label[label[usable]] = np.flatnonzero(usable)
    size = usable.shape[0]
    columns, lines = np.clip(
        np.round(view.crop.to_image(view.points[rows, :2])).astype(int), 0, size - 1
    ).T
    pixel = pixel_of_label[label[lines, columns]]
    corners = reference[model.triangles[seen.triangle.ravel()[pixel]]]
    places = (corners * seen.barycentric.reshape(-1, 3)[pixel][..., None]).sum(axis=1)
    places[distance[lines, columns] > _REACH_PX] = np.nan
    return places


def _centres(places: Array) -> tuple[Array, Array]:
    """Geometric medians (478, 3) of the votes and the votes' median distance (478,) from them."""
    centres, spread = np.empty((POINT_COUNT, 3)), np.empty(POINT_COUNT)
    for k in range(POINT_COUNT):
        votes = places[np.isfinite(places[:, k, 0]), k]
        if len(votes) < _FEWEST_VOTES:
            raise ValueError(f"landmark {k} has {len(votes)} votes; make more pictures")
        centre = np.median(votes, axis=0)
        for _ in range(50):  # Weiszfeld's iteration
            weight = 1 / (np.linalg.norm(votes - centre, axis=1) + 1e-4)
            centre = (votes * weight[:, None]).sum(axis=0) / weight.sum()
        centres[k], spread[k] = centre, np.median(np.linalg.norm(votes - centre, axis=1))
    return centres, spread


def _mirror_pairs(places: Array) -> NDArray[np.int32]:
    """The assignment (478,) of each point to the one nearest to its mirror image."""
    mirror = np.empty(POINT_COUNT, np.int32)
    for rows in (slice(0, SKIN_POINTS), slice(SKIN_POINTS, POINT_COUNT)):
        mirrored = places[rows] * [-1, 1, 1]
        cost = np.linalg.norm(places[rows][:, None] - mirrored[None], axis=2)
        mirror[rows] = rows.start + linear_sum_assignment(cost + cost.T)[1]
    if not np.array_equal(mirror[mirror], np.arange(POINT_COUNT)):
        raise ValueError("left and right cannot be paired; make more pictures")
    return mirror


def _symmetric_points(
    model: HeadModel, places: Array, mirror: NDArray[np.int32]
) -> tuple[SurfacePoints, Array]:
    """The points on the surface, and how far (478,) each vote's centre was from symmetry."""
    mirrored = places[mirror] * [-1, 1, 1]
    asymmetry = np.linalg.norm(mirrored - places, axis=1)
    middle = (places + mirrored) / 2
    reference = open_mouth_positions(model, vertex_points(model))
    triangles = skin_triangles(model)
    on_skin, _ = ClosestPoints(reference, model.triangles[triangles]).query(middle[:SKIN_POINTS])
    skin = SurfacePoints(triangles[on_skin.triangle], on_skin.barycentric)
    irises = [_iris_points(model, reference, middle[k : k + 5], group) for k, group in _IRIS_RINGS]
    parts = [skin, *irises]
    joined = SurfacePoints(
        np.concatenate([p.triangle for p in parts]), np.concatenate([p.barycentric for p in parts])
    )
    return joined, asymmetry


def _iris_points(model: HeadModel, reference: Array, places: Array, group: str) -> SurfacePoints:
    """The pole of the eyeball and four points on the iris's rim, in the order of the votes (5, 3).

    The pole is exact, the rim a circle around it with the votes' mean radius.
    """
    side = group.split("_")[0]
    pole = model.landmarks[f"{side}_iris"].interpolate(model.triangles, reference)[0]
    offsets = places[1:, :2] - places[0, :2]
    radius = np.linalg.norm(offsets, axis=1).mean()
    quarters = np.round(np.arctan2(offsets[:, 1], offsets[:, 0]) / (np.pi / 2)) * (np.pi / 2)
    if len(np.unique(np.mod(np.round(quarters / (np.pi / 2)), 4))) != 4:
        raise ValueError(f"the rim of the {side} iris is not a cross: {offsets}")
    ball = np.asarray(model.vertex_groups[group])
    centre = model.joint_regressor[_EYE_JOINT[side]] @ model.template
    eye_radius = np.linalg.norm(pole - centre)
    depth = np.full(4, np.sqrt(eye_radius**2 - radius**2))
    rim = np.column_stack([radius * np.cos(quarters), radius * np.sin(quarters), depth])
    triangles = np.flatnonzero(np.isin(model.triangles, ball).all(axis=1)).astype(np.int32)
    query = np.concatenate([pole[None], centre + rim])
    found, _ = ClosestPoints(reference, model.triangles[triangles]).query(query)
    return SurfacePoints(triangles[found.triangle], found.barycentric)


_EYE_JOINT = {"left": 3, "right": 4}


def _eyeballs(model: HeadModel) -> NDArray[np.int32]:
    return np.concatenate([model.vertex_groups[f"{side}_eyeball"] for side in ("left", "right")])


def _residuals(
    model: HeadModel, points: SurfacePoints, views: list[FaceView]
) -> dict[str, dict[str, float]]:
    """Distance of the network's points to the embedded ones in the pictures, % of the distance
    between the outer eye corners; the network's own error is in it."""
    errors, frontal = [], []
    for view in views:
        true, _ = view.camera.project(
            points.interpolate(model.triangles, pose_vertices(model, view.state))
        )
        eyes = np.linalg.norm(true[LEFT_EYE_OUTER] - true[RIGHT_EYE_OUTER])
        distance = np.linalg.norm(view.crop.to_image(view.points[:, :2]) - true, axis=1)
        errors.append(100 * distance / eyes)
        frontal.append(abs(view.yaw_deg) <= _FRONTAL_DEG)
    table, straight = np.array(errors), np.array(frontal)
    return {
        "frontal": _summary(table[straight, :SKIN_POINTS]),
        "all": _summary(table[:, :SKIN_POINTS]),
        "irises_frontal": _summary(table[straight, SKIN_POINTS:]),
    }


def _summary(values: Array) -> dict[str, float]:
    named = {"median": np.median(values), "mean": np.mean(values), "p95": np.quantile(values, 0.95)}
    return {name: round(float(value), 3) for name, value in named.items()}


if __name__ == "__main__":
    main()
