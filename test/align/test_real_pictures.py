"""Real photographs, and the original networks beside the converted ones. Fetches packages."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from flowface_ros.align.crop import cut
from flowface_ros.align.landmark_net import FaceFinder, FaceLandmarks, crop_from_landmarks
from flowface_ros.align.onnx_session import WEIGHTS_FOLDER, OnnxSession
from flowface_ros.demo import clips

pytestmark = [pytest.mark.slow, pytest.mark.network]

pytest.importorskip("tflite")
interpreter = pytest.importorskip("ai_edge_litert.interpreter")
skimage_data = pytest.importorskip("skimage.data")

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import convert_detectors  # noqa: E402
import convert_landmark_net  # noqa: E402
import tflite_sources as sources  # noqa: E402
from picture_sources import PORTRAITS  # noqa: E402

from flowface_ros.package_files import fetch, member  # noqa: E402

PORTRAIT_NAMES = ("obama", "obama2", "obama3", "biden", "obama_partial_face", "obama_partial_face2")
WHOLE_FACES = PORTRAIT_NAMES[:4]
PICTURES_WITHOUT_A_FACE = (
    *("coffee", "coins", "page", "chelsea", "rocket", "brick", "grass", "gravel", "moon", "clock"),
    *("hubble_deep_field", "immunohistochemistry", "cell", "horse", "retina", "text", "logo"),
    *("colorwheel", "checkerboard", "microaneurysms"),
)


@pytest.fixture(scope="module")
def portraits() -> dict[str, NDArray[np.uint8]]:
    archive = fetch(PORTRAITS)
    pictures = {"astronaut": skimage_data.astronaut()}
    for name in PORTRAIT_NAMES:
        content = np.frombuffer(member(archive, f"tests/test_images/{name}.jpg"), np.uint8)
        pictures[name] = cv2.cvtColor(cv2.imdecode(content, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return pictures


@pytest.fixture(scope="module")
def carphone() -> Sequence[NDArray[np.uint8]]:
    return clips.carphone().images


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder(device="cpu")


@pytest.fixture(scope="module")
def faces(finder: FaceFinder, portraits: dict) -> dict[str, FaceLandmarks]:
    found = {name: finder.detect_faces(image) for name, image in portraits.items()}
    assert {name: len(several) for name, several in found.items()} == dict.fromkeys(portraits, 1)
    return {name: several[0] for name, several in found.items()}


def original(source: sources.TfliteSource, image: NDArray[np.float32]) -> list[NDArray]:
    """The original network's outputs, flat, for one scaled picture."""
    net = interpreter.Interpreter(model_content=source.read(), num_threads=1)
    net.allocate_tensors()
    net.set_tensor(net.get_input_details()[0]["index"], image[None])
    net.invoke()
    return [net.get_tensor(output["index"]).ravel() for output in net.get_output_details()]


def face_width(face: FaceLandmarks) -> float:
    return float(np.ptp(face.points[:, 0]))


def face_patch(image: NDArray[np.uint8], face: FaceLandmarks, width: float) -> NDArray[np.uint8]:
    """The surroundings of a face, scaled so that it is `width` pixels wide."""
    low, high = face.points[:, :2].min(axis=0), face.points[:, :2].max(axis=0)
    reach = (high - low).max()
    x0, y0 = np.maximum((low + high) / 2 - reach, 0).astype(int)
    x1, y1 = ((low + high) / 2 + reach).astype(int)
    scale = width / face_width(face)
    patch = image[y0:y1, x0:x1]
    return cv2.resize(patch, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize(
    ("file", "convert"),
    [
        (
            "detector_short_range.onnx",
            lambda: convert_detectors.convert_detector(sources.SHORT_RANGE, 896, False),
        ),
        (
            "detector_full_range.onnx",
            lambda: convert_detectors.convert_detector(sources.FULL_RANGE, -1, True),
        ),
        ("landmarks_478.onnx", convert_landmark_net.convert_landmark_net),
    ],
)
def test_conversion_gives_the_shipped_network(file: str, convert: Any) -> None:
    import onnx

    shipped = (WEIGHTS_FOLDER / file).read_bytes()
    made = convert()
    # The serialized bytes may differ between versions of protobuf; the content may not.
    assert onnx.load_from_string(made) == onnx.load_from_string(shipped)
    assert made == convert()


@pytest.mark.parametrize(
    ("file", "source", "size"),
    [
        ("detector_short_range.onnx", sources.SHORT_RANGE, 128),
        ("detector_full_range.onnx", sources.FULL_RANGE, 192),
    ],
)
def test_detectors_equal_the_originals(
    file: str, source: sources.TfliteSource, size: int, portraits: dict
) -> None:
    session = OnnxSession(WEIGHTS_FOLDER / file, device="cpu")
    for name, image in portraits.items():
        small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        ours = session.run(image=small[None])
        theirs = original(source, small.astype(np.float32) / np.float32(127.5) - 1)
        boxes = next(values for values in theirs if values.size == ours["boxes"].size)
        logits = next(values for values in theirs if values.size == ours["scores"].size)
        kept = ours["scores"][0] > 0.1
        assert kept.any(), name
        offsets = ours["boxes"][0] - boxes.reshape(-1, 16)
        assert np.abs(offsets).max() < 2e-3, name  # px; half a pixel would do
        np.testing.assert_allclose(
            ours["scores"][0], 1 / (1 + np.exp(-logits.astype(np.float64))), atol=1e-5
        )


def test_landmarks_equal_the_originals(portraits: dict, faces: dict) -> None:
    session = OnnxSession(WEIGHTS_FOLDER / "landmarks_478.onnx", device="cpu")
    for name, image in portraits.items():
        pixels = cut(image, [crop_from_landmarks(faces[name].points)])
        ours = session.run(image=pixels)
        theirs = original(sources.LANDMARKS, pixels[0].astype(np.float32) / np.float32(255))
        points = next(values for values in theirs if values.size == ours["points"].size)
        assert np.abs(ours["points"].ravel() - points).max() < 2e-3, name  # px
        logits = [values[0] for values in theirs if values.size == 1]
        assert np.abs(1 / (1 + np.exp(-np.array(logits))) - ours["presence"][0]).min() < 1e-5


def test_one_face_in_each_portrait(faces: dict) -> None:
    for name, face in faces.items():
        assert face.presence > 0.9, name
        # The eyes are level with the crop that is turned by the roll, and the mouth below.
        upright = face.crop.to_crop(face.points[:, :2])
        assert upright[13, 1] > upright[[33, 263], 1].max() + 20, name


def test_a_face_in_every_frame_of_a_small_video(finder: FaceFinder, carphone: list) -> None:
    assert len(carphone) == 120
    assert carphone[0].shape == (144, 176, 3)
    for frame in carphone:
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        (colour,), (without,) = finder.detect_faces(frame), finder.detect_faces(grey)
        distance = np.linalg.norm((colour.points - without.points)[:, :2], axis=1).mean()
        assert distance < 0.1 * face_width(colour)


@pytest.mark.parametrize("width", [54, 60, 200, 900])
def test_faces_of_any_size_in_full_hd(
    finder: FaceFinder, portraits: dict, faces: dict, width: int
) -> None:
    rng = np.random.default_rng(width)
    for name in ("astronaut", *WHOLE_FACES):
        patch = face_patch(portraits[name], faces[name], width)[:1080, :1920]
        canvas = np.full((1080, 1920, 3), 120, np.uint8)
        y, x = (rng.integers(0, 1 + n) for n in np.subtract(canvas.shape, patch.shape)[:2])
        canvas[y : y + patch.shape[0], x : x + patch.shape[1]] = patch
        (face,) = finder.detect_faces(canvas)
        assert face_width(face) == pytest.approx(width, rel=0.12), name


def test_several_faces_in_one_picture(finder: FaceFinder, portraits: dict, faces: dict) -> None:
    canvas = np.full((1080, 1920, 3), 90, np.uint8)
    widths = {"astronaut": 60, "obama": 120, "biden": 190, "obama2": 80, "obama3": 250}
    x = 10
    for name, width in widths.items():
        patch = face_patch(portraits[name], faces[name], width)
        canvas[200 : 200 + patch.shape[0], x : x + patch.shape[1]] = patch
        x += patch.shape[1] + 20
    found = finder.detect_faces(canvas)
    by_place = sorted(found, key=lambda face: face.points[:, 0].mean())
    np.testing.assert_allclose([face_width(f) for f in by_place], list(widths.values()), rtol=0.15)


@pytest.mark.parametrize("degrees", [-45, 45])
def test_rolled_faces(finder: FaceFinder, portraits: dict, faces: dict, degrees: float) -> None:
    for name in ("astronaut", *WHOLE_FACES):
        points = faces[name].points[:, :2]
        centre = points.mean(axis=0)
        turn = cv2.getRotationMatrix2D(centre.tolist(), degrees, 200 / face_width(faces[name]))
        turn[:, 2] += 320 - centre
        (face,) = finder.detect_faces(cv2.warpAffine(portraits[name], turn, (640, 640)))
        expected = points @ turn[:, :2].T + turn[:, 2]
        error = np.linalg.norm(face.points[:, :2] - expected, axis=1).mean()
        assert error < 0.03 * 200, name


def test_no_face_where_there_is_none(finder: FaceFinder) -> None:
    for name in PICTURES_WITHOUT_A_FACE:
        image = np.asarray(getattr(skimage_data, name)())
        image = image.astype(np.uint8) * 255 if image.dtype == bool else image
        picture = image[..., :3] if image.ndim == 3 else image
        assert finder.detect_faces(picture) == [], name
