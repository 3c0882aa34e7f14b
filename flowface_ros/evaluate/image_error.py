"""Where a predicted surface is in the images, against where the true one is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.embedding import landmark_points
from flowface_ros.camera.camera import Camera
from flowface_ros.evaluate.inter_ocular import inter_ocular_px
from flowface_ros.evaluate.matching import Moment, Person
from flowface_ros.evaluate.moving_mesh import project_vertices
from flowface_ros.evaluate.regions import vertex_regions
from flowface_ros.evaluate.statistics import figures
from flowface_ros.evaluate.tracking import Recording
from flowface_ros.head.model import HeadModel
from flowface_ros.head.surface import SurfacePoints
from flowface_ros.synth.render.visibility import visible_points

Array = NDArray[np.float64]

_MOST_PAIRS = 120
"""Frames of a person, evenly spread, that are looked at: every one is drawn once for each view."""


@dataclass
class ImageErrors:
    """Distances of points of N kinds over many images, in percent of the inter-ocular distance.

    percent, px: lists of (n,); kind: lists of (n,) which point it was.
    """

    percent: list[Array] = field(default_factory=list)
    px: list[Array] = field(default_factory=list)
    kind: list[NDArray[np.intp]] = field(default_factory=list)

    def add(
        self,
        truth: NDArray[np.floating],
        predicted: NDArray[np.floating],
        visible: NDArray[np.bool_],
        inter_ocular: float,
    ) -> None:
        """Take in the visible ones of points (N, 2), pixels."""
        distance = np.linalg.norm(np.asarray(predicted) - truth, axis=1)
        chosen = np.flatnonzero(visible & np.isfinite(distance))
        self.kind.append(chosen)
        self.px.append(distance[chosen])
        self.percent.append(100 * distance[chosen] / inter_ocular)

    def figures(self, regions: dict[str, NDArray[np.bool_]]) -> dict[str, Any]:
        """percent, px, and the mean percent by region; regions: (N,) masks."""
        percent, px = _joined(self.percent), _joined(self.px)
        kind = _joined(self.kind).astype(np.intp)
        means = {name: percent[mask[kind]] for name, mask in regions.items()}
        return {
            "percent": figures(percent),
            "px": figures(px),
            "regions_percent": {
                name: float(values.mean()) for name, values in means.items() if len(values)
            },
        }


def image_figures(
    recording: Recording, frames: Sequence[Moment], persons: Sequence[Person]
) -> dict[str, Any] | None:
    """2D errors of the predicted mesh over all views, of what the true head itself does not hide.

    vertices: of one topology; landmarks: the 478 points of MediaPipe's mesh, for any two heads that
    wear the atlas. None for what cannot be compared, and when neither can be.
    """
    model, predicted_model = recording.model, recording.predicted_model
    if model is None or predicted_model is None:
        return None
    same = model.model_hash == predicted_model.model_hash
    both_wear = model.atlas_hash == predicted_model.atlas_hash
    points = known_landmarks(model) if both_wear else None
    predicted_points = known_landmarks(predicted_model) if both_wear else None
    vertices, landmarks = ImageErrors(), ImageErrors()
    for camera, truth, match in _shots(recording, frames, persons):
        seen = TrueImage(model, truth, camera)
        guess = project_vertices(camera, match)
        if same:
            seen.add_vertices(vertices, guess)
        if points is not None and predicted_points is not None:
            places = predicted_points.interpolate(predicted_model.triangles, match)
            seen.add_points(landmarks, points, project_vertices(camera, places))
    if not (vertices.px or landmarks.px):
        return None
    return {
        "vertices": vertices.figures(vertex_regions(model)) if vertices.px else None,
        "landmarks": landmark_figures(model, landmarks) if landmarks.px else None,
    }


def landmark_figures(model: HeadModel, errors: ImageErrors) -> dict[str, Any]:
    """Figures of errors of the 478 points."""
    points = known_landmarks(model)
    assert points is not None
    return errors.figures(point_regions(model, points))


class TrueImage:
    """The true head in one image."""

    def __init__(self, model: HeadModel, vertices: NDArray[np.floating], camera: Camera) -> None:
        self._model, self._vertices, self._camera = model, vertices, camera
        self._mesh = project_vertices(camera, vertices)
        self.inter_ocular_px = inter_ocular_px(model, vertices, camera)

    def add_vertices(self, errors: ImageErrors, predicted: Array) -> None:
        """predicted: (V, 2 or more) pixels."""
        self._add(errors, self._mesh, predicted)

    def add_points(self, errors: ImageErrors, points: SurfacePoints, predicted: Array) -> None:
        """points: N points of the surface. predicted: (N, 2 or more) pixels."""
        self._add(errors, self.places(points), predicted)

    def places(self, points: SurfacePoints) -> Array:
        """x, y, depth (N, 3) of points of the surface."""
        places = points.interpolate(self._model.triangles, self._vertices)
        return project_vertices(self._camera, places)

    def _add(self, errors: ImageErrors, places: Array, predicted: Array) -> None:
        camera = self._camera
        visible = visible_points(
            places, self._mesh, self._model.triangles, camera.width, camera.height
        )
        errors.add(places[:, :2], predicted[:, :2], visible, self.inter_ocular_px)


def known_landmarks(model: HeadModel) -> SurfacePoints | None:
    """The 478 points on a head; None for one that does not wear the atlas."""
    try:
        return landmark_points(model)
    except ValueError:
        return None


def point_regions(model: HeadModel, points: SurfacePoints) -> dict[str, NDArray[np.bool_]]:
    """Masks (N,) of surface points by region: those whose triangle has most corners there."""
    corners = model.triangles[points.triangle]
    return {name: mask[corners].sum(axis=1) >= 2 for name, mask in vertex_regions(model).items()}


def _shots(
    recording: Recording, frames: Sequence[Moment], persons: Sequence[Person]
) -> list[tuple[Camera, NDArray[np.floating], NDArray[np.floating]]]:
    """Camera, true and predicted vertices of every view of the frames that are looked at."""
    shots = []
    for person in persons:
        rows = [
            (moment.stamp_ns, truth.vertices, match.vertices)
            for moment, truth, match in zip(frames, person.truths, person.matches, strict=True)
            if truth is not None and match is not None
        ]
        meshes = [(stamp, a, b) for stamp, a, b in rows if a is not None and b is not None]
        for stamp, a, b in meshes[:: -(-len(meshes) // _MOST_PAIRS) or 1]:
            shots += [(camera(stamp), a, b) for camera in recording.cameras.values()]
    return shots


def _joined(parts: Sequence[NDArray]) -> NDArray:
    return np.concatenate(parts) if parts else np.zeros(0)
