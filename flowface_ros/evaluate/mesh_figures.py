"""Figures of predicted surfaces in the rig frame, of the neutral shape, and of their shaking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowface_ros import rigid
from flowface_ros.evaluate.jitter import jitter_mm
from flowface_ros.evaluate.matching import Person
from flowface_ros.evaluate.regions import vertex_regions
from flowface_ros.evaluate.statistics import figures
from flowface_ros.evaluate.surface_error import (
    aligned_scan_to_mesh_distances,
    aligned_vertex_distances,
    rigid_alignment,
    scan_to_mesh_distances,
    vertex_distances,
)
from flowface_ros.evaluate.tracking import Face, Recording
from flowface_ros.head.model import HeadModel

Array = NDArray[np.float64]
Pairs = Sequence[tuple[Face, Face]]

_MOST_CLOSEST_FRAMES = 60
"""Frames, evenly spread, whose closest points are searched: each costs some tenths of a second."""


def mesh_figures(recording: Recording, pairs: Pairs, same: bool | None) -> dict[str, Any] | None:
    """Distances (mm) of the surfaces as they are and after rigid alignment; None without meshes.

    Of one topology: between corresponding vertices, each frame's vertices counted alike, with the
    mean by region. Else: from true vertices of the face to the nearest point of the prediction.
    """
    both = [(t, p) for t, p in pairs if t.vertices is not None and p.vertices is not None]
    if same is None or not both:
        return None
    if same:
        return _corresponding(recording, both)
    return _closest(recording, both)


def _corresponding(recording: Recording, pairs: Pairs) -> dict[str, Any]:
    raw = 1e3 * np.stack([vertex_distances(*_meshes(t, p)) for t, p in pairs])
    aligned = 1e3 * np.stack([aligned_vertex_distances(*_meshes(t, p)) for t, p in pairs])
    regions = {} if recording.model is None else vertex_regions(recording.model)
    return {
        "method": "corresponding",
        "rig_mm": figures(raw),
        "aligned_mm": figures(aligned),
        "regions": {
            name: {
                "rig_mm": float(raw[:, mask].mean()),
                "aligned_mm": float(aligned[:, mask].mean()),
            }
            for name, mask in regions.items()
        },
    }


def _closest(recording: Recording, pairs: Pairs) -> dict[str, Any]:
    assert recording.prediction.mesh is not None
    triangles = recording.prediction.mesh.triangles
    step = -(-len(pairs) // _MOST_CLOSEST_FRAMES)
    raw, aligned = [], []
    for truth, prediction in pairs[::step]:
        scan, vertices = _meshes(truth, prediction)
        scan = scan[_face_vertices(recording.model, len(scan))]
        raw.append(scan_to_mesh_distances(scan, vertices, triangles))
        aligned.append(aligned_scan_to_mesh_distances(scan, vertices, triangles))
    return {
        "method": "closest",
        "rig_mm": figures(1e3 * np.stack(raw)),
        "aligned_mm": figures(1e3 * np.stack(aligned)),
        "regions": {},
    }


def _meshes(truth: Face, prediction: Face) -> tuple[NDArray, NDArray]:
    assert truth.vertices is not None and prediction.vertices is not None
    return truth.vertices, prediction.vertices


def _face_vertices(model: HeadModel | None, count: int) -> NDArray[np.bool_]:
    """Mask (V,) of the face; of everything when the model is not known."""
    if model is None or "face" not in model.vertex_groups:
        return np.ones(count, bool)
    return vertex_regions(model)["face"]


def neutral_shape_figures(recording: Recording, pairs: Pairs) -> dict[str, Any] | None:
    """Distance (mm) from the true neutral face to the predicted one after rigid alignment, for
    each person's last match, when identity has settled; None when a head model is not at hand."""
    model, predicted = recording.model, recording.predicted_model
    if model is None or predicted is None:
        return None
    last = {truth.id: (truth, prediction) for truth, prediction in pairs}
    distances = []
    for truth, prediction in last.values():
        if len(truth.shape) == model.shape_count and len(prediction.shape) == predicted.shape_count:
            scan = neutral_vertices(model, truth.shape)
            mesh = neutral_vertices(predicted, prediction.shape)
            chosen = _face_vertices(model, len(scan))
            start = None
            if model.model_hash == predicted.model_hash:
                start = rigid_alignment(scan[chosen], mesh[chosen])
            distances.append(
                aligned_scan_to_mesh_distances(scan[chosen], mesh, predicted.triangles, start)
            )
    return figures(1e3 * np.concatenate(distances)) if distances else None


def neutral_vertices(model: HeadModel, shape: NDArray[np.floating]) -> Array:
    """Vertices (V, 3) of an identity without expression, in the head's frame, metres."""
    return model.template + model.shape_basis.astype(np.float64) @ np.asarray(shape, np.float64)


def jitter_figures(persons: Sequence[Person], same: bool | None) -> dict[str, Any]:
    """Shaking (mm) of the face frame's origin and of the vertices; the mean over people.

    Vertices of one topology are judged by their error, so that true motion costs nothing. Others
    by their place in the true face's frame: there, quick expressions count as shaking.
    """
    return {
        "position_mm": _mean([jitter_mm(_signal(p, _position_error)) for p in persons]),
        "vertices_mm": _mean(
            [jitter_mm(_signal(p, _vertex_error if same else _in_true_frame)) for p in persons]
        ),
        "vertices_against": "truth" if same else "true_pose",
    }


def _signal(person: Person, difference: Any) -> list[NDArray | None]:
    both = zip(person.truths, person.matches, strict=True)
    return [None if t is None or p is None else difference(t, p) for t, p in both]


def _position_error(truth: Face, prediction: Face) -> Array:
    return (prediction.position - truth.position)[None]


def _vertex_error(truth: Face, prediction: Face) -> NDArray | None:
    if truth.vertices is None or prediction.vertices is None:
        return None
    return prediction.vertices - truth.vertices


def _in_true_frame(truth: Face, prediction: Face) -> NDArray | None:
    if prediction.vertices is None:
        return None
    return rigid.apply(rigid.inverse(truth.rig_from_face), prediction.vertices)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")
