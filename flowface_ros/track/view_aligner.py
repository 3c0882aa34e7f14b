"""The per-view part of tracking: where to look, and what is seen there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.aligner import Aligner
from flowface_ros.align.landmark_net import FaceLandmarks
from flowface_ros.head.model import HeadModel
from flowface_ros.track.config import TrackerConfig
from flowface_ros.track.frames import ViewAlignment, ViewFrame
from flowface_ros.track.tracked_head import TrackedHead


class Finder(Protocol):
    """Finds faces in whole pictures, as `FaceFinder` does."""

    def detect_faces(
        self, image: NDArray[np.uint8], max_faces: int | None = None
    ) -> list[FaceLandmarks]: ...


@dataclass(frozen=True, eq=False)
class AlignedViews:
    """What the views of one set show; stage_ms and counters as in `TrackStatistics`."""

    alignments: list[ViewAlignment]
    stage_ms: dict[str, float] = field(default_factory=dict)
    counters: Counter[str] = field(default_factory=Counter)


class ViewAligner:
    """Aligns faces in the views of some cameras; runs where these are.

    Give it back what the joint part made of its answers (`follow`): it looks for known heads where
    they are, and for others by detection.
    """

    def __init__(
        self,
        model: HeadModel,
        aligner: Aligner,
        finder: Finder,
        config: TrackerConfig | None = None,
    ) -> None:
        raise NotImplementedError

    def align(self, frames: Sequence[ViewFrame]) -> AlignedViews:
        """All faces of all views; one batch of the aligner."""
        raise NotImplementedError

    def follow(self, stamp_ns: int, heads: Sequence[TrackedHead]) -> None:
        """Take in the heads of a set, all of them, as the joint part gave or published them."""
        raise NotImplementedError

    def reset(self) -> None:
        """Forget everybody."""
        raise NotImplementedError
