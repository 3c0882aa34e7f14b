from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from flowface_ros.align.crop import cut, make_crop
from flowface_ros.align.landmark_net import (
    LEFT_EYE_OUTER,
    POINT_COUNT,
    RIGHT_EYE_OUTER,
    FaceFinder,
    LandmarkNet,
    crop_from_landmarks,
)

NOSE_TIP, CHIN, FOREHEAD = 1, 152, 10


@pytest.fixture
def net(finder: FaceFinder) -> LandmarkNet:
    return finder.landmark_net


def eye_distance(points: NDArray) -> float:
    return float(np.linalg.norm((points[LEFT_EYE_OUTER] - points[RIGHT_EYE_OUTER])[:2]))


def test_empty_batch(net: LandmarkNet) -> None:
    points, presence = net.run(np.zeros((0, 256, 256, 3), np.uint8))
    assert points.shape == (0, POINT_COUNT, 3)
    assert presence.shape == (0,)


def test_presence_tells_faces_from_nothing(net: LandmarkNet, astronaut: NDArray) -> None:
    crops = cut(astronaut, [make_crop(c, 165.0, 0.0, 256) for c in ((225, 125), (420, 420))])
    points, presence = net.run(crops)
    assert presence[0] > 0.99
    assert presence[1] < 0.1
    assert points[0, FOREHEAD, 1] < points[0, NOSE_TIP, 1] < points[0, CHIN, 1]


def test_mirrored_crops_give_mirrored_points(net: LandmarkNet, astronaut: NDArray) -> None:
    # The set of points is symmetric, so without a pair's indices the mean tells: pixels 0 ... 255
    # mirror around 127.5. Half a pixel of error in the convention would show as 0.5.
    crop = cut(astronaut, [make_crop((225, 125), 165.0, 0.0, 256)])
    both = np.concatenate([crop, crop[:, :, ::-1]])
    means = net.run(both)[0][..., 0].mean(axis=1)
    assert means.sum() == pytest.approx(255, abs=0.6)


@pytest.mark.parametrize(
    "crops", [np.zeros((1, 256, 256, 3), np.float32), np.zeros((1, 192, 192, 3), np.uint8)]
)
def test_wrong_crops_raise(net: LandmarkNet, crops: NDArray) -> None:
    with pytest.raises(ValueError, match="image"):
        net.run(crops)


def test_finds_the_one_face(finder: FaceFinder, astronaut: NDArray) -> None:
    (face,) = finder.detect_faces(astronaut)
    assert face.presence > 0.99
    np.testing.assert_allclose(face.points[NOSE_TIP, :2], (223, 130), atol=12)
    assert abs(np.rad2deg(face.roll)) < 10
    (alone,) = finder.detect_faces(astronaut, max_faces=1)
    distance = np.linalg.norm((face.points - alone.points)[:, :2], axis=1).mean()
    assert distance < 0.05 * eye_distance(face.points)


def test_a_face_that_is_followed_is_not_looked_at(
    finder: FaceFinder, astronaut: NDArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    (face,) = finder.detect_faces(astronaut)
    points = face.points[:, :2]
    box = np.concatenate([points.min(axis=0), points.max(axis=0)])
    assert len(finder.detect_faces(astronaut, followed=[box + 300])) == 1
    monkeypatch.setattr(finder, "landmark_net", None)
    assert finder.detect_faces(astronaut, followed=[box + 300, box]) == []


@pytest.mark.parametrize("degrees", [-90, -45, 30, 90])
def test_points_follow_a_turned_and_scaled_picture(
    finder: FaceFinder, astronaut: NDArray, degrees: float
) -> None:
    (upright,) = finder.detect_faces(astronaut)
    turn = cv2.getRotationMatrix2D((225, 125), degrees, 2.0)
    turn[:, 2] += 100
    (turned,) = finder.detect_faces(cv2.warpAffine(astronaut, turn, (700, 600)))
    expected = upright.points[:, :2] @ turn[:, :2].T + turn[:, 2]
    error = np.linalg.norm(turned.points[:, :2] - expected, axis=1).mean()
    assert error < 0.05 * eye_distance(turned.points)
    assert np.angle(np.exp(1j * (upright.roll - turned.roll))) == pytest.approx(
        np.deg2rad(degrees), abs=np.deg2rad(3)
    )


def test_several_faces_and_a_limit(finder: FaceFinder, astronaut: NDArray) -> None:
    patch = astronaut[0:260, 100:350]
    small = np.full_like(patch, 128)
    small[80:210, 60:185] = cv2.resize(patch, (125, 130), interpolation=cv2.INTER_AREA)
    row = np.concatenate([patch, small], axis=1)
    image = np.concatenate([row, row[:, ::-1]])
    faces = finder.detect_faces(image)
    assert len(faces) == 4
    assert [f.confidence for f in faces] == sorted((f.confidence for f in faces), reverse=True)
    assert len(finder.detect_faces(image, max_faces=2)) == 2


def test_a_face_at_the_border_is_found(finder: FaceFinder, astronaut: NDArray) -> None:
    (whole,) = finder.detect_faces(astronaut)
    left = 208  # cuts a third of the face away
    (half,) = finder.detect_faces(astronaut[:, left:])
    seen = whole.points[:, 0] > left
    moved = half.points[seen, :2] + [left, 0] - whole.points[seen, :2]
    assert np.linalg.norm(moved, axis=1).mean() < 0.1 * eye_distance(whole.points)


def test_crop_around_landmarks_is_where_the_network_looked(
    finder: FaceFinder, astronaut: NDArray
) -> None:
    (face,) = finder.detect_faces(astronaut)
    inside = crop_from_landmarks(face.points).to_crop(face.points[:, :2])
    assert inside.min() > 256 / 6 - 1
    assert inside.max() < 256 * 5 / 6


def test_pictures_without_a_face(finder: FaceFinder) -> None:
    data = pytest.importorskip("skimage.data")
    for name in ("coffee", "coins", "page", "chelsea", "rocket", "colorwheel", "logo", "moon"):
        image = getattr(data, name)()
        assert finder.detect_faces(image[..., :3] if image.ndim == 3 else image) == [], name


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 1), (3, 2000, 3)])
def test_tiny_pictures_have_no_face(finder: FaceFinder, shape: tuple) -> None:
    assert finder.detect_faces(np.zeros(shape, np.uint8)) == []


@pytest.mark.parametrize(
    "image", [np.zeros((0, 0, 3), np.uint8), np.full((64, 64, 3), np.nan), np.zeros((8, 8, 3), int)]
)
def test_what_is_no_picture_raises(finder: FaceFinder, image: NDArray) -> None:
    with pytest.raises(ValueError, match="image"):
        finder.detect_faces(image)


def test_max_faces_below_one_raises(finder: FaceFinder, astronaut: NDArray) -> None:
    with pytest.raises(ValueError, match="max_faces"):
        finder.detect_faces(astronaut, max_faces=0)
