"""Every test run has its own ROS domain, on this machine alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# pytest's importlib mode has no package for helpers that tests share.
sys.path.insert(0, str(Path(__file__).parent))

rclpy = pytest.importorskip("rclpy", reason="rclpy is not installed")

PROFILE = Path(__file__).parents[2] / "config/fastdds.xml"
DIAGNOSTICS_S = 0.1
"""Between two reports of a node in this process; nobody waits a second for each."""


@pytest.fixture(scope="session", autouse=True)
def ros_domain() -> Iterator[None]:
    """A domain of its own for this process and those it starts."""
    from flowface_ros.ros.free_domain import free_domain

    with free_domain() as domain, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_DOMAIN_ID", str(domain))
        patch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        patch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", str(PROFILE))
        yield


@pytest.fixture
def node(ros_domain: None) -> Iterator[rclpy.node.Node]:
    """A node of the test's own, in a running context."""
    rclpy.init()
    node = rclpy.create_node("test_node")
    yield node
    node.destroy_node()
    rclpy.shutdown()


@pytest.fixture
def context(ros_domain: None) -> Iterator[None]:
    """A running context."""
    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture
def track(
    context: None, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Any]]:
    """Makes a tracker that runs, with fake networks, and a robot that is connected to it.

    track(world, compressed=(), start=True, networks=None, mount=True, **parameters)

    Nothing depends on how fast the machine is: images come reliably, and sets wait for theirs.
    """
    from ros_world import CAMERAS, RIG_FRAME, Robot, Running, fake_networks, make_world

    from flowface_ros.ros import guard, lifecycle
    from flowface_ros.ros.counters import Throttle
    from flowface_ros.ros.tracker_node import TrackerNode

    monkeypatch.setattr(lifecycle, "_DIAGNOSTICS_S", DIAGNOSTICS_S)
    monkeypatch.setattr(guard, "Throttle", lambda: Throttle(period_s=3600.0))
    opened: list[Any] = []

    def make(
        world: Any = None,
        *,
        compressed: tuple[str, ...] = (),
        start: bool = True,
        networks: Any = None,
        mount: bool = True,
        connect: bool = True,
        name: str = "tracker",
        **parameters: Any,
    ) -> tuple[Any, Any]:
        world = world or make_world(CAMERAS)
        names = [camera.name for camera in world.cameras]
        values = {"cameras": names, "rig_frame": RIG_FRAME, "max_wait": 5.0}
        values |= {f"{name}.reliability": "reliable" for name in names}
        values |= {f"{name}.transport": "compressed" for name in compressed}
        values |= {name.replace("__", "."): value for name, value in parameters.items()}
        networks = networks or fake_networks(world)
        options = {"cli_args": ["--ros-args", "-r", f"__node:={name}"]}
        running = Running(lambda **o: TrackerNode(networks, **o, **options), start, **values)
        opened.append(running)
        robot = Robot(world, running.node, compressed, lambda: capfd.readouterr().err)
        opened.append(robot)
        if mount:
            robot.mount()
        if connect:
            robot.connect()
        return running.node, robot

    yield make
    for item in reversed(opened):
        item.close()


@pytest.fixture(scope="session")
def world_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bag of the world that the fake networks know, of `ros_world.BAG_SETS` sets."""
    from ros_world import BAG_SETS, write_world_bag

    path = tmp_path_factory.mktemp("bag") / "world.mcap"
    write_world_bag(path, BAG_SETS)
    return path
