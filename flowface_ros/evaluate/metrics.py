"""All figures of a recording: what `metrics.json` holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowface_ros import rigid
from flowface_ros.camera.camera import Camera
from flowface_ros.evaluate.alignment_error import alignment_figures
from flowface_ros.evaluate.coefficients import expression_figures
from flowface_ros.evaluate.image_error import image_figures
from flowface_ros.evaluate.inter_ocular import inter_ocular_px
from flowface_ros.evaluate.matching import Moment, Person, moments, people
from flowface_ros.evaluate.mesh_figures import jitter_figures, mesh_figures, neutral_shape_figures
from flowface_ros.evaluate.moving_mesh import MovingMesh
from flowface_ros.evaluate.pose_error import pose_nees, position_error_mm, rotation_error_deg
from flowface_ros.evaluate.regions import triangle_regions
from flowface_ros.evaluate.ssme import Ssme, ssme
from flowface_ros.evaluate.statistics import figures, nees_figures
from flowface_ros.evaluate.tracking import COASTING, Face, Recording

SCHEMA_VERSION = 1
_POSE_DIMENSION = 6


def evaluate(
    recording: Recording, progress: Callable[[str], None] = lambda stage: None
) -> dict[str, Any]:
    """The figures as nested dictionaries; docs/evaluation.md and metrics_schema.json say what each
    is. A figure that cannot be had is None or NaN. progress: told of each stage."""
    frames = moments(recording.truth, recording.prediction)
    persons = people(frames)
    pairs = [pair for person in persons for pair in person.pairs()]
    progress("tracking and pose")
    result: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "same_topology": same_topology(recording),
        "tracking": _tracking_figures(recording, frames, persons),
        "position_mm": figures([position_error_mm(t, p) for t, p in pairs]),
        "rotation_deg": figures([rotation_error_deg(t, p) for t, p in pairs]),
        "pose_nees": nees_figures([pose_nees(t, p) for t, p in pairs], _POSE_DIMENSION),
        "expression": expression_figures(recording, pairs),
        "people": {person.id: _over_time(frames, person) for person in persons},
    }
    progress("surfaces")
    result["vertices"] = mesh_figures(recording, pairs, same_topology(recording))
    result["neutral_shape_mm"] = neutral_shape_figures(recording, pairs)
    result["jitter"] = jitter_figures(persons, same_topology(recording))
    progress("images")
    result["image"] = image_figures(recording, frames, persons)
    progress("alignments")
    result["alignment"] = alignment_figures(recording)
    progress("screen space motion")
    result["ssme"] = ssme_figures(recording, frames, persons)
    return result


def same_topology(recording: Recording) -> bool | None:
    """Whether vertices of prediction and truth correspond; None when either has no mesh."""
    truth, prediction = recording.truth.mesh, recording.prediction.mesh
    if truth is None or prediction is None:
        return None
    return truth.model_hash == prediction.model_hash


def _tracking_figures(
    recording: Recording, frames: Sequence[Moment], persons: Sequence[Person]
) -> dict[str, Any]:
    seen = matched = measured = 0
    for moment in frames:
        cameras = [camera_at(moment.stamp_ns) for camera_at in recording.cameras.values()]
        for truth, match in zip(moment.truths, moment.matches, strict=True):
            if _in_view(truth, cameras):
                seen += 1
                matched += match is not None
                measured += match is not None and match.status != COASTING
    latency = recording.prediction.latency_ms
    answered = sum(moment.predicted_frame >= 0 for moment in frames)
    return {
        "true_frames": len(frames),
        "face_arrays": len(recording.prediction),
        "unanswered_frames": len(frames) - answered,
        "people": len(persons),
        "faces_in_view": seen,
        "tracked_share": matched / seen if seen else float("nan"),
        "measured_share": measured / seen if seen else float("nan"),
        "false_faces": sum(len(moment.extra) for moment in frames),
        "id_switches": sum(person.id_switches for person in persons),
        "latency_ms": None if latency is None else figures(latency),
    }


def _over_time(frames: Sequence[Moment], person: Person) -> dict[str, list[Any]]:
    """Errors in each frame of the truth; NaN and None where nothing was predicted."""
    start = frames[0].stamp_ns
    rows: dict[str, list[Any]] = {
        name: [] for name in ("time_s", "position_mm", "rotation_deg", "predicted_id")
    }
    for moment, truth, match in zip(frames, person.truths, person.matches, strict=True):
        position = rotation = float("nan")
        if truth is not None and match is not None:
            position, rotation = position_error_mm(truth, match), rotation_error_deg(truth, match)
        rows["time_s"].append((moment.stamp_ns - start) * 1e-9)
        rows["position_mm"].append(position)
        rows["rotation_deg"].append(rotation)
        rows["predicted_id"].append(match.id if match is not None else None)
    return rows


def _in_view(face: Face, cameras: Sequence[Camera]) -> bool:
    """Whether the root of the nose is in an image."""
    for camera in cameras:
        pixel, valid = camera.project(rigid.apply(camera.camera_from_rig, face.position))
        if valid and camera.contains(pixel):
            return True
    return False


def ssme_figures(
    recording: Recording, frames: Sequence[Moment], persons: Sequence[Person]
) -> dict[str, Any] | None:
    """SSME over all people and views, by view and by region; None without meshes."""
    by_camera = ssme_by_camera(recording, frames, persons)
    if not by_camera:
        return None
    total = next(iter(by_camera.values()))
    for other in list(by_camera.values())[1:]:
        total = total + other
    return {
        **ssme_row(total, total.regions[0]),
        "regions": {name: ssme_row(total, name) for name in total.regions[1:]},
        "cameras": {name: ssme_row(view, view.regions[0]) for name, view in by_camera.items()},
    }


def ssme_by_camera(
    recording: Recording, frames: Sequence[Moment], persons: Sequence[Person]
) -> dict[str, Ssme]:
    """The sums of every view over all people; empty without meshes or people."""
    truth_mesh, predicted_mesh = recording.truth.mesh, recording.prediction.mesh
    if truth_mesh is None or predicted_mesh is None or not persons:
        return {}
    model = recording.model
    regions = None if model is None else triangle_regions(model)
    result: dict[str, Ssme] = {}
    for name, camera_at in recording.cameras.items():
        cameras = [camera_at(moment.stamp_ns) for moment in frames]
        for person in persons:
            truth = MovingMesh(truth_mesh.triangles, _vertices(person.truths))
            prediction = MovingMesh(predicted_mesh.triangles, _vertices(person.matches))
            sizes = _inter_ocular(recording, truth, cameras)
            sums = ssme(truth, prediction, cameras, regions, sizes)
            result[name] = result[name] + sums if name in result else sums
    return result


def ssme_row(sums: Ssme, region: str) -> dict[str, Any]:
    """Score, coverage and curve of a region."""
    return {
        "score_px": sums.score_px(region),
        "score_percent": sums.score_percent(region),
        "coverage": sums.coverage(region),
        "by_horizon_px": sums.by_horizon_px(region).tolist(),
        "by_horizon_percent": sums.by_horizon_percent(region).tolist(),
    }


def _vertices(faces: Sequence[Face | None]) -> list[NDArray[np.floating] | None]:
    return [None if face is None else face.vertices for face in faces]


def _inter_ocular(
    recording: Recording, truth: MovingMesh, cameras: Sequence[Camera]
) -> NDArray[np.float64] | None:
    model = recording.model
    if model is None:
        return None
    return np.array(
        [
            np.nan if vertices is None else inter_ocular_px(model, vertices, camera)
            for vertices, camera in zip(truth.vertices, cameras, strict=True)
        ]
    )
