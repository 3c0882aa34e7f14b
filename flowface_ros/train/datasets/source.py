"""Training batches from a data set of captures."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from flowface_ros import rigid
from flowface_ros.align.crop import Crop, crop_from_points, cut
from flowface_ros.align.embedding import SKIN_POINTS, landmark_points
from flowface_ros.align.landmark_net import LEFT_EYE_OUTER, RIGHT_EYE_OUTER
from flowface_ros.camera.camera import Camera
from flowface_ros.head.atlas import texel_grid
from flowface_ros.head.model import HeadModel
from flowface_ros.head.surface import SurfacePoints
from flowface_ros.synth.render.raster import rasterize
from flowface_ros.synth.textures import linear_from_srgb
from flowface_ros.train.batch import Batch, Example, Numbers, loaded, stacked
from flowface_ros.train.datasets.captures import Capture, CaptureSet, View, read_picture
from flowface_ros.train.datasets.correspondence import rigid_pose
from flowface_ros.train.shots import jittered_crop

_STREAM = 7
_VIEWS_PER_CAPTURE = 4
"""Reading a mesh takes longer than cutting a picture, so one is used so often in a batch."""
_KEPT_CAPTURES = 16
_SCALE_SIGMA, _SHIFT_SIGMA, _ROLL_SIGMA = 0.10, 0.045, np.radians(8)
"""How crops differ from the ideal one, see `jittered_crop`."""
_DEPTH_SLACK_M = 0.008
"""A point is seen where the surface in the picture is not nearer by more; meshes are coarse."""
_LEAST_SEEN = 0.15
"""Share of the landmarks that a crop must show: cameras behind the head show none."""
_MOST_TRIES = 50
_EYES = [LEFT_EYE_OUTER, RIGHT_EYE_OUTER]


def query_points(model: HeadModel, grid: int) -> SurfacePoints:
    """The texels of a grid, then the 468 landmarks on the skin: what captures give places of."""
    texels, landmarks = texel_grid(model, grid).points, landmark_points(model)[:SKIN_POINTS]
    return SurfacePoints(
        np.concatenate([texels.triangle, landmarks.triangle]),
        np.concatenate([texels.barycentric, landmarks.barycentric]),
    )


class CaptureBatches(Dataset):
    """Batches by number; the same for the same seed, whoever makes them."""

    def __init__(
        self, model: HeadModel, captures: CaptureSet, crop_px: int, batch_size: int, seed: int
    ) -> None:
        landmarks = landmark_points(model)[:SKIN_POINTS]
        self._mean_face = landmarks.interpolate(model.triangles, model.template.astype(np.float64))
        self._captures, self._crop_px = captures, crop_px
        self._size, self._seed = batch_size, seed
        self._kept: OrderedDict[int, Capture] = OrderedDict()

    def __getitem__(self, number: int) -> Batch:
        rng = np.random.default_rng([self._seed, _STREAM, number])
        examples: list[Example] = []
        while len(examples) < self._size:
            capture = self._seen_capture(rng)
            count = min(_VIEWS_PER_CAPTURE, self._size - len(examples))
            examples += [self._example(capture, rng) for _ in range(count)]
        return stacked(examples)

    def _seen_capture(self, rng: np.random.Generator) -> Capture:
        for _ in range(_MOST_TRIES):
            capture = self._read(int(rng.integers(len(self._captures))))
            if capture.views:
                return capture
        raise ValueError(f"{self._captures.name}: {_MOST_TRIES} captures in a row have no picture")

    def _read(self, number: int) -> Capture:
        if number not in self._kept:
            self._kept[number] = self._captures.read(number)
            if len(self._kept) > _KEPT_CAPTURES:
                self._kept.popitem(last=False)
        return self._kept[number]

    def _example(self, capture: Capture, rng: np.random.Generator) -> Example:
        for _ in range(_MOST_TRIES):
            view = capture.views[rng.integers(len(capture.views))]
            example = make_example(capture, view, self._mean_face, self._crop_px, rng)
            if example is not None:
                return example
        raise ValueError(f"{capture.views[0].picture}: no view of this moment shows the face")


class CaptureSource:
    """See `DataSource`. workers: processes that read; 0 reads in this one."""

    def __init__(
        self, model: HeadModel, captures: CaptureSet, crop_px: int, batch_size: int, seed: int,
        workers: int, rank: int = 0, world: int = 1,
    ) -> None:  # fmt: skip
        self._batches = CaptureBatches(model, captures, crop_px, batch_size, seed)
        self._workers, self._rank, self._world = workers, rank, world

    def batches(self, first: int) -> Iterator[Batch]:
        """See `DataSource`."""
        return loaded(self._batches, Numbers(first, self._rank, self._world), self._workers)

    def close(self) -> None:
        """Workers end with the iterator."""


def make_example(
    capture: Capture, view: View, mean_face: NDArray, crop_px: int, rng: np.random.Generator
) -> Example | None:
    """A crop of a picture, off as a tracker's is, with its truth; None where the picture does not
    show the face.

    mean_face: (468, 3) the landmarks of the mean head.
    """
    camera = view.camera
    pixels, depth = _project(camera, capture.places)
    landmarks = pixels[-SKIN_POINTS:]
    if not np.isfinite(landmarks).any():
        return None
    ideal = crop_from_points(landmarks, _roll(camera, capture, mean_face), crop_px)
    crop = jittered_crop(ideal, rng, _SCALE_SIGMA, _SHIFT_SIGMA, _ROLL_SIGMA)
    position = crop.to_crop(pixels).astype(np.float32)
    visible = _visible(position, depth, _surface_depth(capture, camera, crop))
    if visible[-SKIN_POINTS:].mean() < _LEAST_SEEN:
        return None
    eyes = np.linalg.norm(np.subtract(*capture.places[-SKIN_POINTS:][_EYES]))
    distance = np.nanmean(depth[-SKIN_POINTS:])
    iod = eyes / distance * camera.intrinsics[0, 0] / crop.scale
    picture = read_picture(view.picture)
    if picture.shape[:2] != (camera.height, camera.width):
        have, want = picture.shape[1::-1], (camera.width, camera.height)
        raise ValueError(f"{view.picture}: is {have} pixels, its camera {want}")
    light = linear_from_srgb(cut(picture, [crop])[0] / 255.0).transpose(2, 0, 1)
    return (
        light.astype(np.float16),
        position[:-SKIN_POINTS],
        visible[:-SKIN_POINTS],
        np.asarray(iod, np.float32),
    )


def _project(camera: Camera, points: NDArray) -> tuple[NDArray, NDArray]:
    """Pixels (N, 2), NaN where there are none, and depths (N,) of points (N, 3)."""
    seen = rigid.apply(camera.camera_from_rig, points)
    pixels, _ = camera.project(seen)
    return pixels, seen[:, 2]


def _roll(camera: Camera, capture: Capture, mean_face: NDArray) -> float:
    places = capture.places[-SKIN_POINTS:]
    found = np.isfinite(places).all(axis=1)
    rig_from_head = rigid_pose(mean_face[found], places[found])
    up = camera.camera_from_rig[:3, :3] @ rig_from_head[:3, 1]
    return float(np.arctan2(up[0], -up[1]))


def _surface_depth(capture: Capture, camera: Camera, crop: Crop) -> NDArray[np.float32]:
    """(S, S) depth of the surface in a crop, metres; infinite beside it."""
    pixels, depth = _project(camera, capture.vertices)
    drawn = np.column_stack([crop.to_crop(pixels), depth])
    drawn[~np.isfinite(drawn).all(axis=1)] = -1.0
    return rasterize(drawn, capture.triangles, crop.size, crop.size).depth


def _visible(
    position: NDArray[np.float32], depth: NDArray, surface: NDArray[np.float32]
) -> NDArray[np.bool_]:
    size = len(surface)
    column, row = np.rint(np.nan_to_num(position, nan=-1.0)).astype(int).T
    inside = (column >= 0) & (row >= 0) & (column < size) & (row < size)
    there = surface[np.where(inside, row, 0), np.where(inside, column, 0)]
    with np.errstate(invalid="ignore"):
        return np.asarray(inside & (np.abs(there - depth) < _DEPTH_SLACK_M))
