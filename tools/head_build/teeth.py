"""Two rows of teeth with gums, as strips swept along the dental arch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

WIDTHS = np.array([8.5, 6.6, 7.7, 7.0, 6.8, 10.2, 9.6]) * 1e-3
"""Mesiodistal widths (m) of one side's upper teeth, central incisor to second molar."""
LOWER_WIDTHS = np.array([5.4, 5.9, 6.9, 7.1, 7.2, 11.0, 10.6]) * 1e-3
HALF_WIDTH, DEPTH = 0.029, 0.044
"""Half axes (m) of the upper arch's outer ellipse; the lower one runs `OVERJET` inside."""
OVERJET, OVERBITE = 0.0026, 0.0016
SAMPLES = (0.07, 0.5, 0.93)
"""Where on each tooth's width there is a column; the gap to the next tooth lies in between."""
COLUMNS = 2 * len(WIDTHS) * len(SAMPLES)
ROWS = 6
"""Rows 0, 1 and the last are gum; from 1 to ROWS - 2 it is tooth."""


def arch(upper: bool) -> Array:
    """(ROWS * COLUMNS, 3) points, row by row from the outer gum over the edge to the inner gum.

    The frame: x to the subject's left, y up, z forward; (0, 0, 0) is the upper incisors' edge.
    """
    place, tooth, local = _columns(WIDTHS if upper else LOWER_WIDTHS)
    inset = 0.0 if upper else OVERJET
    outer, outward = _ellipse(place, HALF_WIDTH - inset, DEPTH - inset)
    outer[:, 2] -= inset
    middle = 1 - np.abs(2 * local - 1)
    molar = np.clip((tooth - 2.5) / 2.5, 0, 1)
    thick = 0.0018 + 0.0065 * molar
    crown = 0.0095 - 0.0030 * molar
    occlusal = 0.6 * OVERBITE * np.clip((tooth - 1.5) / 1.5, 0, 1)
    notch = 0.0007 * (middle < 0.5)
    groove = 0.0006 * (middle < 0.5)
    bow = 0.0004 * (1 - molar)
    profile = [
        (-0.0015 + 0 * crown, crown + 0.0075),
        (0.0003 - groove / 2, crown - 0.0014 * (middle < 0.5)),
        (bow + 0.0006 - groove, 0.5 * crown),
        (-0.0001 - groove, 0.0006 + notch),
        (-thick, 0.0003 + notch),
        (-thick - 0.0030, crown - 0.001),
    ]
    rows = []
    for out, height in profile:
        point = outer + outward * out[:, None]
        height = height + occlusal
        point[:, 1] = height if upper else OVERBITE - height
        rows.append(point)
    return np.concatenate(rows)


def _columns(widths: Array) -> tuple[Array, Array, Array]:
    """Signed arc length, tooth number and place on the tooth of every column, right to left."""
    starts = np.concatenate([[0], np.cumsum(widths)[:-1]])
    tooth = np.repeat(np.arange(len(widths)), len(SAMPLES))
    local = np.tile(SAMPLES, len(widths))
    length = starts[tooth] + local * widths[tooth]
    return (
        np.concatenate([-length[::-1], length]),
        np.concatenate([tooth[::-1], tooth]).astype(float),
        np.concatenate([local[::-1], local]),
    )


def _ellipse(length: Array, half_width: float, depth: float) -> tuple[Array, Array]:
    """Points (n, 3) at signed arc lengths from the front of a half ellipse, and outward normals."""
    angle = np.linspace(0, np.pi / 2 + 0.3, 2000)
    x, z = half_width * np.sin(angle), depth * (np.cos(angle) - 1)
    arc = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x), np.diff(z)))])
    at = np.interp(np.abs(length), arc, angle) * np.sign(length)
    zero = np.zeros_like(at)
    points = np.stack([half_width * np.sin(at), zero, depth * (np.cos(at) - 1)], axis=1)
    normal = np.stack([np.sin(at) / half_width, zero, np.cos(at) / depth], axis=1)
    return points, normal / np.linalg.norm(normal, axis=1, keepdims=True)


def front(x: Array) -> Array:
    """How far (m, z) the upper row reaches forward at x, with what bulges from it."""
    across = np.minimum(np.abs(x) / HALF_WIDTH, 0.98)
    return np.asarray(DEPTH * (np.sqrt(1 - across**2) - 1) + 0.0008)


def arch_triangles(upper: bool) -> NDArray[np.int64]:
    """(F, 3) counter-clockwise from outside, split alike on both sides."""
    faces = []
    for row in range(ROWS - 1):
        for column in range(COLUMNS - 1):
            a = row * COLUMNS + column
            b, c, d = a + 1, a + COLUMNS, a + COLUMNS + 1
            left = column >= COLUMNS // 2
            faces += [[a, c, b], [b, c, d]] if left else [[a, c, d], [a, d, b]]
    triangles = np.array(faces)
    return triangles if upper else triangles[:, ::-1]


def arch_uv() -> Array:
    """(ROWS * COLUMNS, 2) in [0, 1]: along the arch, and from the outer gum to the inner one."""
    u, v = np.meshgrid(np.linspace(0, 1, COLUMNS), np.linspace(0, 1, ROWS))
    return np.stack([u.ravel(), v.ravel()], axis=1)
