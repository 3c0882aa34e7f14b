"""The frames that a head has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from track_world import facing

from flowface_ros.head.model import HeadModel
from flowface_ros.track.head_frames import HEAD_FRAMES, gaze_pose, head_frames
from flowface_ros.track.tracked_head import Status, TrackedHead, face_pose


def test_gaze_points_where_the_eyes_look(model: HeadModel) -> None:
    state = facing(model, [0.9, 0.0, 0.0])
    straight = gaze_pose(model, state)
    assert np.allclose(straight[:3, :3].T @ straight[:3, :3], np.eye(3), atol=1e-9)
    assert np.linalg.det(straight[:3, :3]) == pytest.approx(1.0)
    assert np.allclose(straight[:3, 2], [-1, 0, 0], atol=0.05), "towards the rig's origin"
    turned = np.array([0.0, 0.4, 0.0])
    aside = gaze_pose(model, replace(state, left_eye=turned, right_eye=turned))
    angle = np.arccos(np.clip(straight[:3, 2] @ aside[:3, 2], -1, 1))
    assert angle == pytest.approx(0.4, abs=1e-3)
    assert aside[1, 2] < 0, "the subject's left is the rig's right"


def test_every_head_has_every_frame(model: HeadModel) -> None:
    states = [facing(model, [0.9, y, 0.0], seed=i) for i, y in enumerate((-0.2, 0.2))]
    heads = [TrackedHead(f"p{i}", Status.TRACKED, state) for i, state in enumerate(states)]
    frames = head_frames(model, heads, "rig", 7)
    assert [child for _, child, _, _ in frames] == [
        f"{kind}_{head.id}" for head in heads for kind in HEAD_FRAMES
    ]
    assert {(parent, stamp) for parent, _, _, stamp in frames} == {("rig", 7)}
    assert np.array_equal(frames[2][2], face_pose(model, states[1]))
