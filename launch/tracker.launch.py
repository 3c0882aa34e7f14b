"""One tracker on cameras that publish their images, CameraInfo and transforms.

ros2 launch flowface_ros tracker.launch.py cameras:=left,right rig_frame:=head
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

ARGUMENTS = (
    ("cameras", "", "names of the cameras, separated by commas, primary first"),
    ("rig_frame", "", "frame of the results; empty: the first camera's"),
    ("transport", "", "auto, raw or compressed, of all cameras"),
    ("params_file", "", "parameter file; arguments that are given win over it"),
    ("namespace", "", "of the node, and so of the cameras' topics"),
    ("device", "", "auto, cpu, cuda:N or tensorrt:N"),
    ("use_sim_time", "", "true: take the time from /clock"),
    ("log_level", "info", "debug, info, warn, error or fatal"),
)


def tracker(context: LaunchContext) -> list[Node]:
    value = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    cameras = [name.strip() for name in value["cameras"].split(",") if name.strip()]
    given = {name: value[name] for name in ("rig_frame", "device") if value[name]}
    if cameras:
        given["cameras"] = cameras
    if value["transport"]:
        given |= {f"{name}.transport": value["transport"] for name in cameras or ["camera"]}
    if value["use_sim_time"]:
        given["use_sim_time"] = value["use_sim_time"].lower() == "true"
    return [
        Node(
            package="flowface_ros",
            executable="tracker",
            name="tracker",
            namespace=value["namespace"],
            parameters=[*filter(None, [value["params_file"], given])],
            arguments=["--ros-args", "--log-level", f"tracker:={value['log_level']}"],
            output="screen",
            emulate_tty=True,
        )
    ]


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=tracker)])
