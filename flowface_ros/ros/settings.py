"""The parameters of each node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flowface_ros.align.aligner import ALIGNERS, DEFAULT_GRID, GRID_RANGE
from flowface_ros.align.several_looks import check_looks
from flowface_ros.ros.parameters import CameraTopics, check_camera_names, parameter, table
from flowface_ros.ros.synchronizer import SynchronizerConfig
from flowface_ros.track.config import TrackerConfig

_TRACK = TrackerConfig()
_SYNC = SynchronizerConfig()


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """Of every node."""

    cameras: Sequence[str] = parameter(
        ["camera"], "names of the cameras, primary first", read_only=True
    )
    head_file: str = parameter(
        "", "head model (.npz of `flowface head import`); empty: the built-in one", read_only=True
    )
    autostart: bool = parameter(
        True, "configure and activate at start; else wait for lifecycle requests", read_only=True
    )
    slop: float = parameter(
        _SYNC.slop_s, "largest difference of stamps within a set, seconds", between=(0.0, 1.0)
    )
    max_wait: float = parameter(
        _SYNC.max_wait_s,
        "longest wait for missing views and for transforms, seconds",
        between=(0.0, 5.0),
    )
    max_faces: int = parameter(
        _TRACK.max_faces, "most heads at a time", between=(1, 32), read_only=True
    )

    def __post_init__(self) -> None:
        check_camera_names(self.cameras)

    @property
    def synchronizer(self) -> SynchronizerConfig:
        """As the synchronizer wants it."""
        return SynchronizerConfig(self.slop, self.max_wait)


@dataclass(frozen=True, kw_only=True)
class AlignSettings(NodeSettings):
    """Of nodes that look at images."""

    aligner: str = parameter(
        ALIGNERS[0],
        "network: a trained alignment network; landmarks: 478 points of a face landmark network",
        choices=ALIGNERS,
        read_only=True,
    )
    weights: str = parameter(
        "", "ONNX file of the network aligner; empty: the one that ships", read_only=True
    )
    runtime: str = parameter(
        "onnx", "what runs the network aligner", choices=("onnx", "torch"), read_only=True
    )
    grid: int = parameter(
        DEFAULT_GRID,
        "texels a side of the landmarks aligner's surface points; a network brings its own",
        between=GRID_RANGE,
        read_only=True,
    )
    device: str = parameter(
        "auto",
        "auto (a GPU if it works, else the CPU), cpu, cuda:N or tensorrt:N",
        read_only=True,
    )
    precision: str = parameter(
        "fp32", "of the network aligner; fp16 needs a GPU", choices=("fp32", "fp16"), read_only=True
    )
    threads: int = parameter(1, "CPU threads inside a network", between=(1, 64), read_only=True)
    looks: int = parameter(
        1,
        "crops that the aligner looks at of each face in an image and takes the mean of: 1, 2, 4 "
        "or 8; more are more exact and take as many times as long",
        between=(1, 8),
        read_only=True,
    )
    allow_cpu_fallback: bool = parameter(
        False, "run on the CPU when the device asked for cannot be had", read_only=True
    )
    texture_memory: bool = parameter(
        _TRACK.texture_memory,
        "keep heads in step with what their skin looked like in earlier images; false: look at "
        "each image alone",
        read_only=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_looks(self.looks)

    @property
    def weights_path(self) -> Path | None:
        """Of the network."""
        return Path(self.weights).expanduser() if self.weights else None


@dataclass(frozen=True, kw_only=True)
class HeadSettings(NodeSettings):
    """Of nodes that publish heads."""

    rig_frame: str = parameter(
        "",
        "frame of the results; empty: the first camera's optical frame. Every camera needs a "
        "transform to it",
        read_only=True,
    )
    min_views: int = parameter(
        _SYNC.min_views,
        "fewest views of a set; at most the number of cameras. A head may be seen by fewer",
        between=(1, 64),
        read_only=True,
    )
    id_prefix: str = parameter(
        _TRACK.id_prefix,
        "ids of heads are this and a number; each tracker of a system needs its own, or their "
        "frames get the same names",
        read_only=True,
    )
    coast_time: float = parameter(
        _TRACK.coast_time_s,
        "how long a head that no view shows is predicted, seconds",
        between=(0.0, 10.0),
        read_only=True,
    )
    confirm_sets: int = parameter(
        _TRACK.confirm_sets,
        "sets in a row that must show a new head before it is TRACKED",
        between=(1, 100),
        read_only=True,
    )
    marker_rate: float = parameter(
        5.0, "markers a second, if somebody subscribes; 0: none", between=(0.0, 60.0)
    )
    publish_rep155: bool = parameter(
        False, "publish /humans/faces as REP-155 says; needs hri_msgs", read_only=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_views > len(self.cameras):
            raise ValueError(
                f"min_views is {self.min_views}, must be at most the number of cameras, "
                f"{len(self.cameras)}"
            )
        _ = self.tracker  # raises ValueError for what it does not take

    @property
    def synchronizer(self) -> SynchronizerConfig:
        """As the synchronizer wants it."""
        return SynchronizerConfig(self.slop, self.max_wait, self.min_views)

    @property
    def tracker(self) -> TrackerConfig:
        """As the tracker wants it."""
        return TrackerConfig(
            max_faces=self.max_faces,
            confirm_sets=self.confirm_sets,
            coast_time_s=self.coast_time,
            id_prefix=self.id_prefix,
        )


@dataclass(frozen=True, kw_only=True)
class TrackerSettings(AlignSettings, HeadSettings):
    """Of `tracker`."""

    overlay_rate: float = parameter(
        5.0, "overlay pictures a second and camera, if somebody subscribes; 0: none",
        between=(0.0, 60.0),
    )  # fmt: skip

    @property
    def tracker(self) -> TrackerConfig:
        """As the tracker wants it."""
        return replace(super().tracker, texture_memory=self.texture_memory)


@dataclass(frozen=True, kw_only=True)
class AlignerSettings(AlignSettings):
    """Of `aligner`."""

    faces_topic: str = parameter(
        "fitter/faces", "FaceArray of the fitter, which says where to look next", read_only=True
    )

    @property
    def tracker(self) -> TrackerConfig:
        """As the part of the tracker that looks at images wants it."""
        return TrackerConfig(max_faces=self.max_faces, texture_memory=self.texture_memory)


@dataclass(frozen=True, kw_only=True)
class FitterSettings(HeadSettings):
    """Of `fitter`."""


@dataclass(frozen=True)
class AlignmentTopic:
    """Where the fitter finds one camera's alignments."""

    alignment_topic: str = parameter(
        "", "FaceAlignmentArray of this camera; empty: <camera>/alignments", read_only=True
    )

    def resolved(self, camera: str) -> AlignmentTopic:
        """With the topic of a camera in the place of an empty one."""
        return replace(self, alignment_topic=self.alignment_topic or f"{camera}/alignments")


@dataclass(frozen=True, kw_only=True)
class RigSettings:
    """Of `rig`."""

    rig_file: str = parameter("", "rig YAML, or camchain of Kalibr", read_only=True)
    info: str = parameter(
        "",
        "cameras whose CameraInfo is published, twice a second, on <camera>/camera_info; "
        "separated by commas, or `all`",
        read_only=True,
    )


def parameter_tables() -> str:
    """The parameters of all nodes in Markdown, as docs/ros.md has them."""
    head = "| parameter | default | allowed | set | meaning |\n|---|---|---|---|---|\n"
    parts = []
    for node, settings, of_camera in (
        ("tracker", TrackerSettings, CameraTopics),
        ("aligner", AlignerSettings, CameraTopics),
        ("fitter", FitterSettings, AlignmentTopic),
        ("rig", RigSettings, None),
    ):
        rows = [table(settings), *([table(of_camera, "<camera>.")] if of_camera else [])]
        parts.append(f"### {node}\n\n{head}" + "\n".join(rows))
    return "\n\n".join(parts) + "\n"
