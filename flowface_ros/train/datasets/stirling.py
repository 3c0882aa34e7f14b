"""Stirling/ESRC 3D face database: scans of people, and photographs of them without calibration.

Wherever in FOLDER they are, files begin with the person's number, such as F1001 or M1023:

F1001*.obj or .ply    scans, millimetres or metres, upright, looking along z
F1001*.jpg, .png      photographs; beside a scan, a picture of the same name is its texture

A photograph is used when one of the person's scans explains it: which one, and the camera, are
found from the landmarks that the landmark network sees in it. So a smile goes with the smiling
scan, and a photograph that none fits is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from flowface_ros import rigid
from flowface_ros.align.embedding import SKIN_POINTS, landmark_points
from flowface_ros.align.landmark_net import FaceFinder
from flowface_ros.camera.camera import Camera
from flowface_ros.head.closest import ClosestPoints
from flowface_ros.head.mesh_files import SUFFIXES, read_mesh_file
from flowface_ros.head.model import HeadModel
from flowface_ros.head.normals import triangle_normals
from flowface_ros.head.surface import SurfacePoints
from flowface_ros.head.wrap import Anchors
from flowface_ros.synth.render.raster import rasterize
from flowface_ros.train.datasets.captures import Capture, View, read_picture
from flowface_ros.train.datasets.correspondence import INNER_LANDMARKS, of_mesh

Array = NDArray[np.float64]

_PERSON = re.compile(r"[FM]\d{4}", re.IGNORECASE)
_PICTURES = (".jpg", ".jpeg", ".png", ".bmp")
_LARGEST_HEAD_M = 10.0
"""A scan that is larger than this in its unit is in millimetres."""
_PORTRAIT_PX, _PORTRAIT_FIELD = 640, 1.4
"""Size of the picture of a scan that landmarks are sought in, and its height over the scan's."""
_PORTRAIT_DISTANCE_M = 1.0
_FOCALS = np.geomspace(1.2, 6.0, 16)
"""Tried focal lengths over the picture's longer side: portraits are not taken with wide lenses."""
_LARGEST_MISFIT = 0.03
"""Median distance of the landmarks over that of the outer eye corners: a photograph that no scan
explains better shows another expression."""
_FEWEST_POINTS = 60
_EYE_CORNERS = (33, 263)


@dataclass(frozen=True, eq=False)
class _Scan:
    vertices: Array
    triangles: NDArray[np.int32]
    places: Array


class StirlingCaptures:
    """See `CaptureSet`: one capture for each scan of a person with photographs.

    points: of the built-in head; the last 468 are the landmarks on the skin.
    """

    name = "Stirling/ESRC"

    def __init__(self, folder: Path, builtin: HeadModel, points: SurfacePoints) -> None:
        """Raises ValueError when there is no person with both."""
        self._builtin, self._points = builtin, points
        scans = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in SUFFIXES]
        self._scans = [p for p in scans if _person(p)]
        textures = {(p.parent, p.stem) for p in scans}
        self._photographs: dict[str, list[Path]] = {}
        for path in sorted(folder.rglob("*")):
            person = _person(path)
            texture = (path.parent, path.stem) in textures
            if path.suffix.lower() in _PICTURES and person and not texture:
                self._photographs.setdefault(person, []).append(path)
        self._files = [p for p in self._scans if _person(p) in self._photographs]
        if not self._files:
            raise ValueError(f"{folder}: nobody has a scan (F1001*.obj) and a photograph")
        self._faces: dict[Path, tuple[Array, tuple[int, int]] | None] = {}
        self._registered: dict[Path, _Scan] = {}

    def __len__(self) -> int:
        return len(self._files)

    def read(self, number: int) -> Capture:
        """See `CaptureSet`. A scan is registered when it is first asked for."""
        path = self._files[number]
        person = _person(path)
        own = self._scan(path)
        rivals = [p for p in self._files if _person(p) == person and p != path]
        views = []
        for photograph in self._photographs[person]:
            seen = self._seen(photograph)
            if seen is None:
                continue
            camera, misfit = find_camera(photograph, own.places[-SKIN_POINTS:], *seen)
            if misfit > _LARGEST_MISFIT:
                continue
            others = [
                find_camera(photograph, self._scan(p).places[-SKIN_POINTS:], *seen)[1]
                for p in rivals
            ]
            if misfit <= min(others, default=np.inf):
                views.append(View(photograph, camera))
        return Capture(own.vertices, own.triangles, own.places, tuple(views))

    @cached_property
    def _finder(self) -> FaceFinder:
        """Made in the process that reads: it cannot be handed to another."""
        return FaceFinder(device="cpu")

    def _scan(self, path: Path) -> _Scan:
        if path not in self._registered:
            mesh = read_mesh_file(path)
            unit = 1e-3 if np.ptp(mesh.vertices, axis=0).max() > _LARGEST_HEAD_M else 1.0
            vertices = unit * mesh.vertices
            try:
                anchors = scan_anchors(self._builtin, vertices, mesh.triangles, self._finder)
                where = of_mesh(self._builtin, vertices, mesh.triangles, anchors, self._points)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from None
            places = where.places(path, vertices, mesh.triangles)
            self._registered[path] = _Scan(vertices, mesh.triangles, places)
        return self._registered[path]

    def _seen(self, path: Path) -> tuple[Array, tuple[int, int]] | None:
        """Landmarks (468, 2) of the surest face in a photograph, and its width and height."""
        if path not in self._faces:
            picture = read_picture(path)
            height, width = picture.shape[:2]
            faces = self._finder.detect_faces(picture, 1)
            points = faces[0].points[:SKIN_POINTS, :2] if faces else None
            self._faces[path] = None if points is None else (points, (width, height))
        return self._faces[path]


def scan_anchors(
    builtin: HeadModel, vertices: Array, triangles: NDArray[np.int32], finder: FaceFinder
) -> Anchors:
    """The landmarks' places on a scan, metres, upright and looking along z: seen by the landmark
    network in a picture of the bare surface. ValueError when it sees no face."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    middle = (low + high) / 2
    extent = float((high - low)[:2].max())
    distance = high[2] + _PORTRAIT_DISTANCE_M
    focal = _PORTRAIT_PX / (_PORTRAIT_FIELD * extent) * _PORTRAIT_DISTANCE_M
    seen = (vertices - [middle[0], middle[1], distance]) * [1, -1, -1]
    centre = (_PORTRAIT_PX - 1) / 2
    drawn = np.column_stack([focal * seen[:, :2] / seen[:, 2:] + centre, seen[:, 2]])
    fragments = rasterize(drawn, triangles, _PORTRAIT_PX, _PORTRAIT_PX)
    faces = finder.detect_faces(_shaded(fragments.triangle, vertices, triangles), 1)
    if not faces:
        raise ValueError("no face is seen from the front; it must be upright and look along z")
    pixels = faces[0].points[:SKIN_POINTS, :2]
    column, row = np.clip(np.rint(pixels), 0, _PORTRAIT_PX - 1).astype(int).T
    depth = fragments.depth[row, column].astype(np.float64)
    hit = np.isfinite(depth)
    rays = np.column_stack([(pixels - centre) / focal, np.ones(len(pixels))])
    places = rays * depth[:, None] * [1, -1, -1] + [middle[0], middle[1], distance]
    rows = _feature_rows(builtin)
    rows = rows[hit[rows]]
    _, on_surface = ClosestPoints(vertices, triangles).query(places[rows])
    return Anchors(landmark_points(builtin)[rows], on_surface)


def _feature_rows(builtin: HeadModel) -> NDArray[np.intp]:
    """The landmarks at eyes, brows, nose and lips, which have places of their own; those of cheeks
    and forehead only lie between them."""
    landmarks = landmark_points(builtin)[:SKIN_POINTS]
    inner = builtin.landmarks["ibug68"][INNER_LANDMARKS]
    at, wanted = (p.interpolate(builtin.triangles, builtin.template) for p in (landmarks, inner))
    return np.unique(cKDTree(at).query(wanted)[1])


def _shaded(
    seen: NDArray[np.int32], vertices: Array, triangles: NDArray[np.int32]
) -> NDArray[np.uint8]:
    """A picture (H, W, 3) of a bare surface, lit from the front and a little from above."""
    normals = triangle_normals(vertices, triangles)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)
    light = np.array([0.15, 0.45, 0.88])
    shade = np.clip(np.abs(normals @ light), 0, 1)
    grey = np.where(seen >= 0, 40 + 190 * shade[np.maximum(seen, 0)], 90)
    tint = np.array([1.0, 0.82, 0.72])
    picture = np.where(seen[..., None] >= 0, grey[..., None] * tint, grey[..., None])
    return np.asarray(picture, np.uint8)


def find_camera(
    path: Path, places: Array, pixels: Array, size: tuple[int, int]
) -> tuple[Camera, float]:
    """The camera of a photograph that sees landmarks (468, 3), metres, NaN where unknown, at
    pixels (468, 2), and the median distance over that of the eye corners.

    Square pixels, no distortion and a principal point in the middle are taken for granted.
    ValueError when too few places are known.
    """
    known = np.isfinite(places).all(axis=1)
    if known.sum() < _FEWEST_POINTS:
        raise ValueError(f"{path}: only {known.sum()} landmarks of its person's scan are known")
    width, height = size
    across = float(np.linalg.norm(np.subtract(*pixels[list(_EYE_CORNERS)])))
    best: tuple[float, Camera] | None = None
    for focal in _FOCALS * max(size):
        K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
        solved, rotvec, shift = cv2.solvePnP(
            places[known], pixels[known], K, None, flags=cv2.SOLVEPNP_SQPNP
        )
        if not solved:
            continue
        rotvec, shift = cv2.solvePnPRefineLM(places[known], pixels[known], K, None, rotvec, shift)
        pose = rigid.transform(rigid.rotation_from_rotvec(rotvec[:, 0]), shift[:, 0])
        camera = Camera(path.stem, width, height, K, rig_from_camera=rigid.inverse(pose))
        there, _ = camera.project(rigid.apply(pose, places[known]))
        misfit = float(np.median(np.linalg.norm(there - pixels[known], axis=1))) / across
        if np.isfinite(misfit) and (best is None or misfit < best[0]):
            best = misfit, camera
    if best is None:
        raise ValueError(f"{path}: no camera explains the face in it")
    return best[1], best[0]


def _person(path: Path) -> str:
    found = _PERSON.match(path.name)
    return found[0].upper() if found else ""
