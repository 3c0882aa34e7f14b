"""`flowface view`, from bags to a file and to a page."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from view_world import PERIOD_NS, SETS, Log

from flowface_ros import cli

PERIOD_S = PERIOD_NS * 1e-9
START_S = 60


def error_of(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    assert cli.main(["view", *map(str, arguments)]) == 2
    return capsys.readouterr().err


def test_without_the_library_the_error_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bags: tuple[Path, Path]
) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    text = error_of(capsys, *bags, "--no-browser")
    assert 'pip install "flowface-ros[view]"' in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["none.mcap"], "none.mcap"),
        (["none.rrd"], "none.rrd"),
        (["a.rrd", "b.mcap"], "alone"),
        (["a.mcap", "--save", "view.mcap"], ".rrd"),
        (["a.mcap", "--rate", "-1"], "--rate"),
        (["a.mcap", "--start", "3", "--end", "2"], "--end"),
        (["a.mcap", "--max-width", "0"], "--max-width"),
    ],
)
def test_wrong_arguments_are_named(
    rerun: Any,
    arguments: list[str],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    save = [] if "--save" in arguments or ".rrd" in arguments[0] else ["--save", "out.rrd"]
    assert named in error_of(capsys, *arguments, *save)


def test_a_bag_without_what_was_asked_for_is_named(
    rerun: Any, bags: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.rrd"
    text = error_of(capsys, bags[0], "--cameras", "left", "top", "--save", out)
    assert str(bags[0]) in text
    assert "top" in text
    assert "/other/faces" in error_of(capsys, *bags, "--namespace", "/other", "--save", out)
    assert not out.exists()


def test_bags_become_a_file(
    rerun: Any, bags: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.rrd"
    assert cli.main(["view", *map(str, bags), "--save", str(out)]) == 0
    assert f"wrote {out}" in capsys.readouterr().out
    log = Log(out)
    for entity, component in (
        ("/rig/face_p1", "Transform3D:translation"),
        ("/rig/gaze_p1", "Transform3D:translation"),
        ("/rig/face_p1/mesh", "Mesh3D:vertex_positions"),
        ("/rig/left/image", "EncodedImage:blob"),
        ("/rig/right/heads/p1", "LineStrips2D:strips"),
        ("/plots/eyes/p1", "Scalars:scalars"),
    ):
        assert log.times(entity, component) == pytest.approx(PERIOD_S * np.arange(SETS)), entity
    from rerun.chunk import RrdReader

    assert len(RrdReader(out).blueprints()) == 1
    assert "exists" in error_of(capsys, *bags, "--save", out)


def test_a_part_of_a_bag_is_shown(rerun: Any, bags: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out.rrd"
    part = ["--start", str(1.5 * PERIOD_S), "--end", str(3.5 * PERIOD_S)]
    assert cli.main(["view", *map(str, bags), *part, "--save", str(out)]) == 0
    assert len(Log(out).times("/rig/face_p1", "Transform3D:translation")) == 2


def test_a_recording_alone_shows_its_cameras(
    rerun: Any, bags: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out.rrd"
    assert cli.main(["view", str(bags[0]), "--cameras", "right", "--save", str(out)]) == 0
    log = Log(out)
    assert len(log.times("/rig/right/image", "EncodedImage:blob")) == SETS
    assert not log.entities("/rig/left")


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM])
def test_the_page_is_served_until_the_program_is_ended(
    rerun: Any, bags: tuple[Path, Path], ended_by: signal.Signals
) -> None:
    command = [sys.executable, "-m", "flowface_ros.cli", "view", *map(str, bags), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            found = re.search(r"http://127\.0\.0\.1:\d+/", first_line(process))
            assert found is not None
            with urllib.request.urlopen(found.group(), timeout=START_S) as page:
                text = page.read().decode()
                assert "rerun%2Bhttp" in page.url
                # The browser is kept from asking anybody else.
                policy = page.headers["Content-Security-Policy"]
            assert "re_viewer.js" in text
            assert "default-src 'self'" in policy
            assert re.findall(r"https?://([^ ;/]*)", policy)[0].startswith("127.0.0.1:")
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(found.group() + "etc/passwd", timeout=START_S)
            process.send_signal(ended_by)
            # Python itself exits by SIGINT when it was interrupted within an exec(), as in imports.
            assert process.wait(timeout=START_S) in (0, -signal.SIGINT)
            ports = {
                int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", policy + found.group())
            }
            assert len(ports) == 2
            for port in ports:
                with socket.socket() as probe:
                    assert probe.connect_ex(("127.0.0.1", port)) != 0
        finally:
            process.kill()


def test_a_taken_port_and_a_wrong_size_are_named(
    rerun: Any, bags: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port}" in error_of(capsys, bags[0], "--no-browser", "--port", port)
    assert "much" in error_of(capsys, bags[0], "--no-browser", "--memory", "much")
