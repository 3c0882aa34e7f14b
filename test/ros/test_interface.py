"""What the nodes offer is what the page, the parameters' descriptions and the policy say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rclpy.parameter import Parameter
from ros_world import Robot, Running, fake_networks, make_world

from flowface_ros.camera.rig import Rig
from flowface_ros.camera.rig_yaml import write_rig_yaml
from flowface_ros.ros import settings
from flowface_ros.ros.parameters import CameraTopics
from flowface_ros.ros.rig_node import RigNode
from flowface_ros.ros.topics import PUBLISHED, SUBSCRIBED, Topic

ROOT = Path(__file__).parents[2]

KINDS = ("tracker", "aligner", "fitter")
CAMERAS = ("left", "right")
OF_ALL = {"/parameter_events", "/rosout"}
"""What rclpy publishes by itself."""


@dataclass
class NodeUnderTest:
    """kind: tracker, aligner or fitter."""

    kind: str
    node: Any


NUMBERS = count()
"""Of the nodes: the graph may remember one of an earlier test for a while, and take it for ours."""


@pytest.fixture(params=KINDS)
def tested(request: pytest.FixtureRequest, context: None) -> Iterator[NodeUnderTest]:
    """A running node with a raw and a compressed camera, on simulated time."""
    kind = request.param
    node_class = getattr(import_module(f"flowface_ros.ros.{kind}_node"), f"{kind.title()}Node")
    networks = {} if kind == "fitter" else {"networks": fake_networks(make_world())}
    values = {"cameras": list(CAMERAS), "use_sim_time": True}
    if kind != "fitter":
        values |= {"left.transport": "raw", "right.transport": "compressed"}
    arguments = {"cli_args": ["--ros-args", "-r", f"__node:={kind}_{next(NUMBERS)}"]}
    running = Running(lambda **options: node_class(**networks, **options, **arguments), **values)
    assert running.started
    yield NodeUnderTest(kind, running.node)
    running.close()


def names(topics: tuple[Topic, ...], node: str) -> set[str]:
    """Of all cameras, as the graph has them."""
    found = {topic.of(camera).replace("~", node) for topic in topics for camera in CAMERAS}
    return {name if name.startswith("/") else f"/{name}" for name in found}


def graph_of(node: Any) -> dict[str, set[str]]:
    """Topics and services of a node, as another one sees them."""
    robot = Robot(make_world([]))
    own = {
        "publish": {p.topic_name for p in node.publishers},
        "subscribe": {s.topic_name for s in node.subscriptions},
        "reply": {s.service_name for s in node.services},
    }
    whose = node.get_name(), node.get_namespace()

    def seen() -> dict[str, set[str]]:
        graph = robot.node
        return {
            "publish": {n for n, _ in graph.get_publisher_names_and_types_by_node(*whose)},
            "subscribe": {n for n, _ in graph.get_subscriber_names_and_types_by_node(*whose)},
            "reply": {n for n, _ in graph.get_service_names_and_types_by_node(*whose)},
        }

    try:
        assert robot.wait(lambda: whose in robot.node.get_node_names_and_namespaces())
        complete = robot.wait(lambda: all(own[kind] <= seen()[kind] for kind in own))
        missing = {kind: own[kind] - seen()[kind] for kind in own}
        assert complete, f"{missing} missing; nodes {robot.node.get_node_names()}"
        return seen()
    finally:
        robot.close()


def test_the_topics_of_the_page_are_those_of_the_graph(tested: NodeUnderTest) -> None:
    kind, name, graph = tested.kind, tested.node.get_name(), graph_of(tested.node)
    assert graph["publish"] - OF_ALL == names(PUBLISHED[kind], name) | {f"/{name}/transition_event"}
    inputs = names(SUBSCRIBED[kind], name)
    if kind != "fitter":
        inputs -= {"/left/image_raw/compressed", "/right/image_raw"}
    assert graph["subscribe"] - OF_ALL - {"/clock"} == inputs


NOT_ALWAYS = {
    "/left/image_raw/compressed",
    "/right/image_raw",
    "/parameter_events",
    "/humans/faces/*",
}
"""What a node may use, and the one under test does not."""


def check_policy(kind: str, node: Any) -> None:
    """The policy must allow what the node uses, and no more."""
    name, graph = node.get_name(), graph_of(node)
    policy = ElementTree.parse(ROOT / "config/sros2_policy.xml").getroot()
    (profile,) = policy.iterfind(f".//profile[@node='{kind}']")
    for right, entry in (("publish", "topic"), ("subscribe", "topic"), ("reply", "service")):
        texts = [e.text.replace("~", name) for e in profile.iterfind(f"{entry}s[@{right}]/{entry}")]
        allowed = {text if text.startswith("/") else f"/{text}" for text in texts}
        assert len(allowed) == len(texts)
        assert graph[right] <= allowed
        assert allowed - graph[right] <= NOT_ALWAYS


def test_the_security_policy_allows_what_a_node_uses_and_no_more(tested: NodeUnderTest) -> None:
    check_policy(tested.kind, tested.node)


def test_the_same_of_the_rig(context: None, tmp_path: Path) -> None:
    file = tmp_path / "rig.yaml"
    cameras = tuple(replace(c, frame=f"{c.name}_optical") for c in make_world(CAMERAS).cameras)
    write_rig_yaml(file, Rig(cameras, "rig"))
    values = {"rig_file": str(file), "info": "all", "use_sim_time": True}
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    node = RigNode(parameter_overrides=overrides)
    try:
        check_policy("rig", node)
    finally:
        node.destroy_node()


def test_every_parameter_is_described_and_bounded(tested: NodeUnderTest) -> None:
    node = tested.node
    own = [
        name for name in node._parameters
        if name != "use_sim_time" and not name.startswith(("qos_overrides", "start_type"))
    ]  # fmt: skip
    assert len(own) > 10
    for descriptor in node.describe_parameters(own):
        assert descriptor.description, descriptor.name
        if node.get_parameter(descriptor.name).type_ in (
            Parameter.Type.INTEGER,
            Parameter.Type.DOUBLE,
        ):
            assert descriptor.integer_range or descriptor.floating_point_range, descriptor.name


@pytest.mark.parametrize(
    "kind", [settings.TrackerSettings, settings.AlignerSettings, settings.FitterSettings,
             settings.RigSettings, settings.AlignmentTopic, CameraTopics],
)  # fmt: skip
def test_every_field_of_the_settings_is_a_parameter(kind: type) -> None:
    assert all(field.metadata["description"] for field in fields(kind))
