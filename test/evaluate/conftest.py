"""A recorded truth, and bags of a pretended tracker: the truth made worse in known ways."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowface_ros.bag.reader import open_bag
from flowface_ros.bag.recording import record_scene
from flowface_ros.bag.writer import BagWriter
from flowface_ros.synth.scene.scene import SceneConfig

CONFIG = SceneConfig(
    seed=3, cameras=2, width=96, height=72, fps=15, duration_s=0.4, stamp_jitter_s=0
)

Change = Callable[[int, Any], Any]
"""Frame number and FaceArray; returns the FaceArray to write, or None to drop it."""


def _write_prediction(
    truth: Path,
    path: Path,
    change: Change,
    delay_ns: int = 0,
    remesh: Callable[[Any], Any] = lambda message: message,
) -> None:
    """A bag /tracker/{faces,meshes,head_model} made from the truth's topics.

    remesh: what becomes of each HeadModel and FaceMesh.
    """
    with open_bag(truth) as bag, BagWriter(path, "mcap") as out:
        frame, dropped = -1, set()
        for topic, time_ns, message in bag.messages(
            ["/ground_truth/faces", "/ground_truth/meshes", "/ground_truth/head_model"]
        ):
            name = topic.replace("/ground_truth", "/tracker")
            if topic.endswith("head_model"):
                out.write(name, remesh(message), time_ns, latched=True)
                continue
            if topic.endswith("faces"):
                frame += 1
                message = change(frame, message)
                if message is None:
                    dropped.add(time_ns)
            else:
                message = remesh(message)
            if time_ns not in dropped:
                out.write(name, message, time_ns + delay_ns)


def _shift_by(offsets: Callable[[int], np.ndarray]) -> Change:
    """Moves every face by offsets(frame) (3,) metres; meshes follow their frame."""

    def change(frame: int, message: Any) -> Any:
        for face in message.faces:
            position = face.pose.pose.position
            position.x, position.y, position.z = (
                np.array([position.x, position.y, position.z]) + offsets(frame)
            ).tolist()
        return message

    return change


@pytest.fixture(scope="session")
def truth_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames of one person in two views."""
    path = tmp_path_factory.mktemp("evaluate") / "truth.mcap"
    record_scene(CONFIG, path, jobs=1)
    return path


@pytest.fixture(scope="session")
def write_prediction() -> Callable[..., None]:
    """(truth bag, bag to write, change, delay_ns=0)."""
    return _write_prediction


@pytest.fixture(scope="session")
def shift_by() -> Callable[[Callable[[int], np.ndarray]], Change]:
    """(offsets of a frame) -> change."""
    return _shift_by
