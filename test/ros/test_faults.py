"""Everything that cameras, clocks, TF, devices and users do to a running node: one row, one test.

The networks are fakes that know the true heads; the node, DDS and all messages are real.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_world import (
    CAMERAS,
    LATCHED,
    PATIENCE_S,
    RIG_FRAME,
    Robot,
    fake_networks,
    frame_of,
    make_world,
)
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from flowface_ros.align.onnx_session import DeviceError
from flowface_ros.bag.face_messages import read_face, stamp_ns
from flowface_ros.msg import FaceArray
from flowface_ros.ros import camera_set
from flowface_ros.ros.face_states import heads_of_faces
from flowface_ros.track.tracked_head import face_pose

Track = Callable[..., tuple[Any, Robot]]

ERROR = DiagnosticStatus.ERROR
MM = 1e-3
SHORT_S = 0.5
"""Wait for views and transforms that will not come."""


def error_m(robot: Robot, faces: FaceArray) -> float:
    """Distance of the published head from the true one."""
    truth = robot.world.states((stamp_ns(faces) - 10**15) * 1e-9)[0]
    face = read_face(faces.faces[0])
    return float(
        np.linalg.norm(face.rig_from_face[:3, 3] - face_pose(robot.world.model, truth)[:3, 3])
    )


def set_parameter(node: Any, name: str, value: Any) -> None:
    (result,) = node.set_parameters([Parameter(name, value=value)])
    assert result.successful


def only(camera: str, edit: Callable[[Any, Any], tuple[Any, Any]]) -> Any:
    """A change of one camera's image and CameraInfo."""

    def change(name: str, image: Any, info: Any) -> tuple[Any, Any]:
        return edit(image, info) if name == camera else (image, info)

    return change


def with_fields(message: Any, **fields: Any) -> Any:
    for name, value in fields.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"k": np.zeros(9)}, "focal length"),
        ({"k": np.full(9, np.nan)}, "finite"),
        ({"distortion_model": "origami"}, "origami"),
    ],
)
def test_unusable_calibration(track: Track, fields: dict[str, Any], cause: str) -> None:
    _, robot = track()
    change = only("left", lambda image, info: (image, with_fields(info, **fields)))
    for faces in robot.follow(4, change=change):
        assert faces.faces[0].views == ["center", "right"]
    status = robot.report("camera left")
    assert status.level == ERROR
    assert cause in status.message
    assert robot.counts("dropped: bad_camera_info", 4, "camera left")
    assert robot.logged("'left'", cause)
    assert sum("'left'" in line and cause in line for line in robot.logs) == 1, "throttled"


def test_camera_info_of_another_size(track: Track) -> None:
    _, robot = track()

    def binned(image: Any, info: Any) -> tuple[Any, Any]:
        return image, with_fields(info, binning_x=2, binning_y=2)

    for faces in robot.follow(3, change=only("right", binned)):
        assert faces.faces[0].views == ["left", "center"]
    assert robot.logged("640x480", "320x240", "'right'")
    assert robot.counts("dropped: size_mismatch", 3, "camera right")


def test_calibration_changes_mid_run(track: Track) -> None:
    _, robot = track()
    robot.follow(4)
    camera = robot.world.cameras[0]
    zoomed = camera.intrinsics.copy()
    zoomed[[0, 1], [0, 1]] *= 1.3
    robot.world.cameras[0] = replace(camera, intrinsics=zoomed)
    for faces in robot.follow(4, start=4):
        assert faces.faces[0].views == list(CAMERAS)
        assert error_m(robot, faces) < 2 * MM
    assert robot.logged("'left'", "new calibration", "fx 550.0", "fx 715.0")


def test_frames_of_image_and_camera_info_differ(track: Track) -> None:
    _, robot = track()

    def rename(image: Any, info: Any) -> tuple[Any, Any]:
        info.header.frame_id = "somewhere_else"
        return image, info

    assert robot.follow(2, change=only("left", rename))[0].faces[0].views == list(CAMERAS)
    assert robot.logged("left_optical_frame", "somewhere_else")


def test_images_without_camera_info(track: Track, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_set, "_PATIENCE_S", 2.0)
    _, robot = track()
    change = only("left", lambda image, info: (image, None))
    assert robot.ask(0, change=change).faces[0].views == ["center", "right"]
    assert robot.logged("no CameraInfo on /left/camera_info")
    assert robot.counts("dropped: no_camera_info", 1, "camera left")


def test_camera_info_without_images(track: Track, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_set, "_PATIENCE_S", 2.0)
    _, robot = track()
    change = only("left", lambda image, info: (None, info))
    robot.send(0, change=change)
    assert robot.logged("no image on /left/image_raw")
    values = {v.key: v.value for v in robot.report("camera left").values}
    assert (values["images"], values["CameraInfo"]) == ("0", "1")


def test_broken_images(track: Track) -> None:
    _, robot = track(compressed=("right",))
    broken = {
        "unknown encoding": {"encoding": "smellovision"},
        "short data": {"data": array("B", bytes(100))},
        "zero size": {"width": 0, "height": 0},
    }
    for index, fields in enumerate(broken.values()):
        change = only("left", lambda image, info, f=fields: (with_fields(image, **f), info))
        faces = robot.ask(index, change=change)
        assert faces.faces[0].views == ["center", "right"]
    corrupt = only("right", lambda image, info: (with_fields(image, data=image.data[:60]), info))
    assert robot.ask(3, change=corrupt).faces[0].views == ["left", "center"]
    assert robot.counts("dropped: bad_image", 3, "camera left")
    assert robot.counts("dropped: bad_image", 1, "camera right")
    assert robot.ask(4).faces[0].views == list(CAMERAS)


def test_nan_in_a_result(track: Track) -> None:
    node, robot = track()
    robot.follow(3)
    update, poisoned = node._core.update, []

    def poison(frames: Any) -> Any:
        result = update(frames)
        if poisoned:
            return result
        poisoned.append(result)
        heads = [
            replace(h, state=replace(h.state, jaw=np.array([np.nan, 0, 0]))) for h in result.heads
        ]
        return replace(result, heads=tuple(heads))

    node._core.update = poison
    first, *later = robot.follow(4, start=3)
    assert not first.faces
    assert later[0].faces[0].id == "p2", "the old head is lost"
    assert robot.counts("events: not_finite", 1)
    assert all(
        np.isfinite(t.transform.translation.x) and np.isfinite(t.transform.rotation.w)
        for t in robot.transforms
    )


def test_clock_jumps_back_in_a_bag_loop(track: Track) -> None:
    _, robot = track()
    loops = []
    for _ in range(2):
        robot.faces.clear()
        loops.append(robot.follow(20))
    ids = [{face.id for faces in loop for face in faces.faces} for loop in loops]
    assert ids == [{"p1"}, {"p2"}]
    for first, second in zip(*loops, strict=True):
        second.faces[0].id = first.faces[0].id
        assert second == first
    jumps = [line for line in robot.logs if "time jumped back" in line]
    assert len(jumps) == 1


def test_a_jump_forgets_moving_transforms(track: Track) -> None:
    _node, robot = track(mount=False, max_wait=SHORT_S)
    robot.mount(["left", "center"])

    def move(index: int) -> None:
        camera = robot.world.cameras[2]
        stamp = robot.world.frames(index)[0].stamp_ns
        pose = (RIG_FRAME, frame_of("right"), camera.rig_from_camera, stamp)
        robot.place([pose], moving=True)

    for index in range(20, 23):
        move(index)
        assert robot.ask(index).faces[0].views == list(CAMERAS)
    faces = robot.ask(0)
    assert faces.faces[0].views == ["left", "center"], "nothing says where right was at that time"
    move(1)
    assert robot.ask(1).faces[0].views == list(CAMERAS)


def test_clock_is_not_there_yet(track: Track) -> None:
    from rosgraph_msgs.msg import Clock

    node, robot = track(use_sim_time=True)
    robot.send(0)
    assert robot.logged("/clock", "waiting")
    assert not robot.faces
    assert robot.counts("dropped: no_clock", 1, "camera left")
    clock = robot.node.create_publisher(Clock, "/clock", 10)
    tick = Clock()
    tick.clock.sec = 10**6
    assert robot.wait(lambda: clock.get_subscription_count())

    def ticking() -> bool:
        clock.publish(tick)
        return node.get_clock().now().nanoseconds > 0

    assert robot.wait(ticking)
    assert robot.ask(1).faces[0].views == list(CAMERAS)


def test_transform_missing(track: Track) -> None:
    _, robot = track(mount=False, max_wait=SHORT_S)
    robot.mount(["left", "center"])
    for faces in robot.follow(3):
        assert faces.header.frame_id == RIG_FRAME
        assert faces.faces[0].views == ["left", "center"]
    assert robot.logged("right_optical_frame", RIG_FRAME)
    assert robot.counts("dropped: no_transform", 3, "camera right")
    robot.mount()
    assert robot.ask(3).faces[0].views == list(CAMERAS)


def test_no_transform_at_all_gives_no_invented_output(track: Track) -> None:
    _, robot = track(make_world(["center"]), mount=False, max_wait=SHORT_S)
    robot.send(0)
    assert robot.counts("dropped sets: too_few_views", 1)
    assert not robot.faces


def test_cameras_with_identical_extrinsics(track: Track) -> None:
    _, robot = track(mount=False)
    pose = robot.world.cameras[0].rig_from_camera
    frames = [(RIG_FRAME, frame_of(name), pose, 0) for name in CAMERAS[:2]]
    right = robot.world.cameras[2]
    frames.append((RIG_FRAME, frame_of("right"), right.rig_from_camera, 0))
    robot.place(frames)
    robot.send(0)
    assert robot.logged("'left' and 'center'", "same rig_from_camera")
    assert robot.report().level == ERROR
    assert robot.counts("dropped sets: identical_cameras", 1)
    assert not robot.faces


def test_camera_drops_out_and_comes_back(track: Track) -> None:
    node, robot = track()
    before = robot.follow(10)[-1]
    set_parameter(node, "max_wait", SHORT_S)
    two = robot.follow(30, start=10, cameras=["left", "center"])
    assert two[-1].faces[0].views == ["left", "center"]
    assert two[-1].faces[0].id == before.faces[0].id

    def position_variance(faces: FaceArray) -> float:
        return float(np.trace(read_face(faces.faces[0]).pose_covariance[:3, :3]))

    assert position_variance(two[-1]) > position_variance(before)
    assert robot.logged("'right'", "no image for")
    set_parameter(node, "max_wait", 5.0)
    after = robot.follow(6, start=40)
    assert after[-1].faces[0].views == list(CAMERAS)
    index = iter(range(46, 1000))
    assert robot.wait(lambda: robot.ask(next(index)) and robot.has_logged("'right' is back"))


def test_fewer_views_than_min_views(track: Track) -> None:
    node, robot = track(min_views=2)
    robot.follow(2)
    set_parameter(node, "max_wait", SHORT_S)
    robot.send(2, cameras=["left"])
    assert robot.counts("dropped: incomplete", 1, "camera left")
    assert len(robot.faces) == 2


def test_a_head_in_fewer_views_than_min_views_is_still_tracked(track: Track) -> None:
    """A set must have the views, a head need not be seen in each."""
    world = make_world()
    world.blind = lambda camera, t: camera != "center"
    _, robot = track(world, min_views=3)
    for faces in robot.follow(5):
        assert faces.faces[0].views == ["center"]


def test_late_stamps_and_wide_spread(track: Track) -> None:
    world = make_world()
    world.offset_ns = {"right": 6_000_000, "center": 3_000_000}
    node, robot = track(world)
    for faces in robot.follow(3):
        assert faces.faces[0].stamp_spread_s == pytest.approx(0.006)
    set_parameter(node, "max_wait", SHORT_S)
    world.offset_ns = {"right": 16_000_000}
    answers = [robot.ask(3), robot.ask(4)]
    assert all(len(faces.faces[0].views) < 3 for faces in answers)
    world.offset_ns = {}
    assert robot.ask(6, cameras=["left", "center"]).faces[0].views == ["left", "center"]
    robot.send(6, cameras=["right"])
    assert robot.counts("dropped: late", 1, "camera right")


def test_duplicate_and_old_stamps(track: Track) -> None:
    _, robot = track()
    robot.follow(5)
    robot.send(4)
    robot.send(2)
    robot.ask(5)
    assert robot.counts("dropped: duplicate", 1, "camera left")
    assert robot.counts("dropped: old", 1, "camera left")
    stamps = [(t.child_frame_id, stamp_ns(t)) for t in robot.transforms]
    assert len(set(stamps)) == len(stamps)
    assert len(robot.faces) == 6


def test_slow_device_newest_set_wins(track: Track) -> None:
    world, busy, free = make_world(), threading.Event(), threading.Event()

    def work() -> None:
        busy.set()
        assert free.wait(PATIENCE_S)

    node, robot = track(world, networks=fake_networks(world, before=work))
    robot.send(0)
    assert busy.wait(PATIENCE_S)
    sent = 20
    for index in range(1, sent):
        robot.send(index)
    assert robot.wait(lambda: node._collector.released == sent)
    free.set()
    newest = robot.world.frames(sent - 1)[0].stamp_ns
    assert robot.wait(lambda: robot.faces and stamp_ns(robot.faces[-1]) == newest)
    assert len(robot.faces) == 2, "the one it worked on, and the newest"
    assert node.set_drops() == {"superseded": sent - 2}


def test_exception_in_a_callback(track: Track) -> None:
    node, robot = track()
    robot.follow(2)
    collector_add, failed = node._collector._sync.add, []

    def fail_once(*arguments: Any) -> Any:
        if not failed:
            failed.append(True)
            raise KeyError("boom")
        return collector_add(*arguments)

    node._collector._sync.add = fail_once
    robot.send(2)
    assert robot.ask(3).faces[0].views == list(CAMERAS)
    assert robot.counts("callbacks: exception", 1)
    assert robot.logged("boom", "Traceback")


def test_exception_in_the_worker(track: Track) -> None:
    world, fails = make_world(), [False]

    def before() -> None:
        if fails[0]:
            fails[0] = False
            raise IndexError("boom")

    _, robot = track(world, networks=fake_networks(world, before))
    robot.follow(2)
    fails[0] = True
    robot.send(2)
    assert robot.counts("dropped sets: exception", 1)
    assert robot.ask(3).faces[0].views == list(CAMERAS)
    reset = robot.node.create_client(Trigger, "/tracker/reset")
    assert reset.wait_for_service(PATIENCE_S)
    assert robot.wait(reset.call_async(Trigger.Request()).done), "no lock is held"


def test_device_is_absent(track: Track) -> None:
    node, robot = track(networks=_real_networks(), device="cuda:7", connect=False)
    assert node._state_machine.current_state[1] == "inactive"
    status = robot.report()
    assert status.level == ERROR
    assert "cuda:7" in status.message


def test_device_is_absent_and_the_cpu_allowed(track: Track) -> None:
    world, asked = make_world(), []
    fake = fake_networks(world)

    def make(name: str, model: Any, *, device: str, **options: Any) -> Any:
        asked.append(device)
        if device != "cpu":
            raise DeviceError(f"device {device}: none here")
        return fake(None, model)[0]

    from flowface_ros.ros import device as device_module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device_module, "make_aligner", make)
        patch.setattr(device_module, "FaceFinder", lambda *a, **k: fake(None, world.model)[1])
        _node, robot = track(
            world, networks=_real_networks(), device="cuda:0", allow_cpu_fallback=True
        )
    assert asked == ["cuda:0", "cpu"]
    assert robot.report().hardware_id == "cpu"
    assert robot.ask(0).faces


def _real_networks() -> Any:
    from flowface_ros.ros.device import make_networks

    return make_networks


def test_gpu_out_of_memory(track: Track) -> None:
    world, batch_limit, batches = make_world(), [2], []
    fake = fake_networks(world)

    def make(settings: Any, model: Any) -> Any:
        aligner, finder = fake(settings, model)
        answer = aligner.align

        def align(pictures: Any, crops: Any) -> Any:
            size = sum(len(c) for c in crops)
            batches.append(size)
            if size > batch_limit[0]:
                raise RuntimeError("CUDA failure 2: out of memory ; GPU=0")
            return answer(pictures, crops)

        aligner.align = align
        return aligner, finder

    node, robot = track(world, networks=make)
    assert robot.ask(0).faces[0].views == list(CAMERAS)
    assert batches == [3, 1, 1, 1], "smaller, once"
    assert robot.logged("out of memory", "one face at a time")
    batch_limit[0] = 0
    robot.send(1)
    assert robot.wait(lambda: not node.active)
    assert robot.report().level == ERROR
    assert "out of memory" in robot.report().message
    assert node._state_machine.current_state[1] == "inactive"
    batch_limit[0] = 3
    node.trigger_activate()
    robot.connect()
    assert robot.ask(2).faces[0].views == list(CAMERAS)


def test_half_a_face_hidden(track: Track) -> None:
    """A hand before half of the face in one view: points there are wrong and claim to be right."""
    world, hidden = make_world(), [False]
    fake = fake_networks(world)

    def make(settings: Any, model: Any) -> Any:
        aligner, finder = fake(settings, model)
        answer = aligner.align

        def align(pictures: Any, crops: Any) -> Any:
            found = answer(pictures, crops)
            for picture, of_picture in zip(pictures, found, strict=True):
                for alignment in of_picture:
                    if hidden[0] and picture.camera == "center":
                        pixels = alignment.observation.pixels
                        covered = pixels[:, 0] > np.median(pixels[:, 0])
                        pixels[covered] += [45.0, 30.0]
            return found

        aligner.align = align
        return aligner, finder

    _, robot = track(world, networks=make)
    robot.follow(10)
    hidden[0] = True
    for faces in robot.follow(15, start=10):
        assert error_m(robot, faces) < 5 * MM
    hidden[0] = False
    after = robot.follow(10, start=25)
    assert after[-1].faces[0].id == "p1"
    assert after[-1].faces[0].views == list(CAMERAS)
    assert error_m(robot, after[-1]) < 2 * MM


def test_a_lost_head_is_detected_again(track: Track) -> None:
    world = make_world()
    _, robot = track(world)
    robot.follow(5)
    world.blind = lambda camera, t: True
    dark = robot.follow(20, start=5)
    assert {face.status for faces in dark for face in faces.faces} == {3}, "coasting, then nothing"
    assert not dark[-1].faces
    world.blind = lambda camera, t: False
    assert robot.follow(3, start=25)[-1].faces[0].id == "p2"


def test_bad_parameter(track: Track) -> None:
    node, robot = track()
    before = node.settings
    for name, value, reason in (
        ("slop", 7.0, "slop"),
        ("slop", float("nan"), "slop"),
        ("max_wait", -1.0, "max_wait"),
        ("cameras", ["one"], "read-only"),
        ("overlay_rate", "fast", "type"),
    ):
        (result,) = node.set_parameters([Parameter(name, value=value)])
        assert not result.successful
        assert reason in result.reason
    assert node.settings == before
    (result,) = node.set_parameters([Parameter("slop", value=0.02)])
    assert result.successful
    assert node.settings.slop == 0.02
    assert robot.ask(0).faces


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"cameras": ["left", "left"]}, "names must differ"),
        ({"cameras": ["a camera"]}, "letters"),
        ({"cameras": ["left"], "min_views": 2}, "min_views is 2"),
        ({"aligner": "magic"}, "magic"),
    ],
)
def test_bad_parameter_at_start(context: None, parameters: dict[str, Any], reason: str) -> None:
    from flowface_ros.ros.tracker_node import TrackerNode

    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    with pytest.raises(ValueError, match=reason):
        TrackerNode(parameter_overrides=overrides)


def test_deactivate_with_live_faces(track: Track) -> None:
    node, robot = track()
    robot.follow(4)
    robot.transforms.clear()
    node.trigger_deactivate()
    assert robot.wait(lambda: len(robot.faces) == 5)
    assert not robot.faces[-1].faces
    assert robot.faces[-1].header.frame_id == RIG_FRAME
    robot.send(5)
    node.trigger_activate()
    robot.connect()
    assert robot.ask(6).faces[0].views == list(CAMERAS)
    assert len(robot.faces) == 6, "nothing in between"
    assert {stamp_ns(t) for t in robot.transforms} == {stamp_ns(robot.faces[-1])}


def test_hostile_head_file(track: Track, tmp_path: Any) -> None:
    path, trace = tmp_path / "head.npz", tmp_path / "executed"
    _write_pickle(path, trace)
    node, robot = track(head_file=str(path), connect=False)
    assert node._state_machine.current_state[1] == "unconfigured"
    assert "head.npz" in robot.report().message
    assert not trace.exists()


def test_hostile_weights_file(track: Track, tmp_path: Any) -> None:
    path, trace = tmp_path / "weights.onnx", tmp_path / "executed"
    _write_pickle(path, trace)
    node, robot = track(
        networks=_real_networks(), aligner="network", weights=str(path), connect=False
    )
    assert node._state_machine.current_state[1] == "inactive"
    assert "weights.onnx" in robot.report().message
    assert not trace.exists()


def _write_pickle(path: Any, trace: Any) -> None:
    import pickle

    class Payload:
        def __reduce__(self) -> Any:
            return open, (str(trace), "w")

    path.write_bytes(pickle.dumps(Payload()))


def test_qos_that_does_not_match(track: Track) -> None:
    _, robot = track(make_world(["center"]), center__reliability="reliable", connect=False)
    unreliable = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    robot.node.create_publisher(Image, "/center/image_raw", unreliable)
    assert robot.logged("incompatible QoS", "/center/image_raw", "/center/camera_info", "/robot")
    assert "incompatible QoS on /center/image_raw" in robot.report().message


def test_qos_of_a_subscriber_that_does_not_match(track: Track) -> None:
    _, robot = track()
    robot.node.create_subscription(FaceArray, "/tracker/faces", lambda m: None, LATCHED)
    assert robot.logged("incompatible QoS", "/tracker/faces", "/robot")


def test_published_heads_can_be_read_back(track: Track) -> None:
    _, robot = track()
    faces = robot.follow(3)[-1]
    (head,) = heads_of_faces(robot.world.model, faces.faces)
    pose = face_pose(robot.world.model, head.state)
    assert np.allclose(pose, read_face(faces.faces[0]).rig_from_face, atol=1e-6)
