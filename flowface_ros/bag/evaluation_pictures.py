"""Pictures of a report: the predicted meshes on the images of a bag."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from flowface_ros.bag.camera_topics import camera_sources
from flowface_ros.bag.face_messages import stamp_ns
from flowface_ros.bag.images import decode_any_image, encode_jpeg
from flowface_ros.bag.reader import BagReader, open_bag
from flowface_ros.camera.camera import Camera
from flowface_ros.evaluate.matching import Moment, moments
from flowface_ros.evaluate.moving_mesh import project_vertices
from flowface_ros.evaluate.pose_error import position_error_mm
from flowface_ros.evaluate.report import Picture
from flowface_ros.evaluate.tracking import Face, Recording
from flowface_ros.synth.sheets.overlay import Wireframe, draw_mesh, plain_wireframe, wireframe

_COUNT = 6
_WIDTH_PX = 360
_MARGIN = 0.25
"""Of the mesh's size, around it."""
_SEARCH_NS = 50_000_000
"""How far an image's stamp may be from the moment that it shows."""


@dataclass(frozen=True, eq=False)
class _Shot:
    camera: str
    moment: Moment
    truth: Face
    match: Face


def report_pictures(recording: Recording, images: Path, count: int = _COUNT) -> list[Picture]:
    """The predicted mesh on images of the bag, evenly spread over time, views in turn, and last
    where the position is worst. None when there are no meshes or no images."""
    if recording.prediction.mesh is None:
        return []
    model = recording.predicted_model
    mesh = plain_wireframe(recording.prediction.mesh.triangles)
    if model is not None:
        mesh = wireframe(model)
    with open_bag(images) as bag:
        pictures = (_picture(bag, recording, shot, mesh) for shot in _shots(recording, count))
        return [picture for picture in pictures if picture is not None]


def _shots(recording: Recording, count: int) -> list[_Shot]:
    found = [
        (moment, truth, match)
        for moment in moments(recording.truth, recording.prediction)
        for truth, match in zip(moment.truths, moment.matches, strict=True)
        if match is not None and match.vertices is not None
    ]
    if not found:
        return []
    rows = np.linspace(0, len(found) - 1, min(count - 1, len(found))).round().astype(int).tolist()
    worst = max(range(len(found)), key=lambda row: position_error_mm(*found[row][1:]))
    names = list(recording.cameras)
    return [_Shot(names[i % len(names)], *found[row]) for i, row in enumerate([*rows, worst])]


def _picture(bag: BagReader, recording: Recording, shot: _Shot, mesh: Wireframe) -> Picture | None:
    image = _image_near(bag, shot.camera, shot.moment.stamp_ns)
    camera = recording.cameras[shot.camera](shot.moment.stamp_ns)
    vertices = shot.match.vertices
    if image is None or vertices is None or image.shape[:2] != (camera.height, camera.width):
        return None
    window = _window(camera, vertices)
    if window is None:
        return None
    x, y, width, height = window
    scale = _WIDTH_PX / width
    size = (_WIDTH_PX, max(1, round(height * scale)))
    part = cv2.resize(image[y : y + height, x : x + width], size, interpolation=cv2.INTER_AREA)
    drawn = draw_mesh(part, camera.cropped(*window).scaled(*size), vertices, mesh, opacity=0.45)
    seconds = (shot.moment.stamp_ns - int(recording.truth.stamps_ns[0])) * 1e-9
    error = position_error_mm(shot.truth, shot.match)
    caption = f"{shot.truth.id}, {shot.camera}, {seconds:.2f} s: position {error:.1f} mm off"
    return Picture(encode_jpeg(drawn, 88), caption)


def _window(camera: Camera, vertices: NDArray[np.floating]) -> tuple[int, int, int, int] | None:
    """x, y, width, height of the image around a mesh; None where it is not seen."""
    pixels = project_vertices(camera, vertices)[:, :2]
    seen = pixels[np.isfinite(pixels).all(axis=1)]
    if not len(seen):
        return None
    low, high = seen.min(axis=0), seen.max(axis=0)
    margin = _MARGIN * (high - low).max()
    first = np.maximum(low - margin, 0).astype(int)
    last = np.minimum(high + margin, (camera.width - 1, camera.height - 1)).astype(int)
    if (last - first < 2).any():
        return None
    width, height = last - first + 1
    return int(first[0]), int(first[1]), int(width), int(height)


def _image_near(bag: BagReader, camera: str, stamp: int) -> NDArray[np.uint8] | None:
    """RGB of the camera's image nearest to a stamp; None when there is none near that can be
    decoded."""
    sources = camera_sources(bag.types, compressed_first=False)
    topics = [source.image_topic for source in sources if source.name == camera]
    nearby = [m for _, _, m in bag.messages(topics, stamp - _SEARCH_NS, stamp + _SEARCH_NS)]
    if not nearby:
        return None
    try:
        return decode_any_image(min(nearby, key=lambda message: abs(stamp_ns(message) - stamp)))
    except ValueError:
        return None
