"""What messages become in a view."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from view_world import (
    CAMERAS,
    IMAGE_TOPICS,
    MODEL,
    PERIOD_NS,
    RIG,
    SETS,
    Log,
    camera_messages,
    faces,
    gaze,
    head,
    head_model,
    image,
    info,
    mesh,
    picture,
    stamp,
    state,
    tracker_messages,
    transforms,
)

from flowface_ros.bag.face_messages import read_mesh
from flowface_ros.head.blendshapes import ARKIT_NAMES, blendshapes_from_state
from flowface_ros.head.skinning import pose_vertices
from flowface_ros.rigid import rotation_from_rotvec, transform
from flowface_ros.track.tracked_head import face_pose
from flowface_ros.view.scene import Scene, SceneOptions
from flowface_ros.view.topics import ViewTopics

PERIOD_S = PERIOD_NS * 1e-9
TOPICS = ViewTopics(
    {topic: name for name, topic in IMAGE_TOPICS.items()},
    {f"/{name}/camera_info": name for name in CAMERAS},
    "/tracker/faces",
    "/tracker/meshes",
    "/tracker/head_model",
)
ALL = SceneOptions()
MODEL_FIRST = ("/tracker/head_model", head_model())

Show = Callable[..., tuple[Scene, Log]]


@pytest.fixture
def show(rerun: Any, tmp_path: Path) -> Show:
    """Shows messages in a scene, and reads what it logged."""
    from flowface_ros.view.sdk import new_recording

    def run(
        messages: Iterable[tuple[str, Any]],
        options: SceneOptions = ALL,
        buffer: Any = None,
        topics: ViewTopics = TOPICS,
    ) -> tuple[Scene, Log]:
        path = tmp_path / "view.rrd"
        recording = new_recording()
        recording.save(path)
        scene = Scene(recording, (buffer or transforms()).lookup, options)
        scene.use_topics(topics)
        for topic, message in messages:
            scene.take(topic, message)
        recording.disconnect()
        return scene, Log(path)

    return run


def sets(count: int = SETS) -> Iterable[tuple[str, Any]]:
    yield MODEL_FIRST
    for index in range(count):
        yield from camera_messages(index)
        yield from tracker_messages(index)


def jpeg(blob: Any) -> np.ndarray:
    data = np.array(blob[0], np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1]


def matrix(log: Log, entity: str, row: int = 0) -> np.ndarray:
    columns = np.array(log.values(entity, "Transform3D:mat3x3")[row][0]).reshape(3, 3)
    return transform(columns.T, log.values(entity, "Transform3D:translation")[row][0])


def test_faces_become_frames_at_their_stamps(show: Show) -> None:
    scene, log = show(sets())
    assert not scene.unusable, scene.reasons
    times = log.times("/rig/face_p1", "Transform3D:translation")
    assert times == pytest.approx(PERIOD_S * np.arange(SETS))
    for index in range(SETS):
        expected = face_pose(MODEL, state(index))
        assert matrix(log, "/rig/face_p1", index) == pytest.approx(expected, abs=1e-6)
    assert log.values("/rig/face_p1/name", "Points3D:labels")[0] == ["p1 tracked 0.90"]


def test_meshes_are_in_the_face_frame_and_come_with_their_triangles(show: Show) -> None:
    _, log = show(sets())
    vertices = log.values("/rig/face_p1/mesh", "Mesh3D:vertex_positions")
    assert len(vertices) == SETS
    assert np.array(vertices[3]) == pytest.approx(read_mesh(mesh(3)), abs=1e-7)
    triangles = log.values("/rig/face_p1/mesh", "Mesh3D:triangle_indices")
    assert np.array_equal(triangles[0], MODEL.triangles)


def test_meshes_are_drawn_on_the_distorted_image(show: Show) -> None:
    _, log = show(sets())
    for name, camera in CAMERAS.items():
        rows = log.values(f"/rig/{name}/heads/p1", "LineStrips2D:strips")
        assert len(rows) == SETS
        ends = np.array(rows[2]).reshape(-1, 2)
        vertices = pose_vertices(MODEL, state(2))
        points = vertices @ camera.camera_from_rig[:3, :3].T + camera.camera_from_rig[:3, 3]
        pixels, valid = camera.project(points)
        # The viewer counts pixels from the image's corner.
        distance, which = cKDTree(pixels[valid] + 0.5).query(ends)
        assert len(ends) > 1000
        assert distance.max() < 1e-3
        # Only the side that the camera sees.
        assert 0.2 < len(set(which)) / len(pixels) < 0.6


def test_cameras_stand_where_tf_has_them(show: Show) -> None:
    _, log = show(sets())
    for name, camera in CAMERAS.items():
        assert matrix(log, f"/rig/{name}") == pytest.approx(camera.rig_from_camera, abs=1e-6)
        columns = np.array(log.values(f"/rig/{name}", "Pinhole:image_from_camera")[0][0])
        expected = camera.intrinsics + np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
        assert np.allclose(columns.reshape(3, 3).T, expected)


def test_a_moving_camera_moves(show: Show) -> None:
    buffer = transforms()
    left = CAMERAS["left"]
    poses = []
    for index in range(SETS):
        pose = left.rig_from_camera.copy()
        pose[:3, 3] += 0.01 * index
        poses.append(pose)
        buffer.add(RIG, left.frame, pose, stamp(index))
    _, log = show(sets(), buffer=buffer)
    for index, pose in enumerate(poses):
        assert matrix(log, "/rig/left", index) == pytest.approx(pose, abs=1e-6)
    assert matrix(log, "/rig/right", -1) == pytest.approx(CAMERAS["right"].rig_from_camera)


def test_images_are_jpeg_and_those_that_are_stay_as_they_are(show: Show) -> None:
    _, log = show(sets())
    for name in CAMERAS:
        blobs = log.values(f"/rig/{name}/image", "EncodedImage:blob")
        assert len(blobs) == SETS
        assert np.abs(jpeg(blobs[2]).astype(int) - picture(2)).max() < 4
    sent = image("right", 2).data.tobytes()
    (blob,) = log.values("/rig/right/image", "EncodedImage:blob")[2]
    assert bytes(blob) == sent


def test_wide_images_are_made_smaller_with_their_camera(show: Show) -> None:
    _, log = show(sets(), SceneOptions(max_width=320))
    for name, camera in CAMERAS.items():
        assert jpeg(log.values(f"/rig/{name}/image", "EncodedImage:blob")[0]).shape == (240, 320, 3)
        columns = np.array(log.values(f"/rig/{name}", "Pinhole:image_from_camera")[0][0])
        assert columns[0] == pytest.approx(camera.intrinsics[0, 0] / 2)
        assert columns[6] == pytest.approx((camera.intrinsics[0, 2] + 0.5) / 2)
        ends = np.array(log.values(f"/rig/{name}/heads/p1", "LineStrips2D:strips")[0])
        assert 60 < ends.reshape(-1, 2)[:, 0].mean() < 260


def test_images_wait_for_their_result(show: Show) -> None:
    def late() -> Iterable[tuple[str, Any]]:
        yield MODEL_FIRST
        yield from camera_messages(0)
        yield from tracker_messages(0)
        for index in (1, 2, 3):
            yield from camera_messages(index)
        yield from tracker_messages(2)

    _, log = show(late())
    assert log.times("/rig/left/image", "EncodedImage:blob") == pytest.approx([0.0, 2 * PERIOD_S])
    blobs = log.values("/rig/left/image", "EncodedImage:blob")
    assert np.abs(jpeg(blobs[1]).astype(int) - picture(2)).max() < 4


def test_without_a_tracker_images_are_shown_as_they_come(show: Show) -> None:
    topics = replace(TOPICS, faces="", meshes="", head_model="")
    messages = [entry for index in range(SETS) for entry in camera_messages(index)]
    _, log = show(messages, topics=topics)
    assert len(log.values("/rig/left/image", "EncodedImage:blob")) == SETS
    # The first camera's own frame, as the tracker takes it when it is not told another.
    assert matrix(log, "/rig/left") == pytest.approx(np.eye(4))


def test_the_rate_is_of_pictures_and_not_of_curves(show: Show) -> None:
    _, log = show(sets(), SceneOptions(rate_hz=0.5 / PERIOD_S))
    shown = len(log.values("/rig/left/image", "EncodedImage:blob"))
    assert shown == len(log.values("/rig/face_p1/mesh", "Mesh3D:vertex_positions")) == SETS // 2
    assert len(log.values("/plots/mouth/p1", "Scalars:scalars")) == SETS


def test_curves_have_names_and_values(show: Show) -> None:
    _, log = show(sets())
    names = [f"p1 {name}" for name in ARKIT_NAMES]
    weights = dict(zip(names, blendshapes_from_state(MODEL, state(4)), strict=True))
    shown = {}
    for plot in ("eyes", "mouth"):
        (names,) = log.values(f"/plots/{plot}/p1", "SeriesLines:names")
        shown |= dict(
            zip(names, log.values(f"/plots/{plot}/p1", "Scalars:scalars")[4], strict=True)
        )
    assert shown == pytest.approx(weights, abs=1e-6)
    assert shown["p1 jawOpen"] > 0.2
    assert log.values("/plots/reprojection/p1/right", "Scalars:scalars")[0] == pytest.approx([0.7])
    position = log.values("/plots/position/p1", "Scalars:scalars")[4]
    assert position == pytest.approx(face_pose(MODEL, state(4))[:3, 3], abs=1e-6)


def test_a_turn_through_the_back_has_no_step(show: Show) -> None:
    def turning() -> Iterable[tuple[str, Any]]:
        for index in range(SETS):
            still = head(index)
            turn = rotation_from_rotvec([0.0, 0.0, 0.3 * (index - SETS / 2)])
            rotation = turn @ rotation_from_rotvec(still.state.rotation)
            rotvec = Rotation.from_matrix(rotation).as_rotvec()
            turned = replace(still, state=replace(still.state, rotation=rotvec))
            yield "/tracker/faces", faces(index, turned)

    _, log = show(turning())
    yaw = np.array(log.values("/plots/rotation/p1", "Scalars:scalars"))[:, 2]
    assert np.diff(yaw) == pytest.approx(np.degrees(0.3), abs=1e-3)
    assert yaw.min() < 180 < yaw.max() or yaw.min() < -180 < yaw.max()


def test_who_has_left_is_taken_away(show: Show) -> None:
    messages = [MODEL_FIRST, *camera_messages(0), *tracker_messages(0)]
    _, log = show([*messages, ("/tracker/faces", faces(1))])
    for entity in ("/rig/face_p1", "/rig/left/heads/p1", "/rig/gaze_p1", "/plots/mouth/p1"):
        cleared = [e for e in log.entities(entity) if log.times(e, "Clear:is_recursive")]
        assert entity in cleared


def test_a_mesh_may_come_before_its_face(show: Show) -> None:
    first, second = tracker_messages(0)
    _, log = show([MODEL_FIRST, *camera_messages(0), second, first])
    assert len(log.values("/rig/face_p1/mesh", "Mesh3D:vertex_positions")) == 1


def test_a_mesh_of_another_model_is_not_drawn(show: Show) -> None:
    foreign = mesh(0)
    foreign.model_hash += 1
    _, log = show(
        [MODEL_FIRST, ("/tracker/faces", faces(0, head(0))), ("/tracker/meshes", foreign)]
    )
    assert not log.values("/rig/face_p1/mesh", "Mesh3D:vertex_positions")


def test_gaze_frames_come_from_tf_even_when_late(show: Show) -> None:
    buffer = transforms()

    def messages() -> Iterable[tuple[str, Any]]:
        yield "/tracker/faces", faces(0, head(0))
        buffer.add(*gaze(0))
        yield "/tracker/faces", faces(1, head(1))

    _, log = show(messages(), buffer=buffer)
    assert matrix(log, "/rig/gaze_p1") == pytest.approx(gaze(0)[2], abs=1e-6)
    assert log.times("/rig/gaze_p1", "Transform3D:translation") == pytest.approx([0.0])


def test_faces_of_another_frame_are_brought_into_that_of_the_view(show: Show) -> None:
    left = CAMERAS["left"]
    options = SceneOptions(frame=left.frame)
    _, log = show([("/tracker/faces", faces(0, head(0)))], options)
    expected = left.camera_from_rig @ face_pose(MODEL, state(0))
    assert matrix(log, "/rig/face_p1") == pytest.approx(expected, abs=1e-6)


def test_what_cannot_be_used_is_counted_and_the_rest_is_shown(show: Show) -> None:
    broken = image("left", 0)
    broken.encoding = "nonsense"
    crooked = info("right")
    crooked.k = np.zeros(9)
    lost = faces(0, head(0), frame="nowhere")
    messages = [
        ("/left/camera_info", info("left")),
        ("/left/image_raw", broken),
        ("/right/camera_info", crooked),
        (IMAGE_TOPICS["right"], image("right", 0)),
        ("/tracker/faces", faces(0, head(0))),
        ("/tracker/faces", lost),
    ]
    scene, log = show(messages)
    assert set(scene.unusable) == {"images of left", "/right/camera_info", "/tracker/faces"}
    assert "nonsense" in scene.reasons["images of left"]
    assert "nowhere" in scene.reasons["/tracker/faces"]
    assert log.values("/rig/right/image", "EncodedImage:blob")
    assert log.values("/rig/face_p1", "Transform3D:translation")


def test_time_goes_on_when_stamps_jump_back(show: Show) -> None:
    def loops() -> Iterable[tuple[str, Any]]:
        for _ in range(2):
            for index in range(0, 61, 10):
                yield "/tracker/faces", faces(index, head(index))

    _, log = show(loops())
    times = log.times("/rig/face_p1", "Transform3D:translation")
    assert len(times) == 14
    assert all(np.diff(times) > 0)


def test_results_on_the_way_at_a_jump_are_left_out(show: Show) -> None:
    loop = 20  # 0.8 s: longer than what passes for images out of order

    def messages() -> Iterable[tuple[str, Any]]:
        yield MODEL_FIRST
        for start in (0, 1):
            for index in range(loop):
                if start and index < 3:  # the results of the last loop's end are late
                    yield from camera_messages(index)
                    yield from tracker_messages(loop - 3 + index)
                elif start or index < loop - 3:
                    yield from camera_messages(index)
                    yield "/tracker/faces", faces(index, head(index, f"p{start}"))
                    yield "/tracker/meshes", mesh(index, f"p{start}")

    _, log = show(messages())
    assert not log.entities("/rig/face_p2")
    times = log.times("/rig/face_p1", "Transform3D:translation")
    assert max(np.diff(times)) < 2 * PERIOD_S
    assert len(log.values("/rig/face_p1/mesh", "Mesh3D:triangle_indices")) >= 1
    gone = log.times("/rig/face_p0", "Clear:is_recursive")
    assert gone == pytest.approx([min(times)])


def test_up_is_z_of_a_rig_and_minus_y_of_a_camera(show: Show) -> None:
    _, log = show(sets())
    in_rig = log.values("/rig", "ViewCoordinates:xyz")
    _, log = show(sets(), SceneOptions(frame=CAMERAS["left"].frame))
    assert in_rig[-1] != log.values("/rig", "ViewCoordinates:xyz")[-1]


def test_the_eye_sees_heads_and_cameras(show: Show) -> None:
    scene, _ = show(sets())
    eye = scene.eye
    assert eye is not None
    gaze_way = eye.target - eye.position
    for place in (CAMERAS["left"].rig_from_camera[:3, 3], face_pose(MODEL, state(0))[:3, 3]):
        way = place - eye.position
        cosine = way @ gaze_way / np.linalg.norm(way) / np.linalg.norm(gaze_way)
        assert np.degrees(np.arccos(cosine)) < 45
