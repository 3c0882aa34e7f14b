"""The 478-point face landmark network, and the chain picture -> faces with landmarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.crop import Crop, crop_from_points, cut, make_crop
from flowface_ros.align.detector import Detection, FaceDetector, overlap
from flowface_ros.align.onnx_session import WEIGHTS_FOLDER, OnnxSession

Array = NDArray[np.float64]

CROP_SIZE = 256
POINT_COUNT = 478
RIGHT_EYE_OUTER, LEFT_EYE_OUTER = 33, 263
"""Rows of the points: the subject's outer eye corners, whose line gives the roll."""

_CANDIDATE_SCORE = 0.35
"""Detector score that is worth a look by the landmark network. Faces that are small or half hidden
score this; so do discs, blobs and cats, which the looks tell apart."""

_SURE_CONFIDENCE = 0.7
"""From this detector score times presence on, one look suffices. The most that a picture without a
face was seen to reach is 0.66."""

_MORE_LOOKS = 2
"""Below that, two looks that follow each other must agree; each goes where the last found the face,
so the second or third finds a half hidden one that the detector's box missed."""
_STEADY_PRESENCE = 0.9
_STEADY_DISTANCE = 0.03
"""Both looks' presence, and the mean distance of their points over the distance between the eyes.
On what is no face the points run away, by 0.05 to 0.5."""

_SAME_FACE_OVERLAP = 0.3
"""Two sets of landmarks whose boxes overlap more (intersection over union) are of one face."""

_DETECTION_MARGIN = 1.67
"""Side of the crop over that of the detector's box. Makes it as large as the crop around the
landmarks themselves, in the mean over photographs."""

_MOVED = 0.15
"""A second look is taken when it would turn (radians) or scale (log) the crop by more than this, or
shift it by more than half of this times its side. By less, the points change by 1 % of the distance
between the eyes, as they do from one frame of a video to the next."""


@dataclass(frozen=True, eq=False)
class FaceLandmarks:
    """A face's landmarks in a picture.

    points: (478, 3) x, y picture pixels; z in the same unit, smaller is nearer to the camera.
    presence: probability that the crop shows a face.
    crop: what the network saw.
    detection: what led there.
    """

    points: Array
    presence: float
    crop: Crop
    detection: Detection

    @property
    def roll(self) -> float:
        """Radians from the picture's x axis towards y, to the line from right to left eye."""
        return roll_of(self.points)

    @property
    def confidence(self) -> float:
        """Detector score times presence."""
        return self.detection.score * self.presence


class LandmarkNet:
    """The landmark network on crops; see `OnnxSession` for the arguments and errors."""

    def __init__(self, device: str = "auto", precision: str = "fp32", threads: int = 1) -> None:
        self._session = OnnxSession(
            WEIGHTS_FOLDER / "landmarks_478.onnx", device, precision, threads, small=True
        )
        self.device = self._session.device

    def run(self, crops: NDArray[np.uint8]) -> tuple[Array, Array]:
        """Points (B, 478, 3) and presence (B,) of upright RGB crops (B, 256, 256, 3), uint8.

        x, y: crop pixels. z: crop pixels too, smaller is nearer, 0 in the middle of the head.
        presence: probability that the crop shows a face.
        Raises ValueError for crops of another shape or type.
        """
        outputs = self._session.run(image=crops)
        points = outputs["points"].astype(np.float64)
        # The network measures from the crop's corner: mirrored crops give x that add up to 256.
        points[..., :2] -= 0.5
        return points, outputs["presence"].astype(np.float64)

    def warm_up(self, batch_sizes: Sequence[int] = (1,)) -> None:
        """See `OnnxSession.warm_up`."""
        self._session.warm_up(batch_sizes)


class FaceFinder:
    """Faces with landmarks in whole pictures: detector, crop, landmark network.

    device, threads: see `OnnxSession`. smallest_face: see `FaceDetector`.
    """

    def __init__(self, device: str = "auto", threads: int = 1, smallest_face: float = 0.05) -> None:
        self.detector = FaceDetector(device, threads, _CANDIDATE_SCORE, smallest_face)
        self.landmark_net = LandmarkNet(device, threads=threads)

    def detect_faces(
        self,
        image: NDArray[np.uint8],
        max_faces: int | None = None,
        followed: Sequence[Array] = (),
    ) -> list[FaceLandmarks]:
        """Faces in a uint8 picture, RGB (H, W, 3) or grey (H, W[, 1]), most confident first.

        max_faces: at most so many; asking for few spares the search for small faces when large
            ones are in sight. None: all.
        followed: boxes (4,) x_min, y_min, x_max, y_max of faces that are left out, as it is known
            where they are.
        Raises ValueError for a picture that is empty or not uint8.
        """
        if max_faces is not None and max_faces < 1:
            raise ValueError(f"max_faces is {max_faces}, must be at least 1 or None")
        boxes = np.reshape(followed, (-1, 4))
        detections = [
            detection
            for detection in self.detector.detect(image, enough=max_faces)
            if not (overlap(detection.box, boxes) > _SAME_FACE_OVERLAP).any()
        ]
        if not detections:
            return []
        faces = self._landmarks(image, [crop_from_detection(d) for d in detections], detections)
        found, doubtful = _split(faces, [_is_settled(face) for face in faces])
        for _ in range(_MORE_LOOKS):
            if not doubtful:
                break
            crops = [crop_from_landmarks(face.points) for face in doubtful]
            looks = self._landmarks(image, crops, [face.detection for face in doubtful])
            pairs = zip(doubtful, looks, strict=True)
            done, doubtful = _split(looks, [_is_done(before, after) for before, after in pairs])
            found += done
        found += [face for face in doubtful if _is_sure(face)]
        return _distinct(found)[:max_faces]

    def warm_up(self) -> None:
        """Runs every network once."""
        self.detector.warm_up()
        self.landmark_net.warm_up()

    def _landmarks(
        self, image: NDArray[np.uint8], crops: list[Crop], detections: list[Detection]
    ) -> list[FaceLandmarks]:
        points, presence = self.landmark_net.run(cut(image, crops))
        faces = []
        for p, probability, crop, detection in zip(
            points, presence, crops, detections, strict=True
        ):
            in_image = np.column_stack([crop.to_image(p[:, :2]), p[:, 2] * crop.scale])
            faces.append(FaceLandmarks(in_image, float(probability), crop, detection))
        return faces


def roll_of(points: Array) -> float:
    """Roll (radians) of a face's landmarks (478, 2 or 3), pixels."""
    across = points[LEFT_EYE_OUTER] - points[RIGHT_EYE_OUTER]
    return float(np.arctan2(across[1], across[0]))


def crop_from_detection(detection: Detection, size: int = CROP_SIZE) -> Crop:
    """The upright crop around a detected face."""
    low, high = detection.box[:2], detection.box[2:]
    side = _DETECTION_MARGIN * max(float((high - low).max()), 1.0)
    return make_crop((low + high) / 2, side, detection.roll, size)


def crop_from_landmarks(points: Array, size: int = CROP_SIZE) -> Crop:
    """The upright crop around a face's landmarks (478, 2 or 3), picture pixels."""
    return crop_from_points(points[:, :2], roll_of(points), size)


def _split(
    faces: list[FaceLandmarks], chosen: list[bool]
) -> tuple[list[FaceLandmarks], list[FaceLandmarks]]:
    """The chosen faces, and the others."""
    pairs = list(zip(faces, chosen, strict=True))
    return [face for face, yes in pairs if yes], [face for face, yes in pairs if not yes]


def _is_sure(face: FaceLandmarks) -> bool:
    return face.confidence >= _SURE_CONFIDENCE


def _is_settled(face: FaceLandmarks) -> bool:
    return _is_sure(face) and not _moved(face)


def _is_done(before: FaceLandmarks, after: FaceLandmarks) -> bool:
    return _is_settled(after) or _steady(before, after)


def _steady(before: FaceLandmarks, after: FaceLandmarks) -> bool:
    """Whether two looks at a face say the same."""
    distance = np.linalg.norm(after.points[:, :2] - before.points[:, :2], axis=1).mean()
    across = after.points[LEFT_EYE_OUTER] - after.points[RIGHT_EYE_OUTER]
    close = distance < _STEADY_DISTANCE * np.linalg.norm(across[:2])
    return bool(close) and min(before.presence, after.presence) >= _STEADY_PRESENCE


def _moved(face: FaceLandmarks) -> bool:
    crop, after = face.crop, crop_from_landmarks(face.points)
    middle = np.full(2, (crop.size - 1) / 2)
    shift = np.abs(crop.to_crop(after.to_image(middle)) - middle).max() / crop.size
    turn = np.angle(np.exp(1j * (face.roll - crop.roll)))
    growth = np.log(after.scale / crop.scale)
    return max(2 * shift, abs(turn), abs(growth)) > _MOVED


def _distinct(faces: list[FaceLandmarks]) -> list[FaceLandmarks]:
    """The best of those that lie on one another, best first."""
    kept: list[FaceLandmarks] = []
    boxes = np.empty((0, 4))
    for face in sorted(faces, key=lambda f: -f.confidence):
        points = face.points[:, :2]
        box = np.concatenate([points.min(axis=0), points.max(axis=0)])
        if not (overlap(box, boxes) > _SAME_FACE_OVERLAP).any():
            kept.append(face)
            boxes = np.vstack([boxes, box])
    return kept
