"""Clips become recordings; answers are drawn on their images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from flowface_ros.bag.camera_topics import find_cameras
from flowface_ros.bag.images import decode_any_image
from flowface_ros.bag.reader import open_bag
from flowface_ros.camera.camera_info import camera_from_info
from flowface_ros.demo.clips import CAMERA, Clip, write_clip
from flowface_ros.demo.page import write_page
from flowface_ros.demo.pictures import Answers, write_sheet, write_video
from flowface_ros.evaluate.tracking import Face, Mesh, Tracking
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.head.state import neutral_state
from flowface_ros.rigid import apply, transform

FRAMES = 4
HEAD_M = 0.6


@pytest.fixture
def clip() -> Clip:
    rng = np.random.default_rng(1)
    smooth = cv2.GaussianBlur(rng.integers(0, 255, (90, 120, 3), np.uint8), (0, 0), 3)
    return Clip("noise", [smooth] * FRAMES)


@pytest.fixture
def bag(clip: Clip, tmp_path: Path) -> Path:
    path = tmp_path / "noise.mcap"
    write_clip(clip, path)
    return path


def answers(clip: Clip, bag: Path, seen: range) -> Answers:
    """A head in the middle of the image, answered for some frames."""
    with open_bag(bag) as reader:
        stamps = [t for _, t, _ in reader.messages([f"/{CAMERA}/image_raw/compressed"])]
    model = load_builtin_head()
    turned = transform(np.diag([1.0, -1.0, -1.0]), [0, 0, HEAD_M])
    vertices = apply(turned, pose_vertices(model, neutral_state(model)))
    face = Face("f0", turned, vertices.astype(np.float32))
    mesh = Mesh(model.model_hash, model.triangles)
    tracking = Tracking(np.array([stamps[i] for i in seen]), [[face]] * len(seen), mesh)
    return Answers(bag, {CAMERA: lambda _: clip.camera}, tracking)


def frames_of(video: Path) -> list[NDArray[np.uint8]]:
    capture = cv2.VideoCapture(str(video))
    frames = []
    while (frame := capture.read())[0]:
        frames.append(frame[1])
    return frames


def test_a_clip_is_a_recording_of_one_camera(clip: Clip, bag: Path) -> None:
    with open_bag(bag) as reader:
        (camera,) = find_cameras(reader)
        infos = [m for _, _, m in reader.messages([camera.info_topic])]
        images = [decode_any_image(m) for _, _, m in reader.messages([camera.image_topic])]
    assert len(infos) == len(images) == FRAMES
    assert np.abs(images[0].astype(int) - clip.images[0]).mean() < 4
    found = camera_from_info(infos[0], CAMERA)
    np.testing.assert_allclose(found.intrinsics, clip.camera.intrinsics)
    assert found.intrinsics[0, 0] == pytest.approx(1.2 * 120)


def test_only_answered_moments_have_a_head(clip: Clip, bag: Path) -> None:
    moments = list(answers(clip, bag, range(1, 3)).moments())
    assert [len(views[0].heads) for _, views in moments] == [0, 1, 1, 0]


def test_a_dropped_set_leaves_the_one_before_it_on_the_screen(
    clip: Clip, bag: Path, tmp_path: Path
) -> None:
    write_video(answers(clip, bag, range(1, 2)), tmp_path / "video.webm")
    before, *held = frames_of(tmp_path / "video.webm")
    assert len(held) == FRAMES - 1
    assert np.abs(held[0].astype(int) - before).max() > 30
    assert max(np.abs(frame.astype(int) - held[0]).mean() for frame in held) < 1


def test_sheet_and_video_show_the_mesh(clip: Clip, bag: Path, tmp_path: Path) -> None:
    drawn = answers(clip, bag, range(FRAMES))
    write_sheet(drawn, tmp_path / "sheet.png")
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet is not None
    write_video(drawn, tmp_path / "video.webm")
    frames = frames_of(tmp_path / "video.webm")
    assert len(frames) == FRAMES
    assert frames[0].shape == (360, 480, 3)
    plain = cv2.cvtColor(cv2.resize(clip.images[0], (480, 360)), cv2.COLOR_RGB2BGR)
    middle = np.abs(frames[0][120:240, 180:300].astype(int) - plain[120:240, 180:300]).mean()
    corner = np.abs(frames[0][:60, :60].astype(int) - plain[:60, :60]).mean()
    assert middle > 2 * corner


def test_sheet_without_a_head_is_refused(clip: Clip, bag: Path, tmp_path: Path) -> None:
    nobody = Tracking(np.array([1]), [[]])
    with pytest.raises(ValueError, match="no head was tracked"):
        write_sheet(Answers(bag, {CAMERA: lambda _: clip.camera}, nobody), tmp_path / "x.png")


def test_page_names_what_stands_beside_it(tmp_path: Path) -> None:
    write_page(tmp_path / "report.html", [["", "a<b"], ["sets", "3"]], ["a<b"], [("x.png", "X")])
    text = (tmp_path / "report.html").read_text()
    assert "a&lt;b.webm" in text
    assert "a<b" not in text
    assert '<a href="x.png">X</a>' in text
