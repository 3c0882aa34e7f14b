"""What goes into a tracker and what comes out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.crop import check_image
from flowface_ros.align.observation import Observation
from flowface_ros.camera.camera import Camera
from flowface_ros.track.tracked_head import TrackedHead


@dataclass(frozen=True, eq=False)
class ViewFrame:
    """One image of a synchronized set.

    camera: with `rig_from_camera` at the image's stamp; another one in every call if it moves.
    image: (H, W, 3) uint8 RGB, or grey (H, W[, 1]), of the camera's size. stamp_ns: when it was
    taken.
    Raises ValueError when the image is of another size, shape or type.
    """

    camera: Camera
    image: NDArray[np.uint8]
    stamp_ns: int

    def __post_init__(self) -> None:
        name = self.camera.name
        try:
            check_image(self.image)
        except ValueError as error:
            raise ValueError(f"camera {name!r}: {error}") from None
        height, width = self.image.shape[:2]
        if (width, height) != (self.camera.width, self.camera.height):
            raise ValueError(
                f"image of camera {name!r} is {width}x{height}, its calibration is for "
                f"{self.camera.width}x{self.camera.height}"
            )


@dataclass(frozen=True, eq=False)
class ViewAlignment:
    """One face in one view, as the per-view part hands it to the joint part.

    camera: as in `ViewFrame`. observation: carries the camera's name and the image's stamp.
    id: of the head whose projection gave the crop, "" for a face that no head explains yet.
    presence: probability that the crop shows a face.
    roi: x, y, width, height of the image region looked at, pixels.
    """

    camera: Camera
    observation: Observation
    id: str = ""
    presence: float = 1.0
    roi: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)


COUNTERS = (
    "detections",
    "doubtful_detection",
    "low_presence",
    "duplicate_alignment",
    "view_disagrees",
    "fit_failed",
    "implausible",
    "too_many_faces",
    "new_head",
    "lost",
    "merged",
)
"""Names of what `TrackStatistics.counters` counts. detections: faces found that no head explains.
doubtful_detection: those that wait for being found again.
low_presence, duplicate_alignment: alignments not used. view_disagrees: views that a fit left out.
fit_failed, implausible: results not used. too_many_faces: newcomers beyond max_faces. new_head,
lost, merged: heads that came and went."""


@dataclass(frozen=True, eq=False)
class TrackStatistics:
    """What one update did.

    stage_ms: wall time of `detect`, `align`, `associate`, `fit`, milliseconds.
    counters: events of this update by the names in `COUNTERS`.
    view_rmse_px: root mean square reprojection error over the heads, by camera.
    """

    stage_ms: dict[str, float] = field(default_factory=dict)
    counters: Counter[str] = field(default_factory=Counter)
    view_rmse_px: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class TrackResult:
    """Everybody at one moment.

    stamp_ns: of the set, that of its first view. heads: oldest first.
    removed: ids of heads that the last result still had.
    """

    stamp_ns: int
    heads: tuple[TrackedHead, ...]
    removed: tuple[str, ...] = ()
    statistics: TrackStatistics = field(default_factory=TrackStatistics)
