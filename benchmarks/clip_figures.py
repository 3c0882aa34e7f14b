"""What trackers make of clips whose truth is known: their answers, and how far off they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray
from peer_clips import Clip
from peer_trackers import Answer, Run
from tqdm import tqdm

from flowface_ros.align.embedding import landmark_points
from flowface_ros.evaluate.image_error import ImageErrors, TrueImage
from flowface_ros.evaluate.jitter import jitter_mm
from flowface_ros.evaluate.regions import vertex_regions
from flowface_ros.evaluate.shared_pixels import covered_pixels
from flowface_ros.evaluate.ssme import Ssme, ssme
from flowface_ros.evaluate.surface_error import aligned_vertex_distances, vertex_distances

MODES = ("single", "sequence")
NAN = float("nan")


@dataclass(frozen=True)
class Judged:
    """What one tracker said of clips, and its motion errors in each: over the pixels that its own
    mesh covers, and over those that the meshes of all trackers cover."""

    answers: list[Answer] = field(default_factory=list)
    own: list[Ssme] = field(default_factory=list)
    common: list[Ssme] = field(default_factory=list)

    @property
    def own_sum(self) -> Ssme:
        return reduce(add, self.own)

    @property
    def common_sum(self) -> Ssme:
        return reduce(add, self.common)


def judge(clips: Sequence[Clip], trackers: dict[str, Run], mode: str) -> dict[str, Judged]:
    """Every tracker on every clip in one of MODES."""
    judged = {name: Judged() for name in trackers}
    for clip in tqdm(clips, desc=mode, dynamic_ncols=True):
        said = {name: run(clip, mode) for name, run in trackers.items()}
        masks = [covered_pixels(answer.mesh, clip.cameras) for answer in said.values()]
        shared = [np.logical_and.reduce(frame) for frame in zip(*masks, strict=True)]
        for name, answer in said.items():
            of = judged[name]
            of.answers.append(answer)
            for sums, pixels in ((of.own, None), (of.common, shared)):
                sums.append(
                    ssme(
                        clip.truth, answer.mesh, clip.cameras, clip.regions, clip.inter_ocular_px,
                        judged=pixels,
                    )
                )  # fmt: skip
    return judged


@dataclass(frozen=True)
class SpaceErrors:
    """Of the face's vertices. rig_mm, aligned_mm: mean distance in each frame with an answer (K,),
    in the rig's frame and after a rigid alignment. jitter_mm: of the whole clip."""

    rig_mm: NDArray[np.float64]
    aligned_mm: NDArray[np.float64]
    jitter_mm: float


def space_errors(clip: Clip, answer: Answer) -> SpaceErrors | None:
    """None without a head to compare with."""
    if clip.head is None or answer.mesh.triangles.shape != clip.truth.triangles.shape:
        return None
    face = vertex_regions(clip.head)["face"]
    both = [
        None if t is None or p is None else (np.asarray(t[face]), np.asarray(p[face]))
        for t, p in zip(clip.truth.vertices, answer.mesh.vertices, strict=True)
    ]
    known = [pair for pair in both if pair is not None]
    return SpaceErrors(
        np.array([1e3 * vertex_distances(*pair).mean() for pair in known]),
        np.array([1e3 * aligned_vertex_distances(*pair).mean() for pair in known]),
        jitter_mm([None if pair is None else pair[1] - pair[0] for pair in both]),
    )


def image_percent(clips: Sequence[Clip], answers: Sequence[Answer]) -> float:
    """Mean distance of the visible ones of the 478 points, of the inter-ocular distance."""
    errors = ImageErrors()
    for clip, answer in zip(clips, answers, strict=True):
        if clip.head is None:
            continue
        points = landmark_points(clip.head)
        for vertices, guess, camera in zip(
            clip.truth.vertices, answer.points, clip.cameras, strict=True
        ):
            if guess is not None and vertices is not None:
                TrueImage(clip.head, vertices, camera).add_points(errors, points, guess)
    return float(np.concatenate(errors.percent).mean()) if errors.percent else NAN
