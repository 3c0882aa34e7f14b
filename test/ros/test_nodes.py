"""What the tracker offers when nothing goes wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rclpy
import yaml
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import DescribeParameters
from rclpy.qos import qos_profile_sensor_data
from ros_world import CAMERAS, LATCHED, PATIENCE_S, Robot, frame_of, make_world
from sensor_msgs.msg import CompressedImage
from std_srvs.srv import SetBool, Trigger
from visualization_msgs.msg import Marker, MarkerArray

from flowface_ros.bag.face_messages import read_face, stamp_ns
from flowface_ros.bag.images import decode_compressed_image

Track = Callable[..., tuple[Any, Robot]]


def call(robot: Robot, kind: Any, name: str, request: Any) -> Any:
    client = robot.node.create_client(kind, name)
    assert client.wait_for_service(PATIENCE_S), f"no service {name}"
    future = client.call_async(request)
    assert robot.wait(future.done), f"{name} does not answer"
    return future.result()


def change(robot: Robot, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    return call(robot, ChangeState, "/tracker/change_state", request).success


def test_life_cycle_by_its_services(track: Track) -> None:
    _, robot = track(start=False, connect=False)

    def state() -> str:
        answer = call(robot, GetState, "/tracker/get_state", GetState.Request())
        return answer.current_state.label

    assert state() == "unconfigured"
    assert change(robot, Transition.TRANSITION_CONFIGURE)
    assert state() == "inactive"
    for index in range(2):
        assert change(robot, Transition.TRANSITION_ACTIVATE)
        robot.connect()
        assert robot.ask(index).faces
        assert change(robot, Transition.TRANSITION_DEACTIVATE)
    assert change(robot, Transition.TRANSITION_CLEANUP)
    assert state() == "unconfigured"
    assert change(robot, Transition.TRANSITION_CONFIGURE)
    assert change(robot, Transition.TRANSITION_ACTIVATE)
    robot.connect()
    assert robot.ask(2).faces
    assert change(robot, Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert state() == "finalized"
    workers = [thread for thread in threading.enumerate() if thread.name == "worker"]
    assert not workers


def test_a_destroyed_node_has_no_services(context: None) -> None:
    """Though it is referenced still: one left over would hide those of the next node."""
    from flowface_ros.ros.tracker_node import TrackerNode

    node = TrackerNode()
    watcher = rclpy.create_node("watcher")
    try:
        assert watcher.count_services("/tracker/change_state") == 1
        node.destroy_node()
        for name in ("change_state", "get_state", "set_parameters"):
            assert watcher.count_services(f"/tracker/{name}") == 0
    finally:
        watcher.destroy_node()


def test_parameters_say_what_they_are(track: Track) -> None:
    _, robot = track(connect=False)
    names = ["slop", "cameras", "left.transport", "threads"]
    request = DescribeParameters.Request(names=names)
    answer = call(robot, DescribeParameters, "/tracker/describe_parameters", request)
    slop, cameras, transport, threads = answer.descriptors
    assert all(descriptor.description for descriptor in answer.descriptors)
    assert (slop.read_only, cameras.read_only) == (False, True)
    assert slop.floating_point_range[0].to_value == 1.0
    assert threads.integer_range[0].from_value == 1
    assert transport.additional_constraints == "auto, raw, compressed"


def test_reset_forgets_everybody(track: Track) -> None:
    _, robot = track()
    robot.follow(3)
    assert call(robot, Trigger, "/tracker/reset", Trigger.Request()).success
    assert robot.ask(3).faces[0].id == "p2"


def test_frozen_shapes_stay(track: Track) -> None:
    _, robot = track()
    robot.follow(5)
    assert call(robot, SetBool, "/tracker/freeze_identity", SetBool.Request(data=True)).success
    shapes = [np.array(faces.faces[0].shape) for faces in robot.follow(8, start=5)]
    assert all(np.array_equal(shape, shapes[0]) for shape in shapes)


def test_without_a_rig_frame_results_are_in_the_first_camera(track: Track) -> None:
    world = make_world(["center"])
    _, robot = track(world, mount=False, rig_frame="")
    faces = robot.ask(0)
    assert faces.header.frame_id == frame_of("center")
    assert 0.5 < faces.faces[0].pose.pose.position.z < 1.5


def test_markers_on_demand(track: Track) -> None:
    _, robot = track(marker_rate=60.0)
    robot.follow(2)
    markers: list[MarkerArray] = []
    robot.node.create_subscription(MarkerArray, "/tracker/markers", markers.append, 10)
    index = iter(range(2, 100))
    assert robot.wait(lambda: robot.ask(next(index)) and markers)
    kinds = {marker.ns: marker for marker in markers[0].markers}
    assert set(kinds) == {"mesh", "gaze", "id"}
    mesh = kinds["mesh"]
    assert mesh.type == Marker.TRIANGLE_LIST
    assert len(mesh.points) % 3 == 0
    points = np.array([[p.x, p.y, p.z] for p in mesh.points])
    assert np.linalg.norm(points.mean(axis=0) - [0.95, 0.0, 0.0]) < 0.2
    assert "p1" in kinds["id"].text


def test_overlays_on_demand(track: Track) -> None:
    _, robot = track(overlay_rate=60.0)
    pictures: list[CompressedImage] = []
    topic = "/tracker/overlay/center/compressed"
    robot.node.create_subscription(CompressedImage, topic, pictures.append, qos_profile_sensor_data)
    index = iter(range(100))
    assert robot.wait(lambda: robot.ask(next(index)) and pictures)
    picture = decode_compressed_image(pictures[-1])
    assert picture.shape == (480, 640, 3)
    drawn = np.argwhere(picture.max(axis=2) > 60)
    assert len(drawn) > 1000
    assert np.linalg.norm(drawn.mean(axis=0) - [240, 320]) < 80, "around the face"
    assert pictures[-1].header.frame_id == frame_of("center")


def test_rates_and_residuals_are_reported(track: Track) -> None:
    _, robot = track()
    robot.follow(3)
    values = {entry.key: entry.value for entry in robot.report().values}
    for stage in ("arrival", "decode", "transform", "detect", "align", "fit", "publish", "total"):
        assert float(values[f"{stage} p50 ms"]) <= float(values[f"{stage} p95 ms"])
    camera = {entry.key: entry.value for entry in robot.report("camera left").values}
    assert 0.1 < float(camera["residual px"]) < 2.0
    assert float(camera["images per second"]) > 0.0
    assert robot.report().hardware_id == "cpu"


def test_rep155(track: Track) -> None:
    hri = pytest.importorskip("hri_msgs.msg", reason="hri_msgs is not installed")
    _, robot = track(publish_rep155=True)
    got: dict[str, list[Any]] = {"tracked": [], "roi": [], "landmarks": [], "facs": []}
    create = robot.node.create_subscription
    create(hri.IdsList, "/humans/faces/tracked", got["tracked"].append, LATCHED)
    base = "/humans/faces/p1"
    create(hri.NormalizedRegionOfInterest2D, f"{base}/roi", got["roi"].append, 10)
    create(hri.FacialLandmarks, f"{base}/landmarks", got["landmarks"].append, 10)
    create(hri.FacialActionUnits, f"{base}/facs", got["facs"].append, 10)
    index = iter(range(100))
    assert robot.wait(lambda: robot.ask(next(index)) and all(got.values()))
    assert list(got["tracked"][-1].ids) == ["p1"]
    roi = got["roi"][-1]
    assert 0 < roi.xmin < 0.5 < roi.xmax < 1
    points = got["landmarks"][-1].landmarks
    assert len(points) == 70
    assert points[36].x < points[45].x, "the subject's right eye is left in the image"
    assert len(got["facs"][-1].intensity) == 99


def test_rep155_without_hri_msgs_is_refused(track: Track, monkeypatch: pytest.MonkeyPatch) -> None:
    from flowface_ros.ros import rep155

    monkeypatch.setattr(rep155, "find_spec", lambda name: None)
    _, robot = track(publish_rep155=True, connect=False)
    assert "hri_msgs is not installed" in robot.report().message
    node = robot._tested
    assert "/tracker/faces" not in [publisher.topic_name for publisher in node.publishers]


def test_two_trackers_in_one_system_have_different_frames(track: Track) -> None:
    world = make_world()
    _, first = track(world, name="upper", id_prefix="upper_")
    _, second = track(world, name="lower", id_prefix="lower_")
    stamp = stamp_ns(first.ask(0))
    assert second.wait(lambda: second.faces)
    ids = [robot.faces[0].faces[0].id for robot in (first, second)]
    assert ids == ["upper_1", "lower_1"]
    expected = {f"{kind}_{id}" for kind in ("face", "gaze") for id in ids}
    assert first.wait(
        lambda: expected == {t.child_frame_id for t in first.transforms if stamp_ns(t) == stamp}
    )
    assert len(first.transforms) == len(expected)


def test_stamps_of_one_set_agree(track: Track) -> None:
    _, robot = track()
    faces = robot.follow(3)[-1]
    stamp = stamp_ns(faces)
    assert stamp == robot.world.frames(2)[0].stamp_ns

    def frames() -> dict[str, Any]:
        return {t.child_frame_id: t for t in robot.transforms if stamp_ns(t) == stamp}

    assert robot.wait(lambda: set(frames()) == {"face_p1", "gaze_p1"})
    position = frames()["face_p1"].transform.translation
    record = read_face(faces.faces[0])
    assert [position.x, position.y, position.z] == pytest.approx(record.rig_from_face[:3, 3])
    assert faces.faces[0].views == list(CAMERAS)


@pytest.mark.parametrize("name", ["one_camera", "stereo_head", "three_camera_rig"])
def test_example_parameters_are_accepted(context: None, name: str) -> None:
    from pathlib import Path

    from flowface_ros.ros.tracker_node import TrackerNode

    file = Path(__file__).parents[2] / f"config/{name}.yaml"
    node = TrackerNode(cli_args=["--ros-args", "--params-file", str(file)])
    written = yaml.safe_load(file.read_text())["tracker"]["ros__parameters"]
    try:
        assert node.settings.cameras == written["cameras"]
        for key, value in written.items():
            if not isinstance(value, (dict, list)):
                assert getattr(node.settings, key) == value
        for camera in written["cameras"]:
            for key, value in written.get(camera, {}).items():
                assert getattr(node._cameras.inputs[camera].topics, key) == value
    finally:
        node.destroy_node()


def test_transport_is_found_out(track: Track) -> None:
    """At first nobody publishes, and the first image tells; then the graph does."""
    node, robot = track(compressed=("right",), right__transport="auto")
    raw = {f"/{name}/image_raw" for name in CAMERAS}
    compressed = {f"{topic}/compressed" for topic in raw}
    used = raw - {"/right/image_raw"} | {"/right/image_raw/compressed"}

    def heard() -> set[str]:
        return {s.topic_name for s in node.subscriptions} & (raw | compressed)

    assert heard() == raw | compressed
    assert robot.ask(0).faces[0].views == list(CAMERAS)
    assert robot.wait(lambda: heard() == used)
    assert change(robot, Transition.TRANSITION_DEACTIVATE)
    assert heard() == set()
    assert change(robot, Transition.TRANSITION_ACTIVATE)
    assert heard() == used
