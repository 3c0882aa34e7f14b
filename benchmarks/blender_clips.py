"""The sequences of the Blender set as clips."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from peer_clips import Clip

from flowface_ros.camera.camera import Camera
from flowface_ros.evaluate.inter_ocular import inter_ocular_px
from flowface_ros.evaluate.moving_mesh import MovingMesh
from flowface_ros.evaluate.regions import triangle_regions
from flowface_ros.head.model import HeadModel
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.train.picture_set import TruePicture, read_picture


def blender_clips(folder: Path, model: HeadModel) -> list[Clip]:
    """Those that are complete in a folder that `tools/blender_set.py --set sequences` made.

    Raises ValueError for another folder, or when none is complete.
    """
    listed = folder / "manifest.json"
    if not listed.is_file():
        raise ValueError(f"{listed}: no such file, so these are no sequences of the Blender set")
    about = json.loads(listed.read_text())
    if "frames" not in about:
        raise ValueError(f"{listed}: is of the set {about.get('set')!r}, must be of sequences")
    frames, made = int(about["frames"]), {int(number) for number in about["pictures"]}
    clips = []
    for start in range(0, max(made, default=-1) + 1, frames):
        numbers = range(start, start + frames)
        if made.issuperset(numbers):
            pictures = [read_picture(folder / f"{number:06d}.npz") for number in numbers]
            clips.append(_clip(start // frames, pictures, model, float(about["fps"])))
    if not clips:
        raise ValueError(f"{folder}: holds no complete sequence of {frames} frames")
    return clips


def _clip(number: int, pictures: list[TruePicture], model: HeadModel, fps: float) -> Clip:
    height, width = pictures[0].image.shape[:2]
    cameras = [Camera("camera", width, height, p.intrinsics) for p in pictures]
    truth = [pose_vertices(model, picture.head) for picture in pictures]
    sizes = [inter_ocular_px(model, v, c) for v, c in zip(truth, cameras, strict=True)]
    return Clip(
        f"sequence {number}",
        [picture.image for picture in pictures],
        cameras,
        MovingMesh(model.triangles, truth),
        {"face": triangle_regions(model)["face"]},
        np.array(sizes),
        model,
        fps,
    )
