"""Two cameras before a head that moves, as messages; and what a recording says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from flowface_ros.bag.face_messages import (
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
from flowface_ros.camera.camera import Camera, intrinsics_matrix
from flowface_ros.camera.lens import Lens
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.state import HeadState, neutral_state
from flowface_ros.ros.transform_buffer import TransformBuffer
from flowface_ros.synth.scene.rigs import look_at
from flowface_ros.track.head_frames import gaze_pose
from flowface_ros.track.tracked_head import Status, TrackedHead

START_NS = 10**15
PERIOD_NS = 40_000_000
SETS = 6
RIG = "rig"
TYPES = RosbagsTypes(message_types().types)
MODEL = load_builtin_head()
_HEAD_M = np.array([0.9, 0.0, 0.0])


def _camera(name: str, y: float) -> Camera:
    intrinsics = intrinsics_matrix(550.0, 560.0, 322.0, 238.0)
    lens = Lens("plumb_bob", np.array([-0.2, 0.05, 0.001, -0.002, 0.0]))
    pose = look_at(np.array([0.0, y, 0.0]), _HEAD_M, 0.0)
    return Camera(name, 640, 480, intrinsics, lens, pose, f"{name}_optical")


CAMERAS = {name: _camera(name, y) for name, y in (("left", 0.3), ("right", -0.3))}
IMAGE_TOPICS = {"left": "/left/image_raw", "right": "/right/image_raw/compressed"}


def stamp(index: int) -> int:
    return START_NS + index * PERIOD_NS


def state(index: int) -> HeadState:
    upright = np.column_stack([[0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]])
    way = 0.01 * index * np.array([0.0, 1.0, 0.5])
    rotation = Rotation.from_matrix(upright).as_rotvec()
    return replace(
        neutral_state(MODEL), translation=_HEAD_M + way, rotation=rotation, jaw=[0.05 * index, 0, 0]
    )


def head(index: int, name: str = "p1") -> TrackedHead:
    return TrackedHead(name, Status.TRACKED, state(index), 0.9, tuple(CAMERAS), (0.5, 0.7))


def picture(index: int) -> np.ndarray:
    return np.full((480, 640, 3), (40 * index, 100, 200 - 30 * index), np.uint8)


def image(name: str, index: int) -> Any:
    header = header_message(TYPES, stamp(index), CAMERAS[name].frame)
    if IMAGE_TOPICS[name].endswith("/compressed"):
        fields = compressed_image_fields(picture(index))
        return TYPES["sensor_msgs/msg/CompressedImage"](header=header, **fields)
    return TYPES["sensor_msgs/msg/Image"](header=header, **image_fields(picture(index)))


def info(name: str, index: int = 0) -> Any:
    return camera_info_message(TYPES, CAMERAS[name], stamp(index))


def faces(index: int, *heads: TrackedHead, frame: str = RIG) -> Any:
    return face_array_message(TYPES, MODEL, heads, stamp(index), frame)


def mesh(index: int, name: str = "p1") -> Any:
    return face_mesh_message(TYPES, MODEL, head(index, name), stamp(index))


def head_model() -> Any:
    return head_model_message(TYPES, MODEL, START_NS, RIG)


def mounted() -> list[tuple[str, str, np.ndarray, int]]:
    return [(RIG, c.frame, c.rig_from_camera, 0) for c in CAMERAS.values()]


def transforms() -> TransformBuffer:
    buffer = TransformBuffer(keep_s=1e8)
    for parent, child, matrix, _ in mounted():
        buffer.set_static(parent, child, matrix)
    return buffer


def gaze(index: int) -> tuple[str, str, np.ndarray, int]:
    return RIG, "gaze_p1", gaze_pose(MODEL, state(index)), stamp(index)


def camera_messages(index: int) -> Iterator[tuple[str, Any]]:
    for name in CAMERAS:
        yield f"/{name}/camera_info", info(name, index)
        yield IMAGE_TOPICS[name], image(name, index)


def tracker_messages(index: int) -> Iterator[tuple[str, Any]]:
    yield "/tracker/faces", faces(index, head(index))
    yield "/tracker/meshes", mesh(index)


def write_bags(folder: Path, sets: int = SETS) -> tuple[Path, Path]:
    recording, replay = folder / "recording.mcap", folder / "replay.mcap"
    with BagWriter(recording) as out:
        out.write("/tf_static", tf_message(TYPES, mounted()), START_NS, latched=True)
        for index in range(sets):
            for topic, message in camera_messages(index):
                out.write(topic, message, stamp(index))
    with BagWriter(replay) as out:
        out.write("/tracker/head_model", head_model(), START_NS, latched=True)
        for index in range(sets):
            out.write("/tf", tf_message(TYPES, [gaze(index)]), stamp(index))
            for topic, message in tracker_messages(index):
                out.write(topic, message, stamp(index))
    return recording, replay


class Log:
    """What a file of a recording says, by entity and component."""

    def __init__(self, path: Path) -> None:
        from rerun.chunk import RrdReader

        self._rows: dict[tuple[str, str], list[tuple[float | None, Any]]] = defaultdict(list)
        reader = RrdReader(path)
        (recording,) = reader.recordings()
        for chunk in reader.stream(store=recording):
            batch = chunk.to_record_batch()
            timed = "time" in batch.schema.names
            times = [t.value for t in batch.column("time")] if timed else None
            for name in batch.schema.names:
                if ":" not in name:
                    continue
                for row, value in enumerate(batch.column(name)):
                    time_s = None if times is None else times[row] * 1e-9
                    if value.is_valid:
                        self._rows[chunk.entity_path, name].append((time_s, value))

    def times(self, entity: str, component: str) -> list[float | None]:
        """When it was logged, seconds; None for always."""
        return [time_s for time_s, _ in sorted(self._rows[entity, component], key=_time)]

    def values(self, entity: str, component: str) -> list[Any]:
        """What was logged, in the order of time."""
        rows = sorted(self._rows[entity, component], key=_time)
        return [value.as_py() for _, value in rows]  # made only here: pictures take long

    def entities(self, below: str) -> set[str]:
        return {entity for entity, _ in self._rows if entity.startswith(below)}


def _time(row: tuple[float | None, Any]) -> float:
    return -1.0 if row[0] is None else row[0]
