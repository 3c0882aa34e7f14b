"""Pictures with what an aligner says about them drawn on top."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from flowface_ros.align.observation import Observation

Image = NDArray[np.uint8]

SIGMA_RANGE_PERCENT = (0.5, 20.0)
"""Of the height of the face: where the colours begin and end, on a logarithmic scale."""
_SMALLEST_WIDTH = 480
"""Smaller pictures are enlarged by a whole number, so that single points can be told apart."""
_LONGEST_ENLARGED = 4 * _SMALLEST_WIDTH
_SHIFT = 4
"""Bits after the binary point of the coordinates that OpenCV draws."""
_LEGEND_HEIGHT = 34
_LEGEND_TICKS_PERCENT = (0.5, 1, 2, 5, 10, 20)
_UNSURE = 3.0
"""Points whose sigma is this many times the median, mostly hidden ones, get smaller dots."""
_SPACING_SHARE = 0.3
"""Radius of a dot over the mean distance of neighbouring points."""


def draw_observations(image: Image, observations: Sequence[Observation]) -> Image:
    """A copy of a picture, RGB (H, W, 3) or grey (H, W[, 1]), with a dot for each point, coloured
    by its sigma.

    Blue is sure and red is not; sigma is shown as a percentage of the face's height, the largest
    dots lowest. A legend is put below the picture.
    """
    grey = image.ndim == 2 or image.shape[2] == 1
    canvas = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if grey else image.copy()
    wanted = -(-_SMALLEST_WIDTH // image.shape[1])
    factor = max(1, min(wanted, _LONGEST_ENLARGED // max(image.shape[:2])))
    size = (image.shape[1] * factor, image.shape[0] * factor)
    canvas = cv2.resize(canvas, size, interpolation=cv2.INTER_LINEAR)
    for observation in observations:
        _draw_points(canvas, observation, factor)
    canvas = _padded(canvas, max(_SMALLEST_WIDTH, canvas.shape[1]))
    return np.concatenate([canvas, _legend(canvas.shape[1])])


def face_height(observation: Observation) -> float:
    """Height in pixels of a face whose points are sure: of the middle nine tenths of the surer
    half, which is the face without the back of the head."""
    sure = observation.pixels[observation.sigma <= np.median(observation.sigma)]
    low, high = np.quantile(sure, [0.05, 0.95], axis=0)
    return float(max((high - low).max() / 0.9, 1.0))


def sigma_colors(sigma_percent: NDArray[np.floating]) -> NDArray[np.uint8]:
    """RGB (N, 3) of sigmas (N,), % of the face's height."""
    low, high = np.log(SIGMA_RANGE_PERCENT)
    share = (np.log(np.maximum(sigma_percent, 1e-6)) - low) / (high - low)
    levels = np.round(255 * np.clip(share, 0, 1)).astype(np.uint8)
    colors = cv2.applyColorMap(levels[:, None], cv2.COLORMAP_TURBO)
    return np.ascontiguousarray(colors[:, 0, ::-1])


def contact_sheet(pictures: Sequence[Image], columns: int, width: int) -> Image:
    """Pictures side by side, each made to fit `width` pixels and three times as many lines, on
    black."""
    rows = []
    for start in range(0, len(pictures), columns):
        row = [_resized(p, width) for p in pictures[start : start + columns]]
        tall = max(p.shape[0] for p in row)
        row = [np.pad(p, ((0, tall - p.shape[0]), (0, 0), (0, 0))) for p in row]
        missing = np.zeros((tall, width * (columns - len(row)), 3), np.uint8)
        rows.append(np.concatenate([*row, missing], axis=1))
    return np.concatenate(rows)


def _resized(picture: Image, width: int) -> Image:
    scale = min(width / picture.shape[1], 3 * width / picture.shape[0])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    return _padded(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), width)


def _padded(picture: Image, width: int) -> Image:
    return np.pad(picture, ((0, 0), (0, width - picture.shape[1]), (0, 0)))


def _draw_points(canvas: Image, observation: Observation, factor: int) -> None:
    height = face_height(observation)
    colors = sigma_colors(100 * observation.sigma / height)
    spacing = factor * height / np.sqrt(max(len(observation) / 2, 1))
    radius = round(max(0.7, _SPACING_SHARE * spacing) * 2**_SHIFT)
    sure = observation.sigma < _UNSURE * np.median(observation.sigma)
    # OpenCV's pixel centres are integers in both sizes.
    places = (observation.pixels + 0.5) * factor - 0.5
    limit = 4.0 * max(canvas.shape)
    for row in np.argsort(-observation.sigma, kind="stable"):
        if np.abs(places[row]).max() < limit:
            x, y = np.round(places[row] * 2**_SHIFT).astype(int)
            color = tuple(int(c) for c in colors[row])
            size = radius if sure[row] else radius // 2
            cv2.circle(canvas, (int(x), int(y)), size, color, -1, cv2.LINE_AA, _SHIFT)


def _legend(width: int) -> Image:
    """A bar of the colours with percentages, (34, width, 3)."""
    legend = np.zeros((_LEGEND_HEIGHT, width, 3), np.uint8)
    low, high = np.log(SIGMA_RANGE_PERCENT)
    left, right = 10, max(width - 130, 20)
    share = np.linspace(0, 1, right - left)
    legend[4:14, left:right] = sigma_colors(np.exp(low + share * (high - low)))
    for tick in _LEGEND_TICKS_PERCENT:
        x = round(left + (np.log(tick) - low) / (high - low) * (right - left))
        _write(legend, f"{tick:g}", (min(x, right - 14), 28))
    _write(legend, "sigma, % of face", (right + 8, 14))
    return legend


def _write(image: Image, text: str, place: tuple[int, int]) -> None:
    cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (230, 230, 230), 1, cv2.LINE_AA)
