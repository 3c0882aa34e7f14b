"""Finds faces in a picture with two BlazeFace networks (Bazarevsky et al. 2019, arXiv 1907.05047).

The full-range network is wholly convolutional, so it sees the whole picture at any aspect ratio in
one go, at a scale that leaves the smallest wanted face large enough for it. The short-range one
sees the picture once more at 128 pixels, for faces that fill it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.crop import check_image
from flowface_ros.align.onnx_session import WEIGHTS_FOLDER, OnnxSession

Array = NDArray[np.float64]

_SHORT_RANGE_SIDE = 128
_SHORT_RANGE_ANCHORS = ((16, 2), (8, 6))
"""(cells a side, anchors a cell) of each feature map; every anchor sits at its cell's centre."""

_FULL_RANGE_SIDE = 192
"""The full-range network was made for squares of this size, so for faces up to it."""
_FULL_RANGE_STRIDE = 4
_FULL_RANGE_MULTIPLE = 32
"""Its input's sides are multiples of its deepest stride."""
_FULL_RANGE_SMALLEST_PX = 11
"""Width in its input of the smallest face that it finds reliably."""
_LEVEL_STEP = 3.0
"""Ratio of two scales of the picture; at one scale, sizes over a ratio of almost 20 are found."""
_LONGEST = 8
"""Longer over shorter side up to which a strip of a picture is seen at full scale; bounds time and
memory for a picture that is only a few pixels high."""

_CLEAR_SCORE = 0.75
"""No picture without a face was seen to score this; faces in full view score 0.8 to 0.95."""

_SAME_FACE_OVERLAP = 0.3
"""Boxes with more intersection over union than this are of one face, as in the original."""


@dataclass(frozen=True, eq=False)
class Detection:
    """A face in a picture, pixels.

    box: (4,) x_min, y_min, x_max, y_max, from brow to chin.
    score: 0 to 1.
    keypoints: (6, 2) right eye, left eye, nose tip, mouth, right ear, left ear (the subject's).
    """

    box: Array
    score: float
    keypoints: Array

    @property
    def roll(self) -> float:
        """Radians from the picture's x axis towards y, to the line from right to left eye."""
        across = self.keypoints[1] - self.keypoints[0]
        return float(np.arctan2(across[1], across[0]))


@dataclass(frozen=True, eq=False)
class _Candidates:
    """boxes: (K, 4), keypoints: (K, 6, 2), scores: (K,); picture pixels."""

    boxes: Array
    keypoints: Array
    scores: Array


class FaceDetector:
    """Finds faces in pictures of any size.

    min_score: candidates below it are dropped. At 0.5 nearly all faces are found, and now and then
        something else; the landmark network's presence tells these apart.
    smallest_face: width of the smallest face to be found, as a fraction of the picture's shorter
        side, 0.01 to 0.5; half of it takes four times the time.
    device, threads: see `OnnxSession`.
    Raises ValueError for a bad argument, DeviceError when the device cannot be had.
    """

    def __init__(
        self,
        device: str = "auto",
        threads: int = 1,
        min_score: float = 0.5,
        smallest_face: float = 0.05,
    ) -> None:
        if not 0 < min_score < 1:
            raise ValueError(f"min_score is {min_score}, must be between 0 and 1")
        if not 0.01 <= smallest_face <= 0.5:
            raise ValueError(f"smallest_face is {smallest_face}, must be from 0.01 to 0.5")
        self._short_range, self._full_range = (
            OnnxSession(
                WEIGHTS_FOLDER / f"detector_{name}.onnx", device, "fp32", threads, small=True
            )
            for name in ("short_range", "full_range")
        )
        self._anchors = anchor_centres(_SHORT_RANGE_ANCHORS) * _SHORT_RANGE_SIDE
        self._min_score = min_score
        self._sides = [_FULL_RANGE_SMALLEST_PX / smallest_face]
        while self._sides[-1] >= _LEVEL_STEP * _FULL_RANGE_SIDE:
            self._sides.append(self._sides[-1] / _LEVEL_STEP)

    def detect(self, image: NDArray[np.uint8], enough: int | None = None) -> list[Detection]:
        """Faces in a uint8 picture, RGB (H, W, 3) or grey (H, W) or (H, W, 1), best score first.

        enough: how many faces the caller wants. When the quick look for large faces clearly sees
            that many, the longer search for small ones is left out.
        Raises ValueError for a picture that is empty or not uint8.
        """
        check_image(image)
        if image.ndim == 2 or image.shape[2] == 1:
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
        large = self._short_range_candidates(image)
        if enough is not None:
            clear = [d for d in _merged([large]) if d.score >= _CLEAR_SCORE]
            if len(clear) >= enough:
                return clear
        return _merged([large, *(self._full_range_candidates(image, s) for s in self._sides)])

    def warm_up(self) -> None:
        """Runs on a black picture once, so that the first real one takes no longer than others."""
        self.detect(np.zeros((480, 640, 3), np.uint8))

    def _short_range_candidates(self, image: NDArray[np.uint8]) -> _Candidates:
        side = _SHORT_RANGE_SIDE
        view = _resized(image, side / max(image.shape[:2]))
        pixels, corner = _centred(view, side, side)
        outputs = self._short_range.run(image=pixels[None])
        return self._decoded(outputs, self._anchors - corner, _image_from_view(image, view))

    def _full_range_candidates(self, image: NDArray[np.uint8], side: float) -> _Candidates:
        """side: what the picture's shorter side is resized to, pixels."""
        view = _resized(
            image, side * min(1 / min(image.shape[:2]), _LONGEST / max(image.shape[:2]))
        )
        multiple = _FULL_RANGE_MULTIPLE
        height, width = (-(-n // multiple) * multiple for n in view.shape[:2])
        pixels, corner = _centred(view, height, width)
        outputs = self._full_range.run(image=pixels[None])
        step = _FULL_RANGE_STRIDE
        x, y = np.meshgrid(np.arange(0, width, step), np.arange(0, height, step))
        anchors = np.column_stack([x.ravel(), y.ravel()]) + step / 2
        return self._decoded(outputs, anchors - corner, _image_from_view(image, view))

    def _decoded(
        self, outputs: dict[str, NDArray], anchors: Array, image_from_view: Array
    ) -> _Candidates:
        """Candidates above the threshold, in picture pixels.

        anchors: (A, 2) pixels of the resized picture, measured from its first pixel's corner.
        """
        scores = outputs["scores"][0]
        kept = np.flatnonzero(scores >= self._min_score)
        values = outputs["boxes"][0, kept].astype(np.float64).reshape(len(kept), 8, 2)
        centre, half = values[:, 0], values[:, 1] / 2
        corners = np.stack([centre - half, centre + half], axis=1)
        points = np.concatenate([corners, values[:, 2:]], axis=1) + anchors[kept, None]
        points = points * image_from_view - 0.5
        scores = scores[kept].astype(np.float64)
        return _Candidates(points[:, :2].reshape(-1, 4), points[:, 2:], scores)


def anchor_centres(layout: Sequence[tuple[int, int]]) -> Array:
    """Centres (A, 2) of a BlazeFace's anchors, as a fraction of its square input."""
    maps = []
    for cells, per_cell in layout:
        centre = (np.arange(cells) + 0.5) / cells
        x, y = np.meshgrid(centre, centre)
        maps.append(np.repeat(np.column_stack([x.ravel(), y.ravel()]), per_cell, axis=0))
    return np.concatenate(maps)


def suppress(boxes: Array, keypoints: Array, scores: Array) -> list[Detection]:
    """Weighted non-maximum suppression: each group of overlapping candidates becomes its mean.

    boxes: (K, 4), keypoints: (K, 6, 2), scores: (K,), which are the weights. Best score first.
    """
    remaining = np.argsort(-scores, kind="stable")
    detections = []
    while len(remaining):
        overlaps = overlap(boxes[remaining[0]], boxes[remaining])
        same = overlaps > _SAME_FACE_OVERLAP
        same[0] = True  # also when its box is degenerate
        group, remaining = remaining[same], remaining[~same]
        box = np.average(boxes[group], axis=0, weights=scores[group])
        points = np.average(keypoints[group], axis=0, weights=scores[group])
        detections.append(Detection(box, float(scores[group[0]]), points))
    return detections


def overlap(box: Array, boxes: Array) -> Array:
    """Intersection over union (K,) of a box (4,) with boxes (K, 4)."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = np.prod(np.maximum(high - low, 0), axis=1)
    area, areas = np.prod(box[2:] - box[:2]), np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return common / np.maximum(area + areas - common, np.finfo(np.float64).tiny)


def _merged(found: Sequence[_Candidates]) -> list[Detection]:
    return suppress(
        np.concatenate([c.boxes for c in found]),
        np.concatenate([c.keypoints for c in found]),
        np.concatenate([c.scores for c in found]),
    )


def _resized(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """Shrunk or grown by bilinear sampling; strong shrinking takes four samples a pixel.

    A true mean over all pixels would take longer than the network does.
    """
    height, width = (max(1, round(n * scale)) for n in image.shape[:2])
    if scale > 0.5:
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    double = cv2.resize(image, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)
    return cv2.resize(double, (width, height), interpolation=cv2.INTER_AREA)


def _image_from_view(image: NDArray[np.uint8], view: NDArray[np.uint8]) -> Array:
    """Factors (2,) of x and y, measured from the first pixel's corner in both."""
    return np.array([image.shape[1] / view.shape[1], image.shape[0] / view.shape[0]])


def _centred(
    view: NDArray[np.uint8], height: int, width: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The view in the middle of a black picture, and the place (2,) of its first pixel there."""
    top, left = (height - view.shape[0]) // 2, (width - view.shape[1]) // 2
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[top : top + view.shape[0], left : left + view.shape[1]] = view
    return pixels, np.array([left, top])
