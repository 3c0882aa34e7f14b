"""Messages from another thread, and a viewer that is slow."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from view_world import CAMERAS, IMAGE_TOPICS, SETS, Log, camera_messages, head_model, transforms
from view_world import tracker_messages as heads

from flowface_ros.view.live_view import Inbox, LiveView
from flowface_ros.view.scene import SceneOptions
from flowface_ros.view.sdk import send
from flowface_ros.view.topics import FACES, HEAD_MODEL, MESHES

TYPES = {
    "/tracker/faces": FACES,
    "/tracker/meshes": MESHES,
    "/tracker/head_model": HEAD_MODEL,
    **{f"/{name}/camera_info": "sensor_msgs/msg/CameraInfo" for name in CAMERAS},
    IMAGE_TOPICS["left"]: "sensor_msgs/msg/Image",
    IMAGE_TOPICS["right"]: "sensor_msgs/msg/CompressedImage",
}


def test_messages_leave_the_inbox_as_they_came() -> None:
    inbox = Inbox()
    for index, topic in enumerate("abab"):
        inbox.put(topic, index)
    assert [inbox.get(0) for _ in range(5)] == [("a", 0), ("b", 1), ("a", 2), ("b", 3), None]


def test_the_newest_of_each_topic_stay() -> None:
    inbox = Inbox(most=2)
    inbox.put("b", "b")
    for index in range(5):
        inbox.put("a", index)
    assert [inbox.get(0) for _ in range(4)] == [("b", "b"), ("a", 3), ("a", 4), None]
    assert inbox.dropped == {"a": 3}
    inbox.put("a", 5)
    assert inbox.get(0) == ("a", 5)


class SlowRecording:
    """A recording stream whose server takes what it is given only now and then."""

    def __init__(self, refusals: int, text: str = "Flush timed out") -> None:
        self.refusals, self._text = refusals, text

    def flush(self, timeout_sec: float) -> None:
        self.refusals -= 1
        if self.refusals >= 0:
            raise RuntimeError(self._text)


def test_sending_waits_for_a_slow_viewer() -> None:
    recording = SlowRecording(3)
    send(recording)
    assert recording.refusals < 0


def test_sending_ends_when_it_is_told_to_or_the_server_is_gone() -> None:
    looks = iter([True, True, False])
    send(SlowRecording(1000), lambda: next(looks))
    with pytest.raises(OSError, match="severed"):
        send(SlowRecording(1, "connection severed"))


def test_a_live_view_shows_what_another_thread_receives(rerun: Any, tmp_path: Path) -> None:
    from flowface_ros.view.sdk import new_recording

    recording = new_recording()
    recording.save(tmp_path / "live.rrd")
    view = LiveView(recording, transforms().lookup, SceneOptions())
    topics = view.find(TYPES)
    assert view.missing(topics) == ""
    stop, said = threading.Event(), list[str]()
    thread = threading.Thread(target=view.run, args=(stop, said.append))
    thread.start()
    view.put(topics, "/tracker/head_model", head_model())
    for index in range(SETS):
        for topic, message in (*camera_messages(index), *heads(index)):
            view.put(topics, topic, message)
        time.sleep(0.05)
    time.sleep(0.5)
    stop.set()
    thread.join(20)
    assert not thread.is_alive()
    recording.disconnect()
    log = Log(tmp_path / "live.rrd")
    assert said == []
    assert log.values("/rig/face_p1", "Transform3D:translation")
    assert log.values("/rig/left/image", "EncodedImage:blob")
    assert log.values("/rig/right/heads/p1", "LineStrips2D:strips")


def test_what_cannot_be_shown_is_said_once(rerun: Any, tmp_path: Path) -> None:
    from flowface_ros.view.sdk import new_recording

    recording = new_recording()
    recording.save(tmp_path / "live.rrd")
    view = LiveView(recording, transforms().lookup, SceneOptions())
    topics = view.find(TYPES)
    stop, said = threading.Event(), list[str]()
    thread = threading.Thread(target=view.run, args=(stop, said.append))
    thread.start()
    for index in range(3):
        for topic, message in camera_messages(index):
            if topic == IMAGE_TOPICS["left"]:
                message.encoding = "nonsense"
            view.put(topics, topic, message)
        for topic, message in heads(index):
            view.put(topics, topic, message)
    deadline = time.monotonic() + 20
    while not said and time.monotonic() < deadline:
        time.sleep(0.05)
    stop.set()
    thread.join(20)
    recording.disconnect()
    assert len(said) == 1
    assert "nonsense" in said[0]
