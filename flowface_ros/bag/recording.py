"""Records a synthetic scene as a rosbag2: images, calibration, TF and the truth."""

from __future__ import annotations

import heapq
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from flowface_ros.bag.face_messages import (
    MessageTypes,
    RosbagsTypes,
    camera_info_message,
    face_array_message,
    face_mesh_message,
    head_model_message,
    header_message,
    tf_message,
)
from flowface_ros.bag.images import compressed_image_fields, image_fields
from flowface_ros.bag.message_types import message_types
from flowface_ros.bag.writer import BagWriter
from flowface_ros.synth.scene.rigs import MOVING_FRAME, RIG_FRAME
from flowface_ros.synth.scene.scene import START_NS, Scene, SceneConfig, seconds
from flowface_ros.threads import available_cores
from flowface_ros.track.tracked_head import Status, TrackedHead

FACES_TOPIC = "/ground_truth/faces"
MESHES_TOPIC = "/ground_truth/meshes"
HEAD_MODEL_TOPIC = "/ground_truth/head_model"
TF_RATE_HZ = 100.0
_TF_MARGIN_S = 0.05
"""TF of a moving rig covers more than the images: look-ups interpolate."""
_JPEG_QUALITY = 92

_Record = tuple[int, int, str, Any, bool]
"""Stamp (ns), order among equal stamps, topic, message, latched."""


@dataclass(frozen=True)
class _Shot:
    """One image to be taken."""

    stamp_ns: int
    camera: int


def record_scene(
    config: SceneConfig,
    path: Path,
    storage: str = "mcap",
    raw: bool = False,
    jobs: int | None = None,
    progress: Callable[[Iterable[Any], int], Iterable[Any]] | None = None,
) -> Scene:
    """Write the bag of a scene, and return the scene.

    storage: "mcap" or "sqlite3". raw: uncompressed images. jobs: worker processes that render,
    None for one per core; the bag does not depend on it. progress: wraps the iteration over images,
    given their number.
    Raises FileExistsError when the path exists, ValueError for what cannot be.
    """
    count = available_cores() if jobs is None else jobs
    if count < 1:
        raise ValueError(f"jobs: {count} is not allowed, must be 1 or more")
    scene = Scene(config)
    types = RosbagsTypes(message_types().types)
    shots = sorted(
        (
            _Shot(int(stamp), camera)
            for camera in range(config.cameras)
            for stamp in scene.stamps_ns(camera)
        ),
        key=lambda shot: (shot.stamp_ns, shot.camera),
    )
    follow = progress or (lambda items, total: items)
    with BagWriter(path, storage) as bag, _Renderer(config, scene, raw, count) as renderer:
        images = follow(renderer.images(shots), len(shots))
        records = heapq.merge(
            _fixed_records(types, scene),
            _carrier_records(types, scene, shots[-1].stamp_ns),
            _truth_records(types, scene),
            _image_records(types, scene, shots, images),
            key=lambda record: record[:2],
        )
        for stamp_ns, _, topic, message, latched in records:
            bag.write(topic, message, stamp_ns, latched=latched)
    return scene


def true_heads(scene: Scene, t: float, stamp_spread_s: float = 0.0) -> list[TrackedHead]:
    """Everybody in the scene as a tracker without error would report them; ids f0, f1, ..."""
    views = scene.camera_names
    return [
        TrackedHead(f"f{i}", Status.TRACKED, state, 1.0, views, (0.0,) * len(views), stamp_spread_s)
        for i, state in enumerate(scene.head_states(t))
    ]


def _fixed_records(types: MessageTypes, scene: Scene) -> Iterator[_Record]:
    """What is said once: where the cameras are mounted, and the head model."""
    mount = RIG_FRAME if scene.moving_rig.motion is None else MOVING_FRAME
    mounted = [(mount, c.frame, c.rig_from_camera, START_NS) for c in scene.moving_rig.cameras]
    yield START_NS, 0, "/tf_static", tf_message(types, mounted), True
    model = head_model_message(types, scene.model, START_NS, RIG_FRAME)
    yield START_NS, 0, HEAD_MODEL_TOPIC, model, True


def _carrier_records(types: MessageTypes, scene: Scene, last_ns: int) -> Iterator[_Record]:
    """TF of the carrier of a moving rig."""
    if scene.moving_rig.motion is None:
        return
    for t in np.arange(-_TF_MARGIN_S, seconds(last_ns) + _TF_MARGIN_S, 1 / TF_RATE_HZ):
        stamp_ns = START_NS + round(t * 1e9)
        pose = scene.moving_rig.carrier_pose(seconds(stamp_ns))
        message = tf_message(types, [(RIG_FRAME, MOVING_FRAME, pose, stamp_ns)])
        # What is earlier than the start is recorded at the start: bags begin with /tf_static.
        yield max(stamp_ns, START_NS), 1, "/tf", message, False


def _truth_records(types: MessageTypes, scene: Scene) -> Iterator[_Record]:
    """The true heads at the stamps of the primary camera."""
    stamps = np.stack([scene.stamps_ns(camera) for camera in range(len(scene.camera_names))])
    spreads = np.ptp(stamps, axis=0) * 1e-9
    for stamp, spread in zip(stamps[scene.primary], spreads, strict=True):
        stamp_ns = int(stamp)
        heads = true_heads(scene, seconds(stamp_ns), float(spread))
        faces = face_array_message(types, scene.model, heads, stamp_ns, RIG_FRAME)
        yield stamp_ns, 2, FACES_TOPIC, faces, False
        for head in heads:
            mesh = face_mesh_message(types, scene.model, head, stamp_ns)
            yield stamp_ns, 2, MESHES_TOPIC, mesh, False


def _image_records(
    types: MessageTypes, scene: Scene, shots: list[_Shot], images: Iterable[dict[str, Any]]
) -> Iterator[_Record]:
    """Images and their CameraInfo."""
    for shot, fields in zip(shots, images, strict=True):
        camera = scene.moving_rig.cameras[shot.camera]
        header = header_message(types, shot.stamp_ns, camera.frame)
        info = camera_info_message(types, camera, shot.stamp_ns)
        yield shot.stamp_ns, 3, f"/{camera.name}/camera_info", info, False
        topic, kind = f"/{camera.name}/image_raw", "sensor_msgs/msg/Image"
        if "format" in fields:
            topic, kind = f"{topic}/compressed", "sensor_msgs/msg/CompressedImage"
        yield shot.stamp_ns, 4, topic, types[kind](header=header, **fields), False


class _Renderer:
    """Renders shots in this process or in several; in order either way."""

    def __init__(self, config: SceneConfig, scene: Scene, raw: bool, jobs: int) -> None:
        self._scene, self._raw = scene, raw
        self._pool: ProcessPoolExecutor | None = None
        if jobs > 1:
            # Not forked: threads of OpenCV and numba do not survive it.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(jobs, context, _start_worker, (config, raw))

    def __enter__(self) -> _Renderer:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def images(self, shots: list[_Shot]) -> Iterable[dict[str, Any]]:
        """Fields of the image message of each shot."""
        if self._pool is None:
            return (_take(self._scene, shot, self._raw) for shot in shots)
        # The first one here: what a new installation compiles then is compiled but once.
        first = _take(self._scene, shots[0], self._raw)
        return chain([first], self._pool.map(_take_in_worker, shots[1:]))


def _take(scene: Scene, shot: _Shot, raw: bool) -> dict[str, Any]:
    image = scene.render(shot.camera, seconds(shot.stamp_ns)).color
    return image_fields(image) if raw else compressed_image_fields(image, _JPEG_QUALITY)


_worker: tuple[Scene, bool] | None = None


def _start_worker(config: SceneConfig, raw: bool) -> None:
    global _worker
    # An interrupt is the parent's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    _worker = (Scene(config), raw)


def _take_in_worker(shot: _Shot) -> dict[str, Any]:
    assert _worker is not None
    scene, raw = _worker
    return _take(scene, shot, raw)
