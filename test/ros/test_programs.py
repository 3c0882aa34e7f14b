"""What the nodes' programs say to somebody who calls them wrongly."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

WRONG_CALLS = [
    ("tracker", ["--cameras", "left"], "--cameras left: parameters are given after --ros-args"),
    ("tracker", ["--ros-args", "-p", "cameras:=camera"], "cameras must be a list, such as [left"),
    ("fitter", ["--ros-args", "-p", "max_faces:=two"], "max_faces must be 1 to 32"),
    ("aligner", ["--ros-args", "-p", "slop:=7.0"], "slop"),
    ("aligner", ["--ros-args", "--params-file", "none.yaml"], "none.yaml"),
    ("rig", [], "rig_file is empty"),
    ("rig", ["--ros-args", "-p", "rig_file:=none.yaml"], "none.yaml: No such file"),
]


def call(program: str, arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"flowface_ros.ros.{program}_node", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


HELPFUL = ("tracker", "rig")

Calls = dict[tuple[str, ...], "Future[subprocess.CompletedProcess[str]]"]


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Calls]:
    """Of all calls by their words, two at a time: most of their time is imports."""
    words = [(program, *arguments) for program, arguments, _ in WRONG_CALLS]
    words += [(program, "--help") for program in HELPFUL]
    folder = tmp_path_factory.mktemp("calls")
    with ThreadPoolExecutor(2) as pool:
        yield {(first, *rest): pool.submit(call, first, rest, folder) for first, *rest in words}


@pytest.mark.parametrize(("program", "arguments", "said"), WRONG_CALLS)
def test_a_wrong_call_is_told_in_a_line(
    program: str, arguments: list[str], said: str, calls: Calls
) -> None:
    result = calls[(program, *arguments)].result()
    assert result.returncode == 2
    *_, error, usage = result.stderr.splitlines()
    assert ": error: " in error
    assert said in error
    assert usage.startswith("usage: ")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("program", HELPFUL)
def test_help(program: str, calls: Calls) -> None:
    result = calls[(program, "--help")].result()
    assert result.returncode == 0
    assert "--ros-args" in result.stdout
