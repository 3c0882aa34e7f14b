"""Core types to messages and back, for rosbags' dataclasses and rclpy's classes alike.

Whoever calls gives a `MessageTypes`: it maps a type name such as "flowface_ros/msg/Face" to a class
with keyword arguments, and makes the sequences that those classes want.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from flowface_ros.camera.camera import Camera
from flowface_ros.camera.camera_info import info_values
from flowface_ros.head.blendshapes import ARKIT_NAMES, blendshapes_from_state
from flowface_ros.head.model import HeadModel
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.rigid import apply, inverse, transform
from flowface_ros.track.tracked_head import TrackedHead, face_pose, face_pose_covariance

_NS = 1_000_000_000
_UNIT = 5e-3
"""How far the length of a quaternion may be from 1; tf2 lets its square be twice as far."""


class MessageTypes(Protocol):
    """The message classes of one ROS client."""

    def __getitem__(self, name: str) -> Any:
        """The class of a type name, e.g. "std_msgs/msg/Header"; takes keyword arguments."""

    def sequence(self, array: NDArray) -> Any:
        """What a field of a numeric sequence is set to, from a flat array of the field's dtype."""


@dataclass(frozen=True)
class RosbagsTypes:
    """`MessageTypes` of a rosbags type store's `types`."""

    types: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.types[name]

    def sequence(self, array: NDArray) -> NDArray:
        return np.ascontiguousarray(array)


def stamp_ns(message: Any) -> int:
    """Nanoseconds of a message's header stamp."""
    stamp = message.header.stamp
    return stamp.sec * _NS + stamp.nanosec


def header_message(types: MessageTypes, time_ns: int, frame_id: str) -> Any:
    """A std_msgs/Header."""
    sec, nanosec = divmod(int(time_ns), _NS)
    stamp = types["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec)
    return types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)


def _floats(types: MessageTypes, values: ArrayLike) -> Any:
    return types.sequence(np.asarray(values, np.float32).reshape(-1))


def _quaternion(types: MessageTypes, rotation: NDArray) -> Any:
    x, y, z, w = (float(v) for v in Rotation.from_matrix(rotation).as_quat())
    return types["geometry_msgs/msg/Quaternion"](x=x, y=y, z=z, w=w)


def _xyz(values: NDArray) -> dict[str, float]:
    return dict(zip("xyz", (float(v) for v in values), strict=True))


def pose_message(types: MessageTypes, a_from_b: NDArray) -> Any:
    """A geometry_msgs/Pose of b in a, from the 4x4 matrix."""
    return types["geometry_msgs/msg/Pose"](
        position=types["geometry_msgs/msg/Point"](**_xyz(a_from_b[:3, 3])),
        orientation=_quaternion(types, a_from_b[:3, :3]),
    )


def face_message(types: MessageTypes, model: HeadModel, head: TrackedHead) -> Any:
    """A Face; unknown covariance is all zeros, unknown expression sigma empty."""
    state = head.state
    covariance = face_pose_covariance(model, state)
    pose = types["geometry_msgs/msg/PoseWithCovariance"](
        pose=pose_message(types, face_pose(model, state)),
        covariance=np.zeros(36) if covariance is None else covariance.reshape(-1),
    )
    return types["flowface_ros/msg/Face"](
        id=head.id,
        status=int(head.status),
        pose=pose,
        confidence=float(head.confidence),
        expression=_floats(types, state.expression),
        expression_sigma=_floats(types, _expression_sigma(model, head)),
        shape=_floats(types, state.shape),
        neck=np.asarray(state.neck, np.float32),
        jaw=np.asarray(state.jaw, np.float32),
        left_eye=np.asarray(state.left_eye, np.float32),
        right_eye=np.asarray(state.right_eye, np.float32),
        blendshapes=_floats(types, _blendshapes(model, head)),
        views=list(head.views),
        view_rmse_px=_floats(types, head.view_rmse_px),
        stamp_spread_s=float(head.stamp_spread_s),
    )


def _expression_sigma(model: HeadModel, head: TrackedHead) -> NDArray:
    covariance = head.state.covariance
    if covariance is None:
        return np.zeros(0)
    first = len(covariance) - len(model.shape_names) - len(model.expression_names)
    variance = np.diag(covariance)[first : first + len(model.expression_names)]
    return np.sqrt(np.maximum(variance, 0.0))


def _blendshapes(model: HeadModel, head: TrackedHead) -> NDArray:
    if model.blendshapes is None:
        return np.zeros(0)
    return blendshapes_from_state(model, head.state)


def face_array_message(
    types: MessageTypes,
    model: HeadModel,
    heads: Sequence[TrackedHead],
    time_ns: int,
    rig_frame: str,
) -> Any:
    """A FaceArray of all heads at one moment."""
    return types["flowface_ros/msg/FaceArray"](
        header=header_message(types, time_ns, rig_frame),
        faces=[face_message(types, model, head) for head in heads],
    )


def face_mesh_message(
    types: MessageTypes,
    model: HeadModel,
    head: TrackedHead,
    time_ns: int,
    vertex_sigma: ArrayLike = (),
) -> Any:
    """A FaceMesh: posed vertices in the frame face_<id>; vertex_sigma (V,) metres or empty."""
    face_from_rig = inverse(face_pose(model, head.state))
    vertices = apply(face_from_rig, pose_vertices(model, head.state))
    return types["flowface_ros/msg/FaceMesh"](
        header=header_message(types, time_ns, f"face_{head.id}"),
        id=head.id,
        model_hash=int(model.model_hash),
        vertices=_floats(types, vertices),
        vertex_sigma=_floats(types, vertex_sigma),
    )


def head_model_message(types: MessageTypes, model: HeadModel, time_ns: int, frame_id: str) -> Any:
    """A HeadModel: what a receiver of FaceMesh needs to draw it."""
    return types["flowface_ros/msg/HeadModel"](
        header=header_message(types, time_ns, frame_id),
        name=model.name,
        version=model.version,
        model_hash=int(model.model_hash),
        vertex_count=model.vertex_count,
        triangles=types.sequence(model.triangles.astype(np.uint32).reshape(-1)),
        uv=_floats(types, model.uv[model.uv_triangles]),
        shape_names=list(model.shape_names),
        expression_names=list(model.expression_names),
        blendshape_names=list(ARKIT_NAMES) if model.blendshapes is not None else [],
    )


def camera_info_message(types: MessageTypes, camera: Camera, time_ns: int) -> Any:
    """A sensor_msgs/CameraInfo of an unrectified camera: R is the identity, P is [K 0]."""
    values = info_values(camera)
    values["d"] = types.sequence(np.asarray(values["d"], np.float64))
    return types["sensor_msgs/msg/CameraInfo"](
        header=header_message(types, time_ns, camera.frame),
        roi=types["sensor_msgs/msg/RegionOfInterest"](
            x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        ),
        **values,
    )


def tf_message(types: MessageTypes, transforms: Sequence[tuple[str, str, NDArray, int]]) -> Any:
    """A tf2_msgs/TFMessage of (parent, child, parent_from_child (4, 4), stamp in ns) tuples."""
    vector, stamped = (
        types["geometry_msgs/msg/Vector3"],
        types["geometry_msgs/msg/TransformStamped"],
    )
    return types["tf2_msgs/msg/TFMessage"](
        transforms=[
            stamped(
                header=header_message(types, time_ns, parent),
                child_frame_id=child,
                transform=types["geometry_msgs/msg/Transform"](
                    translation=vector(**_xyz(matrix[:3, 3])),
                    rotation=_quaternion(types, matrix[:3, :3]),
                ),
            )
            for parent, child, matrix, time_ns in transforms
        ]
    )


def read_transform(message: Any) -> NDArray[np.float64]:
    """parent_from_child (4, 4) of a TransformStamped.

    Raises ValueError for a quaternion that is not of length 1, as near as tf2 wants it.
    """
    t, q = message.transform.translation, message.transform.rotation
    quaternion = q.x, q.y, q.z, q.w
    if not abs(math.hypot(*quaternion) - 1) < _UNIT:
        raise ValueError(f"the quaternion of {message.child_frame_id!r} is not of length 1")
    return transform(Rotation.from_quat(quaternion).as_matrix(), [t.x, t.y, t.z])


@dataclass(frozen=True, eq=False)
class FaceRecord:
    """What a Face message says, as arrays.

    rig_from_face: (4, 4); pose_covariance: (6, 6), None when unknown.
    expression (E,), shape (S,), neck, jaw, left_eye, right_eye (3,), blendshapes (52,) or (0,).
    """

    id: str
    status: int
    confidence: float
    rig_from_face: NDArray[np.float64]
    pose_covariance: NDArray[np.float64] | None
    expression: NDArray[np.float64]
    expression_sigma: NDArray[np.float64]
    shape: NDArray[np.float64]
    neck: NDArray[np.float64]
    jaw: NDArray[np.float64]
    left_eye: NDArray[np.float64]
    right_eye: NDArray[np.float64]
    blendshapes: NDArray[np.float64]
    views: tuple[str, ...]
    view_rmse_px: tuple[float, ...]
    stamp_spread_s: float


_FACE_ARRAYS = (
    "expression",
    "expression_sigma",
    "shape",
    "neck",
    "jaw",
    "left_eye",
    "right_eye",
    "blendshapes",
)


def read_face(message: Any) -> FaceRecord:
    """The arrays of a Face message."""
    position, q = message.pose.pose.position, message.pose.pose.orientation
    rotation = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
    covariance = np.array(message.pose.covariance, np.float64).reshape(6, 6)
    return FaceRecord(
        id=message.id,
        status=int(message.status),
        confidence=float(message.confidence),
        rig_from_face=transform(rotation, [position.x, position.y, position.z]),
        pose_covariance=covariance if covariance.any() else None,
        views=tuple(message.views),
        view_rmse_px=tuple(float(v) for v in message.view_rmse_px),
        stamp_spread_s=float(message.stamp_spread_s),
        **{name: np.array(getattr(message, name), np.float64) for name in _FACE_ARRAYS},
    )


def read_mesh(message: Any) -> NDArray[np.float32]:
    """Vertices (V, 3) of a FaceMesh, metres, in its frame face_<id>.

    Raises ValueError when the numbers do not make whole vertices.
    """
    values = np.asarray(message.vertices, np.float32)
    if values.size % 3:
        raise ValueError(f"FaceMesh.vertices: {values.size} numbers are not whole vertices")
    return values.reshape(-1, 3)
