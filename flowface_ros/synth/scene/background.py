"""Procedural backgrounds: rooms, shelves, windows, foliage and out-of-focus lights."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from flowface_ros.synth.textures import fractal_noise, linear_from_srgb

_WORK_WIDTH = 320
"""Backgrounds are mostly out of focus, so they are painted at this width and enlarged."""


def sample_background(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float32]:
    """Linear light (height, width, 3) float32, roughly in [0, 1.5]."""
    scale = min(1.0, _WORK_WIDTH / max(width, height))
    w, h = max(8, round(width * scale)), max(8, round(height * scale))
    kind = rng.choice(5, p=[0.36, 0.16, 0.18, 0.18, 0.12])
    picture = (_room, _wall, _outdoor, _clutter, _bokeh)[kind](rng, w, h)
    blur = np.exp(rng.uniform(np.log(0.4), np.log(7.0))) * max(w, h) / _WORK_WIDTH
    picture = cv2.GaussianBlur(np.clip(picture, 0, 1).astype(np.float32), (0, 0), blur)
    linear = linear_from_srgb(np.clip(picture, 0, 1)) * np.float32(np.exp(rng.normal(-0.2, 0.45)))
    if (w, h) != (width, height):
        linear = cv2.resize(linear, (width, height), interpolation=cv2.INTER_LINEAR)
    linear *= 1 + 0.02 * cv2.resize(
        fractal_noise(rng, 256, 64, 256, 0.0), (width, height), interpolation=cv2.INTER_LINEAR
    ).reshape(height, width, 1)
    return np.ascontiguousarray(np.maximum(linear, 0), np.float32)


def _color(rng: np.random.Generator, colorful: float = 0.06) -> NDArray[np.float64]:
    """A plausible sRGB surface colour: mostly greyish, sometimes saturated."""
    strong = 3.0 if rng.random() < 0.12 else 1.0
    return np.clip(rng.uniform(0.08, 0.95) + rng.normal(0, colorful * strong, 3), 0.02, 1)


def _gradient(rng: np.random.Generator, w: int, h: int) -> NDArray[np.float32]:
    direction = rng.normal(0, 1, 2)
    x, y = np.arange(w) / w * direction[0], np.arange(h)[:, None] / h * direction[1]
    t = (x - x.mean() + (y - y.mean())).astype(np.float32)
    return 1 + np.float32(rng.uniform(0, 0.35)) * t[..., None]


def _wall(rng: np.random.Generator, w: int, h: int) -> NDArray[np.float32]:
    noise = cv2.resize(fractal_noise(rng, 256, 2, 128, 0.9), (w, h))
    color, shade = _color(rng, 0.05), _gradient(rng, w, h)[..., 0]
    shade = shade * (1 + np.float32(rng.uniform(0, 0.08)) * noise)
    if rng.random() < 0.5:  # bricks or tiles
        pitch_x, pitch_y = rng.uniform(0.06, 0.4) * w, rng.uniform(0.04, 0.3) * h
        x, y = np.arange(w), np.arange(h)[:, None]
        row = np.floor(y / pitch_y)
        offset = x + (row % 2) * pitch_x * rng.choice([0, 0.5])
        column = np.floor(offset / pitch_x)
        joint = np.minimum((offset - column * pitch_x) / w, np.mod(y, pitch_y) / w) < 0.008
        shade *= np.where(joint, np.float32(rng.uniform(0.5, 1.3)), np.float32(1))
        tile = rng.normal(1, 0.08, (64, 64)).astype(np.float32)
        shade *= tile[row.astype(int) % 64, column.astype(int) % 64]
    return shade[..., None] * color.astype(np.float32)


def _rectangle(picture: NDArray, corners: NDArray, color: NDArray) -> None:
    cv2.fillConvexPoly(picture, corners.astype(np.int32), [float(c) for c in color], cv2.LINE_AA)


def _box(rng: np.random.Generator, x: float, y: float, w: float, h: float) -> NDArray:
    skew = rng.normal(0, 0.04, (4, 2)) * [w, h]
    return np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]]) + skew


def _room(rng: np.random.Generator, w: int, h: int) -> NDArray:
    picture = _wall(rng, w, h).astype(np.float32)
    if rng.random() < 0.6:  # floor or table
        level = rng.uniform(0.6, 0.95) * h
        floor = np.array([[0, level], [w, level + rng.normal(0, 0.08) * h], [w, h], [0, h]])
        _rectangle(picture, floor, _color(rng, 0.08))
    if rng.random() < 0.5:  # window, brighter than the room
        window = _box(
            rng, *(rng.uniform(-0.2, 0.8, 2) * [w, h]), *(rng.uniform(0.2, 0.7, 2) * [w, h])
        )
        _rectangle(picture, window, np.clip([0.85, 0.93, 1.0] * rng.uniform(0.7, 1.2, 3), 0, 1))
        middles = (window + np.roll(window, -1, axis=0)) / 2
        for k in (0, 1):  # bars
            start, end = (middles[i].astype(int).tolist() for i in (k, k + 2))
            cv2.line(picture, start, end, [0.4] * 3, 2, cv2.LINE_AA)
    if rng.random() < 0.6:
        _shelf(rng, picture)
    for _ in range(rng.integers(0, 7)):  # furniture, pictures on the wall
        size = rng.uniform(0.05, 0.4, 2) * [w, h]
        outline = _box(rng, *(rng.uniform(-0.1, 1.0, 2) * [w, h]), *size)
        _rectangle(picture, outline, _color(rng, 0.1))
        if rng.random() < 0.5:
            inner = outline.mean(axis=0) + 0.85 * (outline - outline.mean(axis=0))
            _rectangle(picture, inner, _color(rng, 0.1))
    return picture * _gradient(rng, w, h)


def _shelf(rng: np.random.Generator, picture: NDArray) -> None:
    h, w = picture.shape[:2]
    left, right = np.sort(rng.uniform(-0.2, 1.2, 2)) * w
    board = _color(rng, 0.05)
    step = rng.uniform(0.14, 0.3) * h
    y = rng.uniform(0, step)
    while y < h:
        x = left
        while x < right:  # books and boxes of varied width
            book_w, book_h = rng.uniform(0.01, 0.06) * w, rng.uniform(0.5, 0.95) * step
            if rng.random() < 0.85:
                outline = np.array(
                    [[x, y - book_h], [x + book_w, y - book_h], [x + book_w, y], [x, y]]
                )
                _rectangle(picture, outline, _color(rng, 0.12))
            x += book_w
        _rectangle(
            picture,
            np.array([[left, y], [right, y], [right, y + 0.02 * h], [left, y + 0.02 * h]]),
            board,
        )
        y += step


def _outdoor(rng: np.random.Generator, w: int, h: int) -> NDArray:
    y = np.linspace(0, 1, h)[:, None, None]
    sky = np.array([0.55, 0.72, 0.95]) * rng.uniform(0.6, 1.1) + rng.uniform(0, 0.3)
    picture = np.ones((h, w, 1)) * (sky + y * rng.uniform(-0.1, 0.4))
    horizon = rng.uniform(0.3, 0.9)
    noise = cv2.resize(fractal_noise(rng, 256, 3, 128, 0.7), (w, h))
    skyline = horizon + 0.12 * noise[h // 2] * rng.random()
    green = np.array([rng.uniform(0.1, 0.4), rng.uniform(0.25, 0.5), rng.uniform(0.05, 0.25)])
    leaves = np.clip(green * np.exp(0.5 * noise)[..., None], 0, 1)
    below = (y[..., 0] > skyline[None])[..., None]
    picture = np.where(below, leaves, picture).astype(np.float32)
    for _ in range(rng.integers(0, 6)):  # buildings with rows of windows
        x, top = rng.uniform(-0.1, 0.9) * w, rng.uniform(0.0, 0.8) * h
        width = rng.uniform(0.1, 0.4) * w
        house, pane = _color(rng, 0.06), _color(rng, 0.05)
        _rectangle(picture, np.array([[x, top], [x + width, top], [x + width, h], [x, h]]), house)
        for wy in np.arange(top + 5, h, rng.uniform(8, 24)):
            for wx in np.arange(x + 4, x + width - 5, rng.uniform(8, 20)):
                _rectangle(picture, np.array([[wx, wy], [wx + 4, wy], [wx + 4, wy + 6], [wx, wy + 6]]), pane)  # fmt: skip  # noqa: E501
    return picture


def _clutter(rng: np.random.Generator, w: int, h: int) -> NDArray:
    picture = _wall(rng, w, h).astype(np.float32)
    for _ in range(rng.integers(10, 45)):
        center, size = rng.uniform(0, 1, 2) * [w, h], np.exp(rng.uniform(-4, -1, 2)) * max(w, h)
        if rng.random() < 0.5:
            _rectangle(picture, _box(rng, *center, *(2 * size)), _color(rng, 0.12))
        else:
            cv2.ellipse(
                picture,
                tuple(int(v) for v in center),
                tuple(int(v) + 1 for v in size),
                rng.uniform(0, 180),
                0,
                360,
                [float(v) for v in _color(rng, 0.12)],
                -1,
                cv2.LINE_AA,
            )
    noise = cv2.resize(fractal_noise(rng, 256, 4, 128, 0.6), (w, h))[..., None]
    return picture * np.exp(0.12 * noise)


def _bokeh(rng: np.random.Generator, w: int, h: int) -> NDArray:
    picture = np.ones((h, w, 1)) * _color(rng, 0.06) * rng.uniform(0.1, 0.8) * _gradient(rng, w, h)
    picture = picture.astype(np.float32)
    for _ in range(rng.integers(5, 60)):
        disc = np.zeros((h, w), np.float32)
        center = tuple(int(v) for v in rng.uniform(0, 1, 2) * [w, h])
        cv2.circle(disc, center, int(rng.uniform(0.01, 0.07) * w) + 1, 1.0, -1, cv2.LINE_AA)
        glow = np.clip([1.0, rng.uniform(0.5, 1), rng.uniform(0.2, 1)], 0, 1) * rng.uniform(
            0.1, 0.7
        )
        picture += disc[..., None] * glow
    return picture
