"""Bags of a pretended tracker: the truth of another bag, made worse in known ways."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from flowface_ros.bag.reader import open_bag
from flowface_ros.bag.writer import BagWriter

Change = Callable[[int, Any], Any]
"""Frame number and FaceArray; returns the FaceArray to write, or None to drop it."""


def write_prediction(truth: Path, path: Path, change: Change, delay_ns: int = 0) -> None:
    """A bag /tracker/{faces,meshes,head_model} made from the truth's topics."""
    with open_bag(truth) as bag, BagWriter(path, "mcap") as out:
        frame, dropped = -1, set()
        for topic, time_ns, message in bag.messages(
            ["/ground_truth/faces", "/ground_truth/meshes", "/ground_truth/head_model"]
        ):
            name = topic.replace("/ground_truth", "/tracker")
            if topic.endswith("head_model"):
                out.write(name, message, time_ns, latched=True)
                continue
            if topic.endswith("faces"):
                frame += 1
                message = change(frame, message)
                if message is None:
                    dropped.add(time_ns)
            if time_ns not in dropped:
                out.write(name, message, time_ns + delay_ns)


def shift_by(offsets: Callable[[int], np.ndarray]) -> Change:
    """Moves every face by offsets(frame) (3,) metres; meshes follow their frame."""

    def change(frame: int, message: Any) -> Any:
        for face in message.faces:
            position = face.pose.pose.position
            position.x, position.y, position.z = (
                np.array([position.x, position.y, position.z]) + offsets(frame)
            ).tolist()
        return message

    return change
