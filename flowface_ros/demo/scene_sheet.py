"""A contact sheet of a synthetic recording, read back from its bag."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flowface_ros.bag.face_messages import stamp_ns
from flowface_ros.bag.images import decode_any_image
from flowface_ros.bag.reader import open_bag
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.synth.scene.scene import Scene, seconds
from flowface_ros.synth.sheets.contact_sheet import View, contact_sheet

_MOMENTS = 4
"""Rows of the contact sheet."""


def sheet_of_bag(scene: Scene, bag: Path) -> NDArray[np.uint8]:
    """Contact sheet (H, W, 3) uint8 RGB of images read back from a scene's bag."""
    count = scene.config.frames
    frames = sorted(
        {round((i + 0.5) * count / _MOMENTS) for i in range(_MOMENTS)} & {*range(count)}
    )
    stamps = {name: scene.stamps_ns(i) for i, name in enumerate(scene.camera_names)}
    wanted = {(name, int(stamps[name][frame])): frame for name in stamps for frame in frames}
    rows: dict[int, list[View]] = {frame: [] for frame in frames}
    with open_bag(bag) as reader:
        topics = {t: t.split("/")[1] for t in reader.topics if "/image_raw" in t}
        for topic, _, message in reader.messages(topics=list(topics)):
            stamp, name = stamp_ns(message), topics[topic]
            frame = wanted.get((name, stamp))
            if frame is None:
                continue
            t = seconds(stamp)
            heads = [pose_vertices(scene.model, state) for state in scene.head_states(t)]
            rows[frame].append(View(decode_any_image(message), scene.cameras(t)[name], heads))
    ordered = [sorted(rows[f], key=lambda v: scene.camera_names.index(v.camera.name)) for f in rows]
    titles = [f"{frame / scene.config.fps:.2f} s" for frame in rows]
    return contact_sheet(scene.model, ordered, titles)
