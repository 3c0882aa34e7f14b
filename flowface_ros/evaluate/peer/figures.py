"""Figures of MediaPipe's own mesh beside the truth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.embedding import SKIN_POINTS
from flowface_ros.camera.camera import Camera
from flowface_ros.evaluate.image_error import (
    ImageErrors,
    TrueImage,
    known_landmarks,
    landmark_figures,
)
from flowface_ros.evaluate.matching import truth_at
from flowface_ros.evaluate.metrics import ssme_row
from flowface_ros.evaluate.moving_mesh import MovingMesh
from flowface_ros.evaluate.peer.mesh import lifted, nearest_face
from flowface_ros.evaluate.regions import triangle_regions
from flowface_ros.evaluate.ssme import Ssme, ssme
from flowface_ros.evaluate.tracking import Recording
from flowface_ros.head.model import HeadModel
from flowface_ros.head.surface import SurfacePoints

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PeerView:
    """What it saw in one picture. faces: (478, 3) each."""

    camera: str
    stamp_ns: int
    faces: Sequence[Array]
    ms: float


@dataclass(frozen=True, eq=False)
class _Row:
    """A true face in one view, and its points if they were found."""

    camera: Camera
    truth: NDArray[np.floating]
    inter_ocular_px: float
    points: Array | None


def mesh_figures(
    recording: Recording, views: Sequence[PeerView], triangles: NDArray[np.integer]
) -> dict[str, Any] | None:
    """SSME and 2D error over all people and views; None when the true head is not at hand.

    triangles: (F, 3) of its mesh. Depth is as the peer says, so there are no errors in space.
    """
    model = recording.model
    points = None if model is None else known_landmarks(model)
    if model is None or points is None or recording.truth.mesh is None:
        return None
    errors = ImageErrors()
    clips = _clips(recording, model, points, views, errors)
    if not clips:
        return None
    rows = [row for clip in clips for row in clip]
    total = _ssme(model, clips, triangles)
    return {
        "faces": len(rows),
        "found_share": float(np.mean([row.points is not None for row in rows])),
        "ms": float(np.median([view.ms for view in views])),
        "ssme": {
            **ssme_row(total, total.regions[0]),
            "regions": {name: ssme_row(total, name) for name in total.regions[1:]},
        },
        "landmarks": landmark_figures(model, errors) if errors.px else None,
    }


def _clips(
    recording: Recording,
    model: HeadModel,
    points: SurfacePoints,
    views: Sequence[PeerView],
    errors: ImageErrors,
) -> list[list[_Row]]:
    """The true faces of every person in every camera; errors: takes in those of the points."""
    clips: dict[tuple[str, str], list[_Row]] = defaultdict(list)
    for view in sorted(views, key=lambda v: v.stamp_ns):
        if view.camera not in recording.cameras:
            continue
        camera = recording.cameras[view.camera](view.stamp_ns)
        for face in truth_at(recording.truth, view.stamp_ns):
            if face.vertices is None:
                continue
            seen = TrueImage(model, face.vertices, camera)
            row = nearest_face(
                view.faces, seen.places(points)[:SKIN_POINTS, :2], seen.inter_ocular_px
            )
            found = None if row is None else view.faces[row]
            if found is not None:
                seen.add_points(errors, points, found)
            clips[view.camera, face.id].append(
                _Row(camera, face.vertices, seen.inter_ocular_px, found)
            )
    return list(clips.values())


def _ssme(
    model: HeadModel, clips: Sequence[Sequence[_Row]], triangles: NDArray[np.integer]
) -> Ssme:
    regions = triangle_regions(model)
    total: Ssme | None = None
    for rows in clips:
        meshes = [None if r.points is None else lifted(r.points, r.camera) for r in rows]
        sums = ssme(
            MovingMesh(model.triangles, [row.truth for row in rows]),
            MovingMesh(triangles, meshes),
            [row.camera for row in rows],
            regions,
            np.array([row.inter_ocular_px for row in rows]),
        )
        total = sums if total is None else total + sums
    assert total is not None
    return total
