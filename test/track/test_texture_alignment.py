"""Direct alignment against slow references."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from flowface_ros.track.texture_alignment import (
    Between,
    Reference,
    Smoother,
    align_texture,
    detail_of,
    moved,
)
from flowface_ros.track.texture_kernels import LANES


def crop_of_blobs(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 1, (256, 256)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4)
    grey = np.clip(128 + 60 * smooth / smooth.std(), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def lattice(side: int = 20) -> np.ndarray:
    line = np.linspace(40, 215, side)
    return np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)


def test_derivatives_are_those_of_the_values() -> None:
    detail, places = detail_of(crop_of_blobs()), lattice()
    columns, rows = places.round().astype(int).T
    for derivative, step in ((detail.dx, [1, 0]), (detail.dy, [0, 1])):
        ends = [detail.values_at(places.round() + sign * np.array(step)) for sign in (1, -1)]
        slopes = (ends[0] - ends[1]) / 2
        assert np.abs(derivative[rows, columns] - slopes).max() < 0.15 * np.abs(slopes).max()


def in_lanes(values: np.ndarray) -> np.ndarray:
    """(N, LANES) with values (N, K) first, then zeros."""
    return np.pad(values, ((0, 0), (0, LANES - values.shape[1]))).astype(np.float32)


def test_means_are_those_of_a_gaussian_over_what_is_known() -> None:
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 0.1, (400, 3)) * [1, 1, 0.1]
    trend = np.sin(places @ [40, 25, 0])
    known = (rng.uniform(size=400) < 0.7).astype(np.float32)
    values = (trend * known).astype(np.float32)
    sums = Smoother(places, 0.015)(in_lanes(np.column_stack([values, known])))
    means = sums[:, 0] / sums[:, 1]
    for row in range(0, 400, 37):
        weights = known * np.exp(-((places - places[row]) ** 2).sum(axis=1) / (2 * 0.015**2))
        assert means[row] == pytest.approx((weights * values).sum() / weights.sum(), abs=0.1)


def test_the_mean_of_a_constant_is_the_constant_whatever_is_missing() -> None:
    places = np.random.default_rng(1).uniform(0, 0.1, (300, 3))
    known = np.zeros((300, 2), np.float32)
    known[::3, 0], known[:10, 1] = 1, 1
    smoother = Smoother(places, 0.03)
    means = smoother(in_lanes(7 * known)) / np.maximum(smoother(in_lanes(known)), 1e-6)
    assert np.allclose(means[:, 0], 7, atol=1e-3)
    assert np.allclose(means[:10, 1], 7, atol=1e-3)


def in_place(count: int) -> Between:
    """Places that are those of the points."""
    rows = np.repeat(np.arange(count, dtype=np.uint32)[:, None], 4, axis=1)
    return Between(rows, np.full((count, 4), 0.25, np.float32), count)


def test_a_known_motion_is_found_again() -> None:
    detail, places = detail_of(crop_of_blobs()), lattice()
    centred = (places - places.mean(axis=0)) / 100
    turn = np.column_stack([-centred[:, 1], centred[:, 0]])
    shifts = [np.tile([a, b], (400, 1)) for a, b in ((1.0, 0.0), (0.0, 1.0))]
    motions = (3 * np.stack([*shifts, turn], axis=2)).astype(np.float32)
    true = np.array([0.5, -0.3, 0.4])
    seen = np.ones(400, bool)
    there = places + moved(motions, true)
    reference = Reference(detail.values_at(there), seen)
    smoother = Smoother(np.column_stack([places * 1e-3, np.zeros(400)]), 0.03)
    found = align_texture(
        detail, seen, [reference], places, motions, np.zeros(3), in_place(400), smoother
    )
    assert np.abs(moved(motions, found - true)).max() < 0.1


def test_nothing_seen_in_common_says_nothing() -> None:
    detail, places = detail_of(crop_of_blobs()), lattice()
    half = np.arange(400) < 200
    motions = np.ones((400, 2, 1), np.float32)
    smoother = Smoother(np.column_stack([places * 1e-3, np.zeros(400)]), 0.03)
    reference = Reference(detail.values_at(places + 2), half)
    found = align_texture(
        detail, ~half, [reference], places, motions, np.ones(1), in_place(400), smoother
    )
    assert found == pytest.approx([0.0])
