"""The launch files under the real launch and launch_ros, where these are installed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rcl_interfaces.srv import GetParameters
from ros_recorder import Recorder
from ros_world import CAMERAS, RIG_FRAME, frame_of, make_world

from flowface_ros.camera.kalibr_yaml import write_kalibr_yaml
from flowface_ros.camera.rig import Rig
from flowface_ros.camera.rig_yaml import write_rig_yaml

pytest.importorskip("launch_ros.actions", reason="launch_ros is not installed")

LAUNCH = Path(__file__).parents[2] / "launch"
SERVICE = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import AnyLaunchDescriptionSource
arguments = [tuple(argument.split(":=", 1)) for argument in sys.argv[2:]]
included = IncludeLaunchDescription(
    AnyLaunchDescriptionSource(sys.argv[1]), launch_arguments=arguments
)
service = LaunchService()
service.include_launch_description(LaunchDescription([included]))
sys.exit(service.run())
"""


@contextmanager
def launched(file: str, **arguments: Any) -> Iterator[subprocess.Popen]:
    """`ros2 launch flowface_ros FILE ...` until the end of the block."""
    pairs = [f"{name}:={value}" for name, value in arguments.items()]
    command = [sys.executable, "-c", SERVICE, str(LAUNCH / file), *pairs]
    running = subprocess.Popen(command, start_new_session=True)
    try:
        yield running
        if running.poll() is None:
            running.send_signal(signal.SIGINT)
        assert running.wait(timeout=30) == 0
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()


def test_tracker(node: Any, world_bag: Path, tmp_path: Path) -> None:
    parameters = tmp_path / "parameters.yaml"
    parameters.write_text("/**:\n  ros__parameters:\n    max_faces: 2\n    slop: 0.02\n")
    recorder = Recorder(node, "tracker")
    with (
        launched("tracker.launch.py", cameras=",".join(CAMERAS), params_file=parameters),
        player(world_bag),
    ):
        assert recorder.spin_until(lambda: recorder.faces)
    assert recorder.faces[0].header.frame_id == frame_of("left")


@contextmanager
def player(bag: Path, *topics: str) -> Iterator[None]:
    chosen = ["--topics", *topics] if topics else []
    command = [
        sys.executable,
        "-m",
        "flowface_ros.ros.player",
        str(bag),
        "--loop",
        "0",
        "--wait",
        "60",
    ]
    running = subprocess.Popen([*command, *chosen], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        running.kill()
        running.wait()


@pytest.mark.parametrize("kind", ["rig", "kalibr"])
def test_rig_without_tf_and_camera_info(
    node: Any,
    world_bag: Path,
    tmp_path: Path,
    kind: str,
) -> None:
    cameras = tuple(replace(c, frame=frame_of(c.name)) for c in make_world().cameras)
    file = tmp_path / "rig.yaml"
    write = write_rig_yaml if kind == "rig" else write_kalibr_yaml
    write(file, Rig(cameras, RIG_FRAME))
    drivers = tmp_path / "drivers.launch.py"
    command = [
        sys.executable, "-m", "flowface_ros.ros.player", str(world_bag), "--loop", "0",
        "--wait", "60", "--topics", *(f"/{name}/image_raw" for name in CAMERAS),
    ]  # fmt: skip
    drivers.write_text(
        "from launch import LaunchDescription\nfrom launch.actions import ExecuteProcess\n\n\n"
        "def generate_launch_description():\n"
        f"    return LaunchDescription([ExecuteProcess(cmd={command!r})])\n"
    )
    parameters = tmp_path / "parameters.yaml"
    parameters.write_text("/**:\n  ros__parameters:\n    device: cpu\n    max_faces: 2\n")
    recorder = Recorder(node, "tracker")
    arguments = {"rig_file": file, "info": "all", "drivers": drivers}
    with launched("rig.launch.py", params_file=parameters, **arguments):
        assert recorder.spin_until(lambda: recorder.faces)
        assert recorder.faces[0].header.frame_id == RIG_FRAME
        assert parameter_of(node, recorder, "device") == "cpu", "not the argument's default"


def parameter_of(node: Any, recorder: Recorder, name: str) -> str:
    """What the tracker has for a text parameter."""
    client = node.create_client(GetParameters, "/tracker/get_parameters")
    assert recorder.spin_until(client.service_is_ready)
    future = client.call_async(GetParameters.Request(names=[name]))
    assert recorder.spin_until(future.done)
    return future.result().values[0].string_value


@pytest.mark.parametrize("groups", ["", ";,"])
def test_distributed_without_cameras_is_refused(groups: str) -> None:
    command = [sys.executable, "-c", SERVICE, str(LAUNCH / "distributed.launch.py")]
    result = subprocess.run([*command, f"groups:={groups}"], capture_output=True, text=True)
    assert result.returncode == 1
    assert "groups is empty, must name cameras" in result.stdout


def test_distributed(node: Any, world_bag: Path) -> None:
    recorder = Recorder(node, "fitter")
    arguments = {"groups": "left;center,right", "rig_frame": RIG_FRAME}
    with (
        launched("distributed.launch.py", here="aligner_left", **arguments),
        launched("distributed.launch.py", here="aligner_center,fitter", **arguments),
        player(world_bag),
    ):
        assert recorder.spin_until(lambda: recorder.faces)
        names = set(node.get_node_names())
        assert {"aligner_left", "aligner_center", "fitter"} <= names


def test_replay_ends_with_the_bag(node: Any, world_bag: Path) -> None:
    recorder = Recorder(node, "tracker")
    arguments = {"bag": world_bag, "cameras": ",".join(CAMERAS), "rig_frame": RIG_FRAME}
    with launched("replay.launch.py", player="flowface", rate=0.3, **arguments) as running:
        assert recorder.spin_until(lambda: running.poll() is not None)
    assert recorder.faces
