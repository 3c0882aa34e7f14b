from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from flowface_ros import cli
from flowface_ros.align.observation import Observation
from flowface_ros.align.overlay import (
    SIGMA_RANGE_PERCENT,
    contact_sheet,
    draw_observations,
    face_height,
    sigma_colors,
)
from flowface_ros.head.surface import SurfacePoints


def observation(pixels: NDArray, sigma: NDArray) -> Observation:
    points = SurfacePoints(np.zeros(len(pixels), np.int32), np.tile([1.0, 0, 0], (len(pixels), 1)))
    return Observation(points, pixels, sigma, "camera", 0)


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    image = pytest.importorskip("skimage.data").astronaut()
    path = tmp_path_factory.mktemp("pictures") / "portrait.png"
    cv2.imwrite(str(path), image[:, :, ::-1])
    return path


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "empty.png"
    cv2.imwrite(str(path), np.full((120, 160), 90, np.uint8))
    return path


def align(*arguments: object) -> int:
    return cli.main(["align", "--device", "cpu", *map(str, arguments)])


def test_colours_run_from_blue_to_red() -> None:
    low, high = sigma_colors(np.array(SIGMA_RANGE_PERCENT)).astype(int)
    middle = sigma_colors(np.array([3.0]))[0].astype(int)
    assert low[2] > low[0]
    assert high[0] > high[2]
    assert middle[1] > max(middle[0], middle[2])
    outside = sigma_colors(np.array([1e-9, 1e9]))
    np.testing.assert_array_equal(outside, [low, high])


def test_dots_are_where_the_points_are() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    x, y = np.meshgrid(np.arange(200, 401, 40), np.arange(100, 301, 40))
    pixels = np.column_stack([x.ravel(), y.ravel()]).astype(float)
    drawn = draw_observations(image, [observation(pixels, np.full(len(pixels), 2.0))])
    assert drawn.shape[1] == 640
    assert drawn.shape[0] > 480
    assert drawn[y.ravel(), x.ravel()].any(axis=1).all()
    assert not drawn[:80, :].any()
    assert not image.any()
    # Points far off or few do no harm; small grey pictures are enlarged.
    far = observation(np.array([[1e7, 5.0], [-1e7, 5.0]]), np.ones(2))
    for shape in ((100, 100), (100, 100, 1)):
        assert draw_observations(np.zeros(shape, np.uint8), [far]).shape[1:] == (500, 3)


def test_face_height_is_that_of_sure_points() -> None:
    y = np.linspace(0, 100, 201)
    sure = observation(np.column_stack([0 * y, y]), np.ones(201))
    assert face_height(sure) == pytest.approx(100, rel=0.02)
    both = np.concatenate([y, 1000 * y])
    sigma = np.r_[np.ones(201), np.full(201, 50.0)]
    assert face_height(observation(np.column_stack([0 * both, both]), sigma)) < 120


def test_contact_sheet_holds_all_pictures() -> None:
    pictures = [np.full((50 + 10 * i, 100, 3), 50 + i, np.uint8) for i in range(5)]
    sheet = contact_sheet(pictures, columns=2, width=100)
    assert sheet.shape == (70 - 10 + 80 + 90, 200, 3)
    assert set(np.unique(sheet)) == {0, 50, 51, 52, 53, 54}


def test_picture(portrait: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "overlay.png"
    assert align(portrait, "--out", out, "--grid", 24) == 0
    text = capsys.readouterr().out
    assert "portrait.png: 512x512, 1 face, " in text
    assert str(out) in text
    drawn, original = cv2.imread(str(out)), cv2.imread(str(portrait))
    changed = (drawn[:512] != original).any(axis=2)
    face = changed[60:190, 170:290]
    assert face.mean() > 0.1
    assert changed.sum() < 1.7 * face.sum()


def test_no_face(empty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert align(empty, "--out", tmp_path / "o.png") == 1
    assert "empty.png: 160x120, no face found" in capsys.readouterr().out
    assert (tmp_path / "o.png").exists()


def test_video_in_and_out(portrait: Path, tmp_path: Path) -> None:
    frame = cv2.resize(cv2.imread(str(portrait)), (256, 256))
    source = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(source), cv2.VideoWriter.fourcc(*"MJPG"), 15, (256, 256))
    if not writer.isOpened():
        pytest.skip("this OpenCV writes no video")
    for _ in range(3):
        writer.write(frame)
    writer.release()
    assert align(source, "--out", tmp_path / "o.mp4", "--grid", 16) == 0
    capture = cv2.VideoCapture(str(tmp_path / "o.mp4"))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 3
    assert align(source, portrait, "--out", tmp_path / "o.jpg", "--grid", 16) == 0
    assert cv2.imread(str(tmp_path / "o.jpg")).shape[1] == 4 * 480


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.png", "--out", "o.png"], "no file absent.png"),
        (["PORTRAIT", "--out", "o.gif"], "suffix"),
        (["PORTRAIT", "--out", "o.png", "--aligner", "magic"], "'magic'"),
        (["PORTRAIT", "--out", "o.png", "--aligner", "landmarks", "--grid", "0"], "grid is 0"),
        (["TEXT", "--out", "o.png"], "not a picture"),
    ],
)
def test_wrong_calls(
    arguments: list[str],
    message: str,
    portrait: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    text = tmp_path / "text.png"
    text.write_text("not a picture")
    files = {"PORTRAIT": str(portrait), "TEXT": str(text)}
    assert align(*(files.get(a, a) for a in arguments)) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("shape", [(1, 1, 3), (5000, 2, 3), (1, 5000, 3)])
def test_pictures_of_odd_shapes_are_drawn(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    cv2.imwrite(str(tmp_path / "odd.png"), np.full(shape, 90, np.uint8))
    odd, out = str(tmp_path / "odd.png"), tmp_path / "out.png"
    assert cli.main(["align", odd, odd, "--out", str(out)]) == 1
    assert cli.main(["align", odd, "--out", str(out)]) == 1
    drawn = cv2.imread(str(out))
    assert drawn is not None
    assert max(drawn.shape) < 6000


def test_a_turned_photograph_is_taken_upright(tmp_path: Path, portrait: Path) -> None:
    image = cv2.imread(str(portrait))
    _, data = cv2.imencode(".jpg", cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE))
    # An Exif segment with one entry: orientation 6, to be turned clockwise for display.
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    content = data.tobytes()
    (tmp_path / "turned.jpg").write_bytes(content[:2] + segment + content[2:])
    out = tmp_path / "out.png"
    assert cli.main(["align", str(tmp_path / "turned.jpg"), "--out", str(out)]) == 0
    assert cv2.imread(str(out)).shape[1] == image.shape[1]


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_other_pixel_formats_are_taken(tmp_path: Path, portrait: Path, depth: type) -> None:
    image = cv2.imread(str(portrait)).astype(depth)
    image *= 1 if depth == np.uint8 else 257
    alpha = np.full_like(image[..., :1], np.iinfo(depth).max // 2)
    cv2.imwrite(str(tmp_path / "picture.png"), np.concatenate([image, alpha], axis=2))
    arguments = ["align", str(tmp_path / "picture.png"), "--out", str(tmp_path / "out.png")]
    assert cli.main(arguments) == 0


@pytest.mark.parametrize("name", ["film.mp4", "picture.png"])
def test_empty_files_are_named(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).touch()
    assert cli.main(["align", str(tmp_path / name), "--out", str(tmp_path / "out.png")]) == 2
    assert name in capsys.readouterr().err
