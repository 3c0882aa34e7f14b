"""What can be set about tracking. Defaults suit a few people before one to four cameras."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import inf

from flowface_ros.fit.config import (
    FitConfig,
    IdentityConfig,
    MotionConfig,
    NoiseConfig,
    SteadyConfig,
)
from flowface_ros.fit.shape_prior import PRIORS

ALIGNER_STEADY = SteadyConfig(
    shift=(0.0002, 0.0005, 0.0006),
    turn=(0.0171, 0.0, 0.0),
    scale=0.0080,
    view_shift=0.0008,
    view_turn=(0.0221, 0.0113, 0.0081),
    side_turn=(0.0, 0.0532, 0.0472),
    side_scale=0.0107,
    shape=0.63,
    field_variance=(0.13, 0.19, 0.64),
    field_length=0.033,
)
"""Of the light network, by `tools/measure_steady.py` on 90 synthetic people."""

ALIGNER_NOISE = NoiseConfig(
    correlation_length=0.05, correlation_share=0.8, tempering=0.5, steady=ALIGNER_STEADY
)
"""Length and share are measured on renderings, of the `landmarks` aligner: what is wrong about a
point is wrong about its neighbours within centimetres. The tempering is where a still face shakes
little and a blink is still followed."""

ALIGNER_IDENTITY = IdentityConfig(shared_error=0.9)
"""Measured on 30 synthetic people in 16 frames of three cameras: with it, the squared error of the
shape over its covariance is 1.1 per coefficient, without it 39, and the error is a fifth less."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
"""What may be part of a frame's and a topic's name (REP-155)."""


@dataclass(frozen=True, kw_only=True)
class TrackerConfig:
    """When a face becomes a head, how it is followed, and when it is given up."""

    id_prefix: str = "p"
    """Ids are this and a number, so that the heads of several trackers have different names."""
    max_faces: int = 4
    """Most heads at a time; further faces are not looked for."""
    confirm_sets: int = 3
    """Sets in a row in which a new head must be measured to become TRACKED."""
    coast_time_s: float = 0.5
    """How long a head that no view shows is predicted before it is removed."""
    min_presence: float = 0.5
    """Crops whose presence (probability of a face) is lower are not used."""
    clear_detection: float = 0.75
    """Confidence (detector score times presence) from which one detection makes a newcomer; a less
    clear one must be found again where it was by the view's next search."""
    search_interval_s: float = 0.1
    """Time between two searches of a view that lacks a head which it should show."""
    detection_interval_s: float = 0.5
    """Time between two searches for newcomers in a view that shows every known head it can."""
    max_view_angle_deg: float = 100.0
    """A camera that sees a face under a larger angle from its front is not asked about it."""
    min_distance_m: float = 0.1
    """Heads nearer to a camera that sees them are refused: nothing is in focus there."""
    max_distance_m: float = 15.0
    """Heads farther from every camera that sees them are refused."""
    keyframe_interval_s: float = 0.1
    """Time between two frames that a head's shape is learned from."""
    compensate_stamps: bool = True
    """Carry each view to the set's stamp by the head's velocity, for cameras not quite in step."""
    max_points: int = 500
    """Surface points of a view that are fitted, evenly thinned, and the irises'. Neighbours' errors
    are alike, so that more take time and say nothing."""
    fit: FitConfig = field(default_factory=lambda: FitConfig(noise=ALIGNER_NOISE))
    """Of the fit of one head to the views of one moment."""
    texture_memory: bool = True
    """Keep answers in step with what the skin looked like in earlier pictures, so that heads move
    as the pictures do; without it every picture is looked at alone."""
    motion: MotionConfig = field(default_factory=MotionConfig)
    """How heads move. After a pause of all views of `longest_gap`, or `coast_time_s` where that is
    longer, everybody is a newcomer."""
    identity: IdentityConfig = field(default_factory=lambda: ALIGNER_IDENTITY)
    """Which frames tell a person's shape."""
    shape_prior: str = "none"
    """What a newcomer's shape is taken for before the first fit: `none`, or `network` for what the
    proportions in its views tell, of the built-in head alone."""

    def __post_init__(self) -> None:
        rule = "a letter, then letters, digits and underscores"
        self._require("id_prefix", _NAME.fullmatch(self.id_prefix), rule)
        self._require("max_faces", self.max_faces >= 1, "at least 1")
        self._require("confirm_sets", self.confirm_sets >= 1, "at least 1")
        for name in ("coast_time_s", "search_interval_s", "detection_interval_s"):
            self._require(name, 0 <= getattr(self, name) < inf, "0 or more, and finite")
        self._require("min_presence", 0 <= self.min_presence <= 1, "from 0 to 1")
        self._require("clear_detection", 0 <= self.clear_detection <= 1, "from 0 to 1")
        self._require("max_view_angle_deg", 0 < self.max_view_angle_deg <= 180, "in (0, 180]")
        self._require("min_distance_m", self.min_distance_m > 0, "above 0")
        self._require(
            "max_distance_m", self.max_distance_m > self.min_distance_m, "above min_distance_m"
        )
        self._require("max_points", self.max_points >= 50, "at least 50")
        self._require("shape_prior", self.shape_prior in PRIORS, f"one of {', '.join(PRIORS)}")
        self._require("keyframe_interval_s", self.keyframe_interval_s >= 0, "0 or more")

    def _require(self, name: str, good: object, rule: str) -> None:
        if not good:
            raise ValueError(f"{name} is {getattr(self, name)!r}, must be {rule}")
