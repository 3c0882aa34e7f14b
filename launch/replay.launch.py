"""A recorded bag and a tracker on its time.

ros2 launch flowface_ros replay.launch.py bag:=recording.mcap cameras:=left,center,right
"""

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

ARGUMENTS = (
    ("bag", None, "rosbag2 recording: directory, .mcap or .db3"),
    ("rate", "1.0", "pace, 1 is as recorded"),
    ("loop", "false", "play for ever"),
    ("player", "flowface", "flowface, which waits for the tracker, or ros2 (ros2 bag play)"),
    ("cameras", "", "names of the cameras, separated by commas, primary first"),
    ("rig_frame", "", "frame of the results; empty: the first camera's"),
    ("transport", "", "auto, raw or compressed, of all cameras"),
    ("params_file", "", "parameter file; arguments that are given win over it"),
    ("namespace", "", "of the node, and so of the cameras' topics"),
    ("device", "", "auto, cpu, cuda:N or tensorrt:N"),
    ("log_level", "info", "debug, info, warn, error or fatal"),
)
WAIT_S = "180"
"""For the tracker's first start, which compiles."""
OF_TRACKER = (
    "cameras",
    "rig_frame",
    "transport",
    "params_file",
    "namespace",
    "device",
    "log_level",
)


def nodes(context: LaunchContext) -> list:
    value = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    player = _player(value)
    tracker = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(Path(__file__).parent / "tracker.launch.py")),
        launch_arguments=[
            *((name, value[name]) for name in OF_TRACKER),
            ("use_sim_time", "true"),
        ],
    )
    done = EmitEvent(event=Shutdown(reason="the bag is at its end"))
    return [
        tracker,
        player,
        RegisterEventHandler(OnProcessExit(target_action=player, on_exit=[done])),
    ]


def _player(value: dict[str, str]) -> ExecuteProcess:
    loop = value["loop"].lower() == "true"
    if value["player"] == "ros2":
        command = ["ros2", "bag", "play", value["bag"], "--clock", "100", "--rate", value["rate"]]
        return ExecuteProcess(cmd=[*command, *(["--loop"] if loop else [])], output="screen")
    times = "0" if loop else "1"
    wait = ["--wait", WAIT_S]
    arguments = [value["bag"], "--clock", "--rate", value["rate"], "--loop", times, *wait]
    return Node(
        package="flowface_ros", executable="player", name="player", arguments=arguments,
        output="screen",
    )  # fmt: skip


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=nodes)])
