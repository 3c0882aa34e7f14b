"""Aligners near their cameras and one fitter, on one machine or on several.

Each group of cameras has an aligner called aligner_<first camera>; the fitter takes all. Start the
same file on every machine and say what runs there:

ros2 launch flowface_ros distributed.launch.py groups:="left;center,right" here:=aligner_left
ros2 launch flowface_ros distributed.launch.py groups:="left;center,right" here:=aligner_center
ros2 launch flowface_ros distributed.launch.py groups:="left;center,right" here:=fitter
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

ARGUMENTS = (
    ("groups", None, "cameras of each aligner: names with commas, groups with semicolons"),
    ("here", "all", "what runs on this machine: names with commas, or all"),
    ("rig_frame", "", "frame of the results; empty: the first camera's"),
    ("transport", "", "auto, raw or compressed, of all cameras"),
    ("params_file", "", "parameter file of all nodes; arguments that are given win over it"),
    ("namespace", "", "of the nodes, and so of the cameras' topics"),
    ("device", "", "of the aligners: auto, cpu, cuda:N or tensorrt:N"),
    ("use_sim_time", "", "true: take the time from /clock"),
    ("log_level", "info", "debug, info, warn, error or fatal"),
)


def nodes(context: LaunchContext) -> list[Node]:
    value = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    groups = [
        [name.strip() for name in group.split(",") if name.strip()]
        for group in value["groups"].split(";")
        if group.strip(" ,")
    ]
    if not groups:
        raise ValueError('groups is empty, must name cameras, such as "left;center,right"')
    parameters = {f"aligner_{group[0]}": _aligner(group, value) for group in groups}
    cameras = [name for group in groups for name in group]
    parameters["fitter"] = {"cameras": cameras, **_given(value, "rig_frame")}
    here = [name.strip() for name in value["here"].split(",")]
    chosen = list(parameters) if here == ["all"] else here
    if strangers := sorted(set(chosen) - set(parameters)):
        raise ValueError(f"here has {', '.join(strangers)}; there are {', '.join(parameters)}")
    if value["use_sim_time"]:
        for of_node in parameters.values():
            of_node["use_sim_time"] = value["use_sim_time"].lower() == "true"
    return [
        Node(
            package="flowface_ros",
            executable=name.split("_")[0],
            name=name,
            namespace=value["namespace"],
            parameters=[*filter(None, [value["params_file"]]), parameters[name]],
            arguments=["--ros-args", "--log-level", f"{name}:={value['log_level']}"],
            output="screen",
            emulate_tty=True,
        )
        for name in chosen
    ]


def _aligner(group: list[str], value: dict[str, str]) -> dict:
    transports = {f"{name}.transport": value["transport"] for name in group if value["transport"]}
    return {"cameras": group, **_given(value, "device"), **transports}


def _given(value: dict[str, str], name: str) -> dict[str, str]:
    return {name: value[name]} if value[name] else {}


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=nodes)])
