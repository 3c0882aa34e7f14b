"""A tracker in its own process under random faults for a long time."""

from __future__ import annotations

import random
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from ros_recorder import process, ros_args
from ros_world import CAMERAS, PATIENCE_S, RIG_FRAME, Robot, make_world

HERE = Path(__file__).parent
PERIOD_S = 1 / 15
SETTLING = 4
"""How often each fault comes, half a minute in all, before memory is looked at."""
FAULTS = ("none", "dropout", "jump", "bad", "parameters", "restart", "storm", "no info")


class Soak:
    """Sends sets at 15 Hz, each second under another fault."""

    def __init__(self, robot: Robot, pid: int) -> None:
        self.robot, self._pid, self._random = robot, pid, random.Random(0)
        self._index = 0
        self._change_state = robot.node.create_client(ChangeState, "/tracker/change_state")
        self._set_parameters = robot.node.create_client(SetParameters, "/tracker/set_parameters")
        assert self._change_state.wait_for_service(PATIENCE_S)

    def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._second(self._random.choice(FAULTS))
        self.robot.faces.clear()

    def settle(self) -> None:
        """Every fault some times: then the memory that bursts and restarts need is there."""
        for _ in range(SETTLING):
            for fault in FAULTS:
                self._second(fault)
        self.robot.faces.clear()

    def restart(self) -> None:
        self._transition(Transition.TRANSITION_DEACTIVATE)
        self._transition(Transition.TRANSITION_ACTIVATE)

    def memory_kb(self) -> int:
        lines = Path(f"/proc/{self._pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))

    def threads(self) -> int:
        return len(list(Path(f"/proc/{self._pid}/task").iterdir()))

    def tracks(self) -> bool:
        self._index += 1
        faces = self.robot.try_to_ask(self._index, 2.0)
        return bool(faces and faces.faces and list(faces.faces[0].views) == list(CAMERAS))

    def _second(self, fault: str) -> None:
        cameras: Any = self._random.sample(CAMERAS, 2) if fault == "dropout" else None
        if fault == "jump":
            self._index = self._random.randrange(100)
        if fault == "parameters":
            self._parameters()
        if fault == "restart":
            self.restart()
        for _ in range(15):
            self._index += 1
            self.robot.send(self._index, cameras, change=self._change(fault))
            end = time.monotonic() + (0.0 if fault == "storm" else PERIOD_S)
            while time.monotonic() < end:
                rclpy.spin_once(self.robot.node, timeout_sec=0.01)

    def _change(self, fault: str) -> Any:
        pick = self._random

        def change(name: str, image: Any, info: Any) -> Any:
            if fault == "bad" and pick.random() < 0.5:
                image.data = array("B", pick.randbytes(100))
            if fault == "no info":
                info = None
            return image, info

        return change

    def _parameters(self) -> None:
        values = {
            "slop": self._random.uniform(0.005, 0.02),
            "max_wait": self._random.choice((0.02, 0.05, -1.0)),
        }
        request = SetParameters.Request(
            parameters=[Parameter(n, value=v).to_parameter_msg() for n, v in values.items()]
        )
        future = self._set_parameters.call_async(request)
        assert self.robot.wait(future.done), "parameters are not answered"

    def _transition(self, transition: int) -> None:
        request = ChangeState.Request(transition=Transition(id=transition))
        future = self._change_state.call_async(request)
        assert self.robot.wait(future.done), "the life cycle is not answered"
        assert future.result().success


@pytest.fixture
def soak(context: None) -> Iterator[Soak]:
    """A tracker in a process of its own that tracks."""
    arguments = ros_args(cameras=f"[{','.join(CAMERAS)}]", rig_frame=RIG_FRAME)
    robot = Robot(make_world())
    with process(HERE / "fake_node.py", "tracker", *arguments) as tracker:
        robot.connect()
        robot.mount()
        soak = Soak(robot, tracker.pid)
        assert robot.wait(soak.tracks)
        yield soak
    robot.close()


@pytest.mark.parametrize(
    "seconds", [30, pytest.param(1200, marks=pytest.mark.slow)], ids=["short", "long"]
)
def test_random_faults_leave_a_tracker_that_tracks(soak: Soak, seconds: int) -> None:
    soak.settle()
    before_kb, threads = soak.memory_kb(), soak.threads()
    soak.run(seconds)
    assert soak.robot.wait(soak.tracks)
    after_kb = soak.memory_kb()
    values = {entry.key: entry.value for entry in soak.robot.report().values}
    print(f"memory {before_kb} -> {after_kb} kB, threads {threads}; {values}")
    assert after_kb < 1.05 * before_kb
    assert soak.threads() <= threads
    assert "dropped sets: exception" not in values
    assert "callbacks: exception" not in values


def test_restarts_give_memory_back(soak: Soak) -> None:
    for _ in range(4):  # buffers of messages and images grow to what they need
        soak.restart()
        soak.tracks()
    before_kb = soak.memory_kb()
    for _ in range(12):
        soak.restart()
        soak.tracks()
    after_kb = soak.memory_kb()
    print(f"memory {before_kb} -> {after_kb} kB")
    assert after_kb < 1.1 * before_kb
