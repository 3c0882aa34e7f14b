"""From a set of messages to the views that a tracker takes; what is unusable is counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowface_ros.bag.calibration import CalibrationError, checked_size
from flowface_ros.bag.images import decode_any_image
from flowface_ros.camera.camera import Camera
from flowface_ros.ros.camera_input import CameraInput
from flowface_ros.ros.collector import Arrival
from flowface_ros.ros.counters import Drops, StageTimes
from flowface_ros.ros.guard import Guard
from flowface_ros.ros.synchronizer import FrameSet
from flowface_ros.ros.transform_buffer import TransformError
from flowface_ros.ros.transforms import TransformListener
from flowface_ros.track.frames import ViewFrame


class CameraPlacer:
    """Puts cameras where TF has them.

    max_wait_s: how long to wait for transforms; a camera without any in the last set is not
    waited for again.
    """

    def __init__(self, transforms: TransformListener, drops: Drops, guard: Guard) -> None:
        self._transforms, self._drops, self._guard = transforms, drops, guard
        self._placed: dict[str, tuple[Camera, Camera]] = {}
        self._lost: set[str] = set()
        self.errors: dict[str, str] = {}
        """Why a camera has no place, by camera; for diagnostics."""

    def place(
        self, camera: Camera, frame: str, rig_frame: str, time_ns: int, until_s: float
    ) -> Camera | None:
        """The camera in the rig at a stamp, or None after a counted warning."""
        patience = time.monotonic() if camera.name in self._lost else until_s
        try:
            matrix = self._transforms.lookup(rig_frame, frame, time_ns, patience)
        except TransformError as error:
            text = f"camera {camera.name!r} is not used: {error}"
            self._guard.warn(f"tf {camera.name}", text)
            self._drops.add("no_transform", camera.name)
            self._lost.add(camera.name)
            self.errors[camera.name] = str(error)
            return None
        self._lost.discard(camera.name)
        self.errors.pop(camera.name, None)
        return self._moved(camera, matrix)

    def _moved(self, camera: Camera, matrix: NDArray[np.float64]) -> Camera:
        """The same object again while nothing moves: what is computed per camera is kept."""
        source, placed = self._placed.get(camera.name, (None, camera))
        if source is camera and np.array_equal(placed.rig_from_camera, matrix):
            return placed
        placed = camera.moved(matrix)
        self._placed[camera.name] = (camera, placed)
        return placed


@dataclass(frozen=True, eq=False)
class _Picture:
    camera: Camera
    frame: str
    image: NDArray[np.uint8]
    stamp_ns: int


class ViewReader:
    """Decodes the images of a set and puts calibration and transform to each.

    rig_frame: gives the frame of the results, from the primary view's frame.
    """

    def __init__(
        self,
        inputs: Mapping[str, CameraInput],
        placer: CameraPlacer,
        drops: Drops,
        times: StageTimes,
        guard: Guard,
    ) -> None:
        self._inputs, self._placer = inputs, placer
        self._drops, self._times, self._guard = drops, times, guard
        self._primary_frame = ""
        self.errors: dict[str, str] = {}
        """Why a camera's latest image was not used, by camera; for diagnostics."""

    def read(
        self, frames: FrameSet[Arrival], rig_frame: str, max_wait_s: float
    ) -> tuple[str, list[ViewFrame]]:
        """The frame of the rig, and the usable views in the order of the cameras.

        rig_frame: "" for the primary camera's frame.
        """
        with self._times.measure("decode"):
            pictures = [
                picture
                for name in self._inputs
                if name in frames.items
                and (picture := self._picture(name, frames.stamps_ns[name], frames.items[name]))
            ]
        rig_frame = rig_frame or self._first_frame(pictures)
        views = []
        with self._times.measure("transform"):
            until_s = time.monotonic() + max_wait_s
            for picture in pictures:
                camera = self._placer.place(
                    picture.camera, picture.frame, rig_frame, picture.stamp_ns, until_s
                )
                if camera is not None:
                    views.append(ViewFrame(camera, picture.image, picture.stamp_ns))
        return rig_frame, views

    def _first_frame(self, pictures: list[_Picture]) -> str:
        """The optical frame of the first camera of all, once it is known."""
        primary = next(iter(self._inputs))
        for picture in pictures:
            if picture.camera.name == primary:
                self._primary_frame = picture.frame
        return self._primary_frame or self._inputs[primary].topics.frame

    def _picture(self, name: str, stamp_ns: int, arrival: Arrival) -> _Picture | None:
        source = self._inputs[name]
        try:
            camera = source.calibration.at(stamp_ns)
            image = decode_any_image(arrival.message)
            checked_size(camera, image)
        except CalibrationError as error:
            self._refuse(name, error.cause, str(error))
            return None
        except ValueError as error:
            self._refuse(name, "bad_image", str(error))
            return None
        self.errors.pop(name, None)
        frame = arrival.message.header.frame_id
        if camera.frame != frame:
            text = f"camera {name!r}: the images are of frame {frame!r}, the CameraInfo of "
            self._guard.warn(f"frames {name}", f"{text}{camera.frame!r}")
        return _Picture(camera, source.topics.frame or frame, image, stamp_ns)

    def _refuse(self, name: str, cause: str, text: str) -> None:
        self._drops.add(cause, name)
        self.errors[name] = text
        log: Callable[[str, str], None] = (
            self._guard.warn if cause in ("bad_image", "no_camera_info") else self._guard.error
        )
        log(f"{cause} {name}", f"camera {name!r}: {text}; its image is not used")


def arrival_of(frames: FrameSet[Arrival]) -> float:
    """When the last message of a set came (monotonic clock, seconds)."""
    return max(arrival.arrived_s for arrival in frames.items.values())


def message_of(frames: FrameSet[Arrival], camera: str) -> Any:
    """The message of one camera."""
    return frames.items[camera].message
