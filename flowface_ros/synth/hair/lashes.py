"""Eyelashes, rooted on the lid margins and turning with the lids."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from flowface_ros.synth.anatomy.head_tables import HeadTables
from flowface_ros.synth.hair.strands import Strands

_Array = NDArray[np.float64]

_SEGMENTS = 3

LASH_STEPS = 64
"""Places between two margin vertices that a lash may be rooted at."""


def make_lashes(tables: HeadTables, make_up: float, rng: np.random.Generator) -> Strands:
    """Upper and lower lashes of both eyes.

    Points are in a frame at each root: out of the eyeball, along the lid towards the temple, and
    away from the lid opening. anchor: index of the root in `lash_frames`.
    """
    points, anchors, widths = [], [], []
    start = 0
    for upper, lower in tables.lids:
        for margin, up in ((upper, True), (lower, False)):
            place, curves, width = _row_of_lashes(len(margin), up, make_up, rng)
            index = np.minimum(place.astype(int), max(len(margin) - 2, 0))
            points.append(curves)
            widths.append(np.broadcast_to(width, curves.shape[:2]))
            # Multiples of LASH_STEPS are margin vertices, the rest is the way to the next one.
            share = (place - index) * (LASH_STEPS - 1)
            anchors.append(np.rint((start + index) * LASH_STEPS + share).astype(np.int32))
            start += len(margin)
    anchor = np.concatenate(anchors)
    number = len(anchor)
    return Strands(
        np.concatenate(points).astype(np.float32),
        np.concatenate(widths).astype(np.float32),
        rng.normal(0.4, 0.1, number).clip(0, 1).astype(np.float32),
        np.ones((number, _SEGMENTS + 1), np.float32),
        anchor,
    )


def _row_of_lashes(
    vertices: int, up: bool, make_up: float, rng: np.random.Generator
) -> tuple[_Array, _Array, _Array]:
    """Lashes of a margin of so many vertices: roots (n,) along it in [0, vertices - 1], points
    (n, k, 3) in the roots' frames, half widths (k,)."""
    count = max(vertices - 1, 0)
    number = int((60 if up else 34) * (1 + 0.5 * make_up)) if count else 0
    length_m = rng.uniform(0.0055, 0.0080) * (1 + 0.25 * make_up) * (1.0 if up else 0.55)
    place = rng.uniform(0.06, 1.0, number) * count
    along = place / max(count, 1)
    s = np.linspace(0, 1, _SEGMENTS + 1)
    own = length_m * np.exp(rng.normal(0, 0.15, number)) * (0.6 + 0.4 * along)
    out = np.broadcast_to(0.75 * s, (number, len(s)))
    away = np.broadcast_to((0.05 * s + 0.42 * s**2) if up else (0.35 * s + 0.25 * s**2), out.shape)
    fan = (along - 0.45)[:, None] * 0.9 * s + rng.normal(0, 0.08, (number, 1)) * s
    thick_m = (0.00009 if up else 0.00006) * (1 + 0.6 * make_up)
    curves = np.stack([out, fan, away], axis=-1) * own[:, None, None]
    return place, curves, thick_m * (1 - 0.7 * s)


def lash_frames(
    tables: HeadTables, vertices: _Array, anchor: NDArray[np.int32]
) -> tuple[_Array, _Array]:
    """Roots (n, 3) and axes (n, 3, 3: columns out, along, away) of lashes on posed vertices."""
    rings = []
    for (upper, lower), ball, eye in zip(tables.lids, tables.eyeballs, (0, 1), strict=True):
        center = vertices.take(ball, axis=0).mean(axis=0)
        mirrored = 1.0 if eye == 0 else -1.0
        rings += [(upper, center, mirrored), (lower, center, -mirrored)]
    count = sum(len(margin) for margin, _, _ in rings)
    roots, axes = np.empty((count, 3)), np.empty((count, 3, 3))
    start = 0
    for margin, center, side in rings:
        end = start + len(margin)
        _margin_frames(vertices, margin, center, side, roots[start:end], axes[start:end])
        start = end
    index, place = anchor // LASH_STEPS, (anchor % LASH_STEPS) / (LASH_STEPS - 1)
    following = np.minimum(index + 1, count - 1)
    return _mixed(roots, index, following, place), _mixed(axes, index, following, place)


def _mixed(
    values: _Array, first: NDArray[np.int32], second: NDArray[np.int32], share: _Array
) -> _Array:
    """Rows of values, with this share of the second."""
    share = share.reshape(-1, *[1] * (values.ndim - 1))
    return values.take(first, axis=0) * (1 - share) + values.take(second, axis=0) * share


@numba.njit(nogil=True, cache=True)
def _margin_frames(vertices, margin, center, side, roots, axes):  # type: ignore[no-untyped-def]
    """Roots (n, 3) and axes (n, 3, 3) at the n vertices of a lid margin; side turns the third."""
    last = len(margin) - 1
    for i in range(last + 1):
        root, before = vertices[margin[i]], vertices[margin[max(i - 1, 0)]]
        out = root - center
        out /= np.linalg.norm(out)
        along = vertices[margin[min(i + 1, last)]] - before
        along -= np.dot(along, out) * out
        along /= np.linalg.norm(along) + 1e-9
        roots[i] = root
        axes[i, :, 0], axes[i, :, 1] = out, along
        axes[i, :, 2] = np.cross(out, along) * side
