"""Which topics are shown."""

from __future__ import annotations

import pytest

from flowface_ros.bag.camera_topics import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE
from flowface_ros.view.time_line import TimeLine
from flowface_ros.view.topics import (
    FACES,
    HEAD_MODEL,
    MESHES,
    find_view_topics,
    missing_topics,
)

TYPES = {
    "/ground_truth/faces": FACES,
    "/ground_truth/meshes": MESHES,
    "/left/image_raw": IMAGE,
    "/left/image_raw/compressed": COMPRESSED_IMAGE,
    "/left/camera_info": CAMERA_INFO,
    "/front/right/image_raw": IMAGE,
    "/front/right/camera_info": CAMERA_INFO,
    "/rectified/image_raw": IMAGE,
    "/tracker/faces": FACES,
    "/tracker/meshes": MESHES,
    "/tracker/head_model": HEAD_MODEL,
    "/tracker/overlay/left/compressed": COMPRESSED_IMAGE,
}


def test_cameras_have_a_calibration_and_the_smaller_images() -> None:
    topics = find_view_topics(TYPES)
    assert dict(topics.images) == {
        "/front/right/image_raw": "front/right",
        "/left/image_raw/compressed": "left",
    }
    assert set(topics.infos) == {"/front/right/camera_info", "/left/camera_info"}


def test_the_tracker_comes_before_the_truth() -> None:
    topics = find_view_topics(TYPES)
    assert topics.faces == "/tracker/faces"
    assert (topics.meshes, topics.head_model) == ("/tracker/meshes", "/tracker/head_model")
    truth = {name: kind for name, kind in TYPES.items() if not name.startswith("/tracker")}
    assert find_view_topics(truth).faces == "/ground_truth/faces"


@pytest.mark.parametrize("namespace", ["ground_truth", "/ground_truth/"])
def test_a_namespace_is_chosen(namespace: str) -> None:
    topics = find_view_topics(TYPES, namespace)
    assert (topics.faces, topics.head_model) == ("/ground_truth/faces", "")


def test_cameras_are_chosen_in_their_order() -> None:
    assert find_view_topics(TYPES, cameras=["left", "front/right"]).cameras == [
        "left",
        "front/right",
    ]


def test_what_is_missing_has_a_name() -> None:
    topics = find_view_topics(TYPES, "/other", ["left", "top"])
    assert "camera top" in missing_topics(topics, "/other", ["left", "top"])
    assert "/other/faces" in missing_topics(topics, "/other", ["left"])
    assert missing_topics(find_view_topics(TYPES)) == ""
    assert "neither" in missing_topics(find_view_topics({}))


def test_time_begins_at_zero_and_goes_on_after_a_jump() -> None:
    line = TimeLine()
    times = [line.at(stamp) for stamp in (5_000, 5_100, 900_005_000, 5_000, 5_100)]
    assert times[:3] == [0, 100, 900_000_000]
    assert times[3] > times[2]
    assert times[4] - times[3] == 100


def test_a_late_stamp_is_no_jump() -> None:
    line = TimeLine()
    assert [line.at(stamp) for stamp in (0, 300_000_000, 200_000_000)][2] == 200_000_000


def test_what_was_on_the_way_at_a_jump_is_late() -> None:
    line = TimeLine()
    for stamp in (0, 4_000_000_000, 100_000_000):
        line.at(stamp)
    assert line.is_late(3_900_000_000)
    assert line.is_late(4_100_000_000)
    assert not line.is_late(200_000_000)
    for stamp in range(200_000_000, 4_100_000_000, 100_000_000):
        assert not line.is_late(stamp)
        line.at(stamp)
    assert not line.is_late(4_100_000_000)
