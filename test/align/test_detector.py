from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flowface_ros.align.detector import (
    Detection,
    FaceDetector,
    anchor_centres,
    overlap,
    suppress,
)


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector(device="cpu")


FACE_CENTRE = (225.0, 125.0)
"""Of the astronaut, between her eyes and mouth; the face is some 90 px wide."""


def check_is_astronaut(detection: Detection, centre: tuple, width: float) -> None:
    low, high = detection.box[:2], detection.box[2:]
    assert np.linalg.norm((low + high) / 2 - centre) < 0.25 * width
    assert 0.75 < (high - low)[0] / width < 1.5


boxes_strategy = st.lists(
    st.tuples(*[st.floats(0, 100)] * 2, *[st.floats(1, 60)] * 2), min_size=1, max_size=12
)


def test_anchors_of_the_short_range_network() -> None:
    anchors = anchor_centres(((16, 2), (8, 6)))
    assert anchors.shape == (896, 2)
    np.testing.assert_allclose(anchors[[0, 1, 2]], [[1 / 32, 1 / 32]] * 2 + [[3 / 32, 1 / 32]])
    np.testing.assert_allclose(
        anchors[[512, 517, 518, -1]] * 16, [[1, 1], [1, 1], [3, 1], [15, 15]]
    )


def test_overlap_known_answers() -> None:
    box = np.array([0.0, 0.0, 2.0, 2.0])
    others = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [2, 2, 3, 3], [5, 5, 5, 5]], float)
    np.testing.assert_allclose(overlap(box, others), [1, 1 / 3, 0, 0])


def test_overlapping_candidates_become_their_weighted_mean() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [50, 50, 60, 60]], float)
    keypoints = np.arange(36, dtype=float).reshape(3, 6, 2)
    first, second = suppress(boxes, keypoints, np.array([0.6, 0.9, 0.7]))
    assert (first.score, second.score) == (0.9, 0.7)
    np.testing.assert_allclose(first.box, [0.6, 0.6, 10.6, 10.6])
    np.testing.assert_allclose(first.keypoints, 0.4 * keypoints[0] + 0.6 * keypoints[1])
    np.testing.assert_allclose(second.box, boxes[2])


@given(boxes_strategy, st.integers(0, 100))
def test_suppression_keeps_every_group_once(sizes: list, seed: int) -> None:
    corners = np.array(sizes)
    boxes = np.column_stack([corners[:, :2], corners[:, :2] + corners[:, 2:]])
    scores = np.random.default_rng(seed).uniform(0.1, 1, len(boxes))
    kept = suppress(boxes, np.zeros((len(boxes), 6, 2)), scores)
    assert [d.score for d in kept] == sorted((d.score for d in kept), reverse=True)
    assert kept[0].score == scores.max()
    best = {d.score for d in kept}
    for box, score in zip(boxes, scores, strict=True):
        # Each candidate is the best of its group, or was overlapped by a better one.
        assert score in best or ((overlap(box, boxes) > 0.3) & (scores > score)).any()


def test_roll_is_the_angle_of_the_line_between_the_eyes() -> None:
    keypoints = np.zeros((6, 2))
    keypoints[1] = [1.0, 1.0]
    assert Detection(np.zeros(4), 1.0, keypoints).roll == pytest.approx(np.pi / 4)


def test_finds_one_upright_face(detector: FaceDetector, astronaut: NDArray) -> None:
    (face,) = detector.detect(astronaut)
    check_is_astronaut(face, FACE_CENTRE, 95)
    right_eye, left_eye, nose, mouth = face.keypoints[:4]
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_eye[1] < nose[1] < mouth[1]
    assert face.score > 0.8


def test_grey_and_colour_agree(detector: FaceDetector, astronaut: NDArray) -> None:
    grey = cv2.cvtColor(astronaut, cv2.COLOR_RGB2GRAY)
    (flat,), (deep,) = detector.detect(grey), detector.detect(grey[..., None])
    np.testing.assert_array_equal(flat.box, deep.box)
    check_is_astronaut(flat, FACE_CENTRE, 95)


@pytest.mark.parametrize("degrees", [-45, 45])
def test_finds_rolled_faces(detector: FaceDetector, astronaut: NDArray, degrees: float) -> None:
    turn = cv2.getRotationMatrix2D(FACE_CENTRE, -degrees, 1.0)
    (face,) = detector.detect(cv2.warpAffine(astronaut, turn, (512, 512)))
    check_is_astronaut(face, FACE_CENTRE, 95)
    assert np.rad2deg(face.roll) == pytest.approx(degrees, abs=15)


@pytest.mark.parametrize(("face_px", "x", "y"), [(60, 1500, 700), (60, 40, 60), (500, 900, 300)])
def test_finds_small_and_large_faces_in_a_wide_picture(
    detector: FaceDetector, astronaut: NDArray, face_px: int, x: int, y: int
) -> None:
    scale = face_px / 95
    patch = cv2.resize(astronaut[30:240, 120:330], None, fx=scale, fy=scale)
    canvas = np.full((1080, 1920, 3), 110, np.uint8)
    inside = canvas[y : y + len(patch), x : x + patch.shape[1]]
    inside[:] = patch[: len(inside), : inside.shape[1]]
    (face,) = FaceDetector(device="cpu", min_score=0.4).detect(canvas)
    centre = (x + (FACE_CENTRE[0] - 120) * scale, y + (FACE_CENTRE[1] - 30) * scale)
    check_is_astronaut(face, centre, face_px)


def test_enough_spares_the_search_but_finds_the_same_face(
    detector: FaceDetector, astronaut: NDArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    (everything,) = detector.detect(astronaut)
    monkeypatch.setattr(detector, "_full_range", None)  # would fail when asked
    (quick,) = detector.detect(astronaut, enough=1)
    assert overlap(quick.box, everything.box[None])[0] > 0.7
    with pytest.raises(AttributeError):
        detector.detect(astronaut, enough=2)


def test_finer_search_finds_smaller_faces(astronaut: NDArray) -> None:
    patch = cv2.resize(astronaut[30:240, 120:330], (40, 40), interpolation=cv2.INTER_AREA)
    canvas = np.full((1080, 1920, 3), 110, np.uint8)
    canvas[500:540, 700:740] = patch  # the face is 18 px wide, 1.7 % of the height
    assert FaceDetector(device="cpu").detect(canvas) == []
    (face,) = FaceDetector(device="cpu", smallest_face=0.015).detect(canvas)
    check_is_astronaut(face, (720, 518), 18)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 700), st.integers(1, 700), st.integers(0, 3))
def test_pictures_of_any_size(detector: FaceDetector, width: int, height: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    for face in detector.detect(image):  # noise rarely looks like one
        assert np.isfinite(face.box).all()
        assert np.isfinite(face.keypoints).all()


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 1), (1, 5000, 3), (5000, 1, 3), (2, 2, 1)])
@pytest.mark.parametrize("value", [0, 255])
def test_flat_and_tiny_pictures_have_no_face(
    detector: FaceDetector, shape: tuple, value: int
) -> None:
    assert detector.detect(np.full(shape, value, np.uint8)) == []


@pytest.mark.parametrize(
    "image",
    [np.full((9, 9, 3), np.nan), np.zeros((0, 0, 3), np.uint8), np.zeros((5, 5, 2), np.uint8)],
)
def test_what_is_no_picture_raises(detector: FaceDetector, image: NDArray) -> None:
    with pytest.raises(ValueError, match="image"):
        detector.detect(image)


@pytest.mark.parametrize(
    "arguments",
    [{"min_score": 0.0}, {"min_score": 1.0}, {"smallest_face": 0.0}, {"smallest_face": 1}],
)
def test_bad_arguments_raise(arguments: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        FaceDetector(device="cpu", **arguments)


def test_a_picture_without_a_face(detector: FaceDetector) -> None:
    data = pytest.importorskip("skimage.data")
    for name in ("coffee", "coins", "page", "brick", "clock", "moon"):
        assert detector.detect(getattr(data, name)()) == [], name
