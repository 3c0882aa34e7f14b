"""The frames that move with a head, as nodes broadcast them and replays record them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flowface_ros.head.model import JOINT_NAMES, HeadModel
from flowface_ros.head.skinning import joint_transforms, neutral_joints
from flowface_ros.head.state import HeadState
from flowface_ros.rigid import transform
from flowface_ros.track.tracked_head import TrackedHead, face_pose

Array = NDArray[np.float64]

HEAD_FRAMES = {
    "face": "origin at the sellion, x out of the face, y to the subject's left, z up (REP-155); it "
    "does not feel the expression",
    "gaze": "between the eyes, z along the gaze, x to the subject's left",
}
"""What frames `<key>_<id>` a head has."""

_EYES = [JOINT_NAMES.index("left_eye"), JOINT_NAMES.index("right_eye")]


def head_frames(
    model: HeadModel, heads: Sequence[TrackedHead], rig_frame: str, time_ns: int
) -> list[tuple[str, str, Array, int]]:
    """The frames of all heads: parent, child, parent_from_child (4, 4) and the stamp of each."""
    return [
        (rig_frame, f"{kind}_{head.id}", pose(model, head.state), time_ns)
        for head in heads
        for kind, pose in (("face", face_pose), ("gaze", gaze_pose))
    ]


def gaze_pose(model: HeadModel, state: HeadState) -> Array:
    """rig_from_gaze (4, 4), the frame `gaze_<id>`: between the eyes, z along the mean of the two
    directions of view, x to the subject's left, as upright as the head."""
    joints = joint_transforms(model, state, neutral_joints(model, state))
    forward = joints.linear[_EYES][:, :, 2].mean(axis=0)
    forward = forward / np.linalg.norm(forward)
    up = joints.linear[JOINT_NAMES.index("neck")][:, 1]
    left = np.cross(up, forward)
    left = left / np.linalg.norm(left)
    rotation = np.column_stack([left, np.cross(forward, left), forward])
    return transform(rotation, joints.posed[_EYES].mean(axis=0))
