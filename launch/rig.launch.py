"""A calibrated rig from one file: static transforms, CameraInfo, camera drivers and the tracker.

ros2 launch flowface_ros rig.launch.py rig_file:=rig.yaml info:=all drivers:=cameras.launch.py
"""

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import AnyLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from flowface_ros.ros.rig_file import read_any_rig

ARGUMENTS = (
    ("rig_file", None, "rig YAML, or camchain of Kalibr"),
    ("info", "", "cameras whose driver has no CameraInfo, separated by commas, or all"),
    ("drivers", "", "launch files that start the cameras, separated by commas; empty: none"),
    ("transport", "", "auto, raw or compressed, of all cameras"),
    (
        "params_file",
        "",
        "parameter file of the tracker; the rig and arguments given win over it",
    ),
    ("namespace", "", "of the nodes, and so of the cameras' topics"),
    ("device", "", "auto, cpu, cuda:N or tensorrt:N"),
    ("use_sim_time", "", "true: take the time from /clock"),
    ("log_level", "info", "debug, info, warn, error or fatal"),
)


def nodes(context: LaunchContext) -> list:
    value = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    rig = read_any_rig(Path(value["rig_file"]).expanduser())
    sim_time = {}
    if value["use_sim_time"]:
        sim_time["use_sim_time"] = value["use_sim_time"].lower() == "true"
    common = {"package": "flowface_ros", "namespace": value["namespace"], "output": "screen"}
    tracker = {
        "cameras": list(rig.names),
        "rig_frame": rig.frame,
        **{f"{camera.name}.frame": camera.frame for camera in rig},
        **sim_time,
    }
    if value["device"]:
        tracker["device"] = value["device"]
    if value["transport"]:
        tracker |= {f"{name}.transport": value["transport"] for name in rig.names}
    drivers = [file.strip() for file in value["drivers"].split(",") if file.strip()]
    return [
        *(IncludeLaunchDescription(AnyLaunchDescriptionSource(file)) for file in drivers),
        Node(
            executable="rig",
            name="rig",
            parameters=[{"rig_file": value["rig_file"], "info": value["info"], **sim_time}],
            **common,
        ),
        Node(
            executable="tracker",
            name="tracker",
            parameters=[*filter(None, [value["params_file"]]), tracker],
            arguments=["--ros-args", "--log-level", f"tracker:={value['log_level']}"],
            emulate_tty=True,
            **common,
        ),
    ]


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=nodes)])
