"""Images in, heads out: the per-view part and the joint part in one process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from flowface_ros.align.aligner import Aligner
from flowface_ros.head.model import HeadModel
from flowface_ros.track.config import TrackerConfig
from flowface_ros.track.frames import TrackResult, TrackStatistics, ViewFrame
from flowface_ros.track.head_tracker import HeadTracker
from flowface_ros.track.view_aligner import Finder, ViewAligner


class Tracker:
    """Follows the heads of all people in sets of images.

    It reads no clock but for statistics: equal images and stamps give equal heads.
    """

    def __init__(
        self,
        model: HeadModel,
        aligner: Aligner,
        finder: Finder,
        config: TrackerConfig | None = None,
    ) -> None:
        """aligner, finder: see `make_aligner` and `FaceFinder`."""
        self.config = config or TrackerConfig()
        self._views = ViewAligner(model, aligner, finder, self.config)
        self._heads = HeadTracker(model, self.config)

    def update(self, frames: Sequence[ViewFrame]) -> TrackResult:
        """The heads at the stamp of the first frame.

        frames: of one moment, at most one of each camera; views may come and go.
        Raises ValueError, and leaves the heads as they were, for no frame, two frames of one
        camera, a stamp that is not later than the last one, and two cameras in the same place.
        """
        cameras = [frame.camera for frame in frames]
        self._heads.check(cameras, [frame.stamp_ns for frame in frames])
        aligned = self._views.align(frames)
        result = self._heads.update(
            cameras, [frame.stamp_ns for frame in frames], aligned.alignments
        )
        self._views.follow(result.stamp_ns, result.heads)
        statistics = TrackStatistics(
            aligned.stage_ms | result.statistics.stage_ms,
            aligned.counters + result.statistics.counters,
            result.statistics.view_rmse_px,
        )
        return replace(result, statistics=statistics)

    def reset(self) -> None:
        """Forget everybody, as after a jump of time. Ids are not used again."""
        self._views.reset()
        self._heads.reset()

    def forget(self, ids: Sequence[str]) -> None:
        """Forget the heads of these ids, as when their results are of no use."""
        self._heads.forget(ids)

    def freeze_identity(self, frozen: bool) -> None:
        """Whether the shapes of known heads stay as they are; newcomers' are still learned."""
        self._heads.freeze_identity(frozen)
