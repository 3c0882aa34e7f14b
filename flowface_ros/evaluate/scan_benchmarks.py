"""Meshes on disk against scans: as the NoW benchmark does it, and with FaceScape's measures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from flowface_ros import rigid
from flowface_ros.evaluate.surface_error import rigid_alignment, similarity_alignment
from flowface_ros.head.closest import ClosestPoints
from flowface_ros.head.mesh_files import SUFFIXES, MeshFile, read_mesh_file, read_surface_file
from flowface_ros.head.normals import triangle_normals

Array = NDArray[np.float64]

_LANDMARKS = 7
"""Right eye's outer and inner corner, left eye's inner and outer corner, bottom of the nose, right
and left corner of the mouth."""
_CENTRE_SHARE = 0.3
"""The face's centre lies this far from the bottom of the nose to the bridge between the eyes."""
_RADIUS_SCALE = 0.7
"""Radius of the judged part of the scan over the eyes' width plus the nose's length."""
_MM_PER_M = 1e3
_REFINEMENTS = 60
_STILL = 5e-6
"""Refinement ends when points move less than this share of the face's radius."""


@dataclass(frozen=True, eq=False)
class NowItem:
    """One picture of the NoW benchmark: its scan (mm) and the mesh that was predicted for it.

    challenge: multiview_neutral, multiview_expressions, multiview_occlusions or selfie.
    """

    subject: str
    challenge: str
    image: str
    scan: Path
    scan_landmarks: Path
    mesh: Path | None
    mesh_landmarks: Path | None


def now_items(dataset: Path, predictions: Path) -> list[NowItem]:
    """The pictures of the validation set, whose scans are public, in the published layout.

    dataset: imagepathsvalidation.txt with SUBJECT/CHALLENGE/IMAGE lines, scans/SUBJECT/*.obj,
        scans_lmks_onlypp/SUBJECT/*.pp.
    predictions: SUBJECT/CHALLENGE/IMAGE.obj or .ply, and IMAGE.npy or .txt with 7 landmarks.
    Raises ValueError or FileNotFoundError that names what is missing of the data set; a missing
    prediction is None.
    """
    items = []
    listing = dataset / "imagepathsvalidation.txt"
    for line in listing.read_text(encoding="utf-8").split():
        parts = line.split("/")
        if len(parts) < 3:
            raise ValueError(f"{listing}: {line!r} is not SUBJECT/CHALLENGE/IMAGE")
        subject, challenge, image = parts[-3:]
        stem = predictions / subject / challenge / image
        mesh = _first([stem.with_suffix(suffix) for suffix in SUFFIXES])
        points = _first([stem.with_suffix(suffix) for suffix in (".npy", ".txt")])
        scan = _only(dataset / "scans" / subject, "*.obj")
        landmarks = _only(dataset / "scans_lmks_onlypp" / subject, "*.pp")
        items.append(NowItem(subject, challenge, image, scan, landmarks, mesh, points))
    return items


def now_distances_mm(item: NowItem, metrical: bool = False) -> Array:
    """Distances (N,) from the scan's face to the predicted mesh, millimetres.

    The mesh is brought onto the scan by its landmarks, then by scan-to-mesh distances; with
    rotation, translation and scale, or without scale when metrical: the mesh is then in metres.
    Raises ValueError when there is no prediction.
    """
    if item.mesh is None or item.mesh_landmarks is None:
        raise ValueError(f"{item.subject}/{item.challenge}/{item.image} has no predicted mesh")
    scan, scan_points = read_mesh_file(item.scan).vertices, read_picked_points(item.scan_landmarks)
    mesh, mesh_points = read_surface_file(item.mesh), _read_landmarks(item.mesh_landmarks)
    vertices, mesh_points = _MM_PER_M * mesh.vertices, _MM_PER_M * mesh_points
    centre, radius = face_sphere(scan_points)
    points = scan[np.linalg.norm(scan - centre, axis=1) <= radius]
    if not len(points):
        raise ValueError(f"{item.scan}: no vertex within {radius:.0f} of the face's centre")
    start = _similarity(mesh_points, scan_points, with_scale=not metrical)
    motion = refined(points, vertices, mesh.triangles, start, radius, with_scale=not metrical)
    places = _closest_places(motion, ClosestPoints(vertices, mesh.triangles), points)
    return np.linalg.norm(motion.apply(places) - points, axis=1)


@dataclass(frozen=True, eq=False)
class Similarity:
    """x -> rotate and shift (scale x). pose: (4, 4)."""

    pose: Array
    scale: float

    def apply(self, points: Array) -> Array:
        """Points (N, 3) moved."""
        return rigid.apply(self.pose, self.scale * points)

    def undo(self, points: Array) -> Array:
        """Points (N, 3) moved back."""
        return rigid.apply(rigid.inverse(self.pose), points) / self.scale


def face_sphere(landmarks: Array) -> tuple[Array, float]:
    """Centre (3,) and radius of the part of a scan that is judged, from its 7 landmarks."""
    bridge = 0.5 * (landmarks[1] + landmarks[2])
    nose = bridge - landmarks[4]
    width = float(np.linalg.norm(landmarks[0] - landmarks[3]))
    return landmarks[4] + _CENTRE_SHARE * nose, _RADIUS_SCALE * (
        width + float(np.linalg.norm(nose))
    )


def refined(
    points: Array,
    vertices: Array,
    triangles: NDArray[np.int32],
    start: Similarity,
    size: float,
    with_scale: bool,
) -> Similarity:
    """The motion of a mesh, from a start, that brings it nearest to scan points (N, 3), by
    alternating closest points and alignment. size: of the scan, for the end of it."""
    closest, motion = ClosestPoints(vertices, triangles), start
    places = _closest_places(motion, closest, points)
    for _ in range(_REFINEMENTS):
        before = motion.apply(places)
        motion = _similarity(places, points, with_scale)
        step = float(np.linalg.norm(motion.apply(places) - before, axis=1).mean())
        places = _closest_places(motion, closest, points)
        if step < _STILL * size:
            break
    return motion


def _closest_places(motion: Similarity, closest: ClosestPoints, points: Array) -> Array:
    """Points (N, 3) of the mesh as it was given that lie nearest to scan points once it is moved.

    The scan is moved instead, so that the look-up is built once.
    """
    return closest.query(motion.undo(points))[1]


def _similarity(source: Array, target: Array, with_scale: bool) -> Similarity:
    if with_scale:
        return Similarity(*similarity_alignment(source, target))
    return Similarity(rigid_alignment(source, target), 1.0)


def read_picked_points(path: Path) -> Array:
    """The 7 landmarks (7, 3) of a MeshLab .pp file. Raises ValueError that names the file."""
    try:
        picked = ElementTree.parse(path).iter("point")
        points = [[float(p.attrib[axis]) for axis in "xyz"] for p in picked]
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: not a file of picked points: {error}") from None
    return _checked_landmarks(path, np.array(points, np.float64).reshape(-1, 3))


def _read_landmarks(path: Path) -> Array:
    try:
        values = np.load(path, allow_pickle=False) if path.suffix == ".npy" else np.loadtxt(path)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: not {_LANDMARKS} landmarks: {error}") from None
    return _checked_landmarks(path, np.asarray(values, np.float64))


def _checked_landmarks(path: Path, points: Array) -> Array:
    if points.shape != (_LANDMARKS, 3) or not np.isfinite(points).all():
        raise ValueError(f"{path}: must hold {_LANDMARKS} finite points, holds {points.shape}")
    return points


def _first(paths: list[Path]) -> Path | None:
    return next((path for path in paths if path.exists()), None)


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise FileNotFoundError(f"{folder}: has no {pattern}")
    return found[0]


@dataclass(frozen=True)
class SurfaceScore:
    """FaceScape's measures of a prediction, both meshes in one frame.

    chamfer: mean distance from the predicted surface to the true one, in the meshes' unit.
    normal_error: mean angle (rad) between normals at these pairs.
    completeness: share of the true surface that has a predicted point within the reach.
    """

    chamfer: float
    normal_error: float
    completeness: float


def surface_score(truth: MeshFile, prediction: MeshFile, reach: float) -> SurfaceScore:
    """reach: how far a true point may be from the prediction and still count as covered, and a
    predicted one from the truth to be judged: what lies further is outside of the true scan."""
    there = ClosestPoints(truth.vertices, truth.triangles)
    centres, normals = _samples(prediction)
    matches, places = there.query(centres)
    distance = np.linalg.norm(places - centres, axis=1)
    near = distance <= reach
    true_centres, true_normals = _samples(truth)
    cosine = (normals * true_normals[matches.triangle]).sum(axis=1)
    angle = np.arccos(np.clip(cosine, -1, 1))
    _, back = ClosestPoints(prediction.vertices, prediction.triangles).query(true_centres)
    covered = np.linalg.norm(back - true_centres, axis=1) <= reach
    if not near.any():
        return SurfaceScore(float("nan"), float("nan"), float(covered.mean()))
    return SurfaceScore(
        float(distance[near].mean()), float(angle[near].mean()), float(covered.mean())
    )


def _samples(mesh: MeshFile) -> tuple[Array, Array]:
    """Centres (F, 3) and unit normals (F, 3) of the triangles."""
    normals = np.asarray(triangle_normals(mesh.vertices, mesh.triangles), np.float64)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return mesh.vertices[mesh.triangles].mean(axis=1), normals / np.maximum(length, 1e-30)


def mesh_pairs(truth: Path, predictions: Path) -> list[tuple[str, Path, Path]]:
    """Name, true and predicted file of every mesh that both folders have under one relative path
    (any of the mesh suffixes), e.g. FaceScape's SUBJECT/models_reg/1_neutral.obj.

    Raises ValueError when there is none.
    """
    pairs = []
    for path in sorted(p for suffix in SUFFIXES for p in truth.rglob(f"*{suffix}")):
        name = str(path.relative_to(truth).with_suffix(""))
        found = _first([predictions / f"{name}{suffix}" for suffix in SUFFIXES])
        if found is not None:
            pairs.append((name, path, found))
    if not pairs:
        raise ValueError(f"{predictions}: has no mesh under a relative path that {truth} has")
    return pairs
