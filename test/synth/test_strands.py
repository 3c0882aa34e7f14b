"""Strands that move with the head."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.head.state import neutral_state
from flowface_ros.synth.anatomy.head_tables import head_tables
from flowface_ros.synth.hair.lashes import LASH_STEPS, lash_frames, make_lashes
from flowface_ros.synth.render.ribbons import move_strands


def test_strands_move_with_their_frames():
    rng = np.random.default_rng(0)
    axes, origin = rng.normal(0, 1, (5, 3, 3)), rng.normal(0, 1, (5, 3))
    points = rng.normal(0, 1, (5, 4, 3)).astype(np.float32)
    moved = move_strands(axes, origin, points)
    for i in range(5):
        np.testing.assert_allclose(moved[i], points[i] @ axes[i].T + origin[i])


def test_lashes_stand_on_the_margins_of_the_lids():
    model = load_builtin_head()
    tables = head_tables(model)
    turned = replace(neutral_state(model), rotation=np.array([0.3, -2.0, 0.5]))
    vertices = pose_vertices(model, turned)
    count = sum(len(margin) for eye in tables.lids for margin in eye)
    roots, axes = lash_frames(tables, vertices, np.arange(count, dtype=np.int32) * LASH_STEPS)
    start = 0
    for eye, (lids, ball) in enumerate(zip(tables.lids, (1, 2), strict=True)):
        rows = np.unique(tables.triangles[tables.material == ball])
        center = vertices[rows].mean(axis=0)
        for margin, up in zip(lids, (1, -1), strict=True):
            own = slice(start, start + len(margin))
            start += len(margin)
            np.testing.assert_allclose(roots[own], vertices[margin])
            out = vertices[margin] - center
            out /= np.linalg.norm(out, axis=1, keepdims=True)
            along = np.gradient(vertices[margin], axis=0)
            along -= (along * out).sum(axis=1, keepdims=True) * out
            along /= np.linalg.norm(along, axis=1, keepdims=True)
            side = up if eye == 0 else -up
            away = np.cross(out, along) * side
            expected = np.stack([out, along, away], axis=-1)
            np.testing.assert_allclose(axes[own], expected, atol=1e-5)
    assert start == count


def test_a_lash_between_two_vertices_is_between_their_frames():
    model = load_builtin_head()
    tables = head_tables(model)
    vertices = pose_vertices(model, neutral_state(model))
    ends = lash_frames(tables, vertices, np.array([0, LASH_STEPS], np.int32))
    steps = LASH_STEPS - 1
    between = lash_frames(tables, vertices, np.array([steps // 3], np.int32))
    share = (steps // 3) / steps
    for value, end in zip(between, ends, strict=True):
        np.testing.assert_allclose(value[0], end[0] * (1 - share) + end[1] * share)
    lashes = make_lashes(tables, 0.5, np.random.default_rng(0))
    assert lashes.anchor is not None and len(lashes.points) == len(lashes.anchor)
