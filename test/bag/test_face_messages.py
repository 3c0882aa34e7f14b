"""Core types to messages and back, through the bytes of a bag."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from flowface_ros.bag.face_messages import (
    RosbagsTypes,
    camera_info_message,
    face_array_message,
    face_mesh_message,
    face_message,
    head_model_message,
    read_face,
    read_mesh,
    stamp_ns,
    tf_message,
)
from flowface_ros.bag.message_types import message_types
from flowface_ros.camera.camera import Camera, intrinsics_matrix
from flowface_ros.camera.camera_info import camera_from_info
from flowface_ros.camera.lens import Lens
from flowface_ros.head.blendshapes import ARKIT_NAMES
from flowface_ros.head.model import HeadModel
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.head.state import neutral_state, vector_size
from flowface_ros.rigid import apply, rotation_from_rotvec, transform
from flowface_ros.track.tracked_head import Status, TrackedHead, face_pose

STAMP = 1_700_000_000_123_456_789
TYPES = RosbagsTypes(message_types().types)


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return load_builtin_head()


@pytest.fixture(scope="module")
def head(model: HeadModel) -> TrackedHead:
    rng = np.random.default_rng(0)
    size = vector_size(model)
    factor = rng.normal(size=(size, size)) * 1e-3
    state = replace(
        neutral_state(model),
        translation=np.array([0.8, 0.1, -0.02]),
        rotation=np.array([0.3, -1.2, 1.0]),
        neck=np.array([0.05, 0.1, 0.0]),
        jaw=np.array([0.1, 0.0, 0.0]),
        left_eye=np.array([0.02, 0.1, 0.0]),
        expression=rng.uniform(0, 0.5, len(model.expression_names)),
        shape=rng.normal(size=len(model.shape_names)),
        covariance=factor @ factor.T,
    )
    return TrackedHead("f3", Status.COASTING, state, 0.75, ("left", "right"), (0.5, 1.25), 0.004)


def through_bytes(message: Any) -> Any:
    """As a reader gets it: every field has been checked against the definition."""
    kind = message.__msgtype__
    store = message_types()
    return store.deserialize_cdr(store.serialize_cdr(message, kind), kind)


def test_face_comes_back(model: HeadModel, head: TrackedHead) -> None:
    record = read_face(through_bytes(face_message(TYPES, model, head)))
    state = head.state
    assert (record.id, record.status, record.views) == ("f3", 3, ("left", "right"))
    assert record.confidence == 0.75
    assert record.view_rmse_px == (0.5, 1.25)
    assert record.stamp_spread_s == pytest.approx(0.004)
    np.testing.assert_allclose(record.rig_from_face, face_pose(model, state), atol=1e-9)
    for name in ("neck", "jaw", "left_eye", "right_eye", "expression", "shape"):
        np.testing.assert_allclose(getattr(record, name), getattr(state, name), atol=1e-6)
    sigma = np.sqrt(np.diag(state.covariance))[18 : 18 + len(state.expression)]
    np.testing.assert_allclose(record.expression_sigma, sigma, rtol=1e-6)
    assert record.pose_covariance is not None
    assert np.linalg.eigvalsh(record.pose_covariance).min() > 0
    assert record.blendshapes.shape == (len(ARKIT_NAMES),)


def test_unknown_covariance_is_zeros(model: HeadModel, head: TrackedHead) -> None:
    unsure = replace(head, state=replace(head.state, covariance=None))
    message = through_bytes(face_message(TYPES, model, unsure))
    assert not np.any(message.pose.covariance)
    assert len(message.expression_sigma) == 0
    assert read_face(message).pose_covariance is None


def test_array_of_faces_has_the_stamp_and_the_rig_frame(
    model: HeadModel, head: TrackedHead
) -> None:
    message = through_bytes(face_array_message(TYPES, model, [head, head], STAMP, "rig"))
    assert stamp_ns(message) == STAMP
    assert message.header.frame_id == "rig"
    assert [face.id for face in message.faces] == ["f3", "f3"]
    assert through_bytes(face_array_message(TYPES, model, [], STAMP, "rig")).faces == []


def test_mesh_in_its_frame_and_the_pose_give_the_posed_vertices(
    model: HeadModel, head: TrackedHead
) -> None:
    message = through_bytes(face_mesh_message(TYPES, model, head, STAMP))
    assert message.header.frame_id == "face_f3"
    assert message.model_hash == model.model_hash
    in_rig = apply(face_pose(model, head.state), read_mesh(message))
    np.testing.assert_allclose(in_rig, pose_vertices(model, head.state), atol=1e-7)
    assert len(message.vertex_sigma) == 0


def test_mesh_with_half_a_vertex_is_refused(model: HeadModel, head: TrackedHead) -> None:
    message = face_mesh_message(TYPES, model, head, STAMP)
    message.vertices = message.vertices[:-1]
    with pytest.raises(ValueError, match=r"FaceMesh\.vertices"):
        read_mesh(message)


def test_head_model(model: HeadModel) -> None:
    message = through_bytes(head_model_message(TYPES, model, STAMP, "rig"))
    assert message.vertex_count == len(model.template)
    np.testing.assert_array_equal(message.triangles.reshape(-1, 3), model.triangles)
    uv = message.uv.reshape(-1, 3, 2)
    np.testing.assert_array_equal(uv[5], model.uv[model.uv_triangles[5]])
    assert tuple(message.expression_names) == model.expression_names
    assert tuple(message.blendshape_names) == ARKIT_NAMES


def test_camera_info_comes_back() -> None:
    camera = Camera(
        "left",
        640,
        480,
        intrinsics_matrix(500.0, 501.0, 320.5, 239.5),
        Lens("plumb_bob", np.array([-0.2, 0.03, 1e-3, -1e-3, 0.0])),
        frame="left_optical_frame",
    )
    message = through_bytes(camera_info_message(TYPES, camera, STAMP))
    assert stamp_ns(message) == STAMP
    assert message.header.frame_id == "left_optical_frame"
    assert camera_from_info(message, "left") == camera


def test_transforms() -> None:
    pose = transform(rotation_from_rotvec([0.1, 2.0, -0.3]), [1.0, 2.0, 3.0])
    message = through_bytes(tf_message(TYPES, [("rig", "left_optical_frame", pose, STAMP)]))
    (stamped,) = message.transforms
    assert (stamped.header.frame_id, stamped.child_frame_id) == ("rig", "left_optical_frame")
    assert stamp_ns(stamped) == STAMP
    assert (stamped.transform.translation.x, stamped.transform.translation.z) == (1.0, 3.0)
    q = stamped.transform.rotation
    angle = 2 * np.arctan2(np.linalg.norm([q.x, q.y, q.z]), abs(q.w))
    assert angle == pytest.approx(np.linalg.norm([0.1, 2.0, -0.3]))
