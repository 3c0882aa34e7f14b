"""The joint part of tracking: from alignments of all views to people over time."""

from __future__ import annotations

from collections.abc import Sequence

from flowface_ros.camera.camera import Camera
from flowface_ros.head.model import HeadModel
from flowface_ros.track.config import TrackerConfig
from flowface_ros.track.frames import TrackResult, ViewAlignment


class HeadTracker:
    """Association over views, fit, identity and life cycle; sees no image."""

    def __init__(self, model: HeadModel, config: TrackerConfig | None = None) -> None:
        raise NotImplementedError

    def check(self, cameras: Sequence[Camera], stamps_ns: Sequence[int]) -> None:
        """Raises ValueError as `update` would."""
        raise NotImplementedError

    def update(
        self,
        cameras: Sequence[Camera],
        stamps_ns: Sequence[int],
        alignments: Sequence[ViewAlignment],
    ) -> TrackResult:
        """The heads at the first stamp.

        cameras, stamps_ns: the views of the set, those without a face too. alignments: of these.
        Raises ValueError as `Tracker.update`.
        """
        raise NotImplementedError

    def reset(self) -> None:
        """Forget everybody. Ids are not used again."""
        raise NotImplementedError

    def freeze_identity(self, frozen: bool) -> None:
        """Whether the shapes of known heads stay as they are."""
        raise NotImplementedError
