from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flowface_ros import __version__, cli
from flowface_ros.bag.images import encode_png


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    text = capsys.readouterr().out
    for name in cli.COMMANDS:
        assert f"\n    {cli._load(name).NAME} " in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out.strip() == f"flowface {__version__}"


def test_help_loads_no_numerical_library() -> None:
    program = (
        "import sys; from flowface_ros import cli; cli._parser()\n"
        "print(sorted({'numpy', 'scipy', 'numba', 'cv2', 'torch', 'rclpy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr


@pytest.mark.parametrize("arguments", [[], ["no-such-command"], ["head"]])
def test_a_wrong_call_exits_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments)


def test_a_users_mistake_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "none.npz"
    assert cli.main(["head", "info", str(missing)]) == 2
    assert capsys.readouterr().err == f"flowface: error: {missing}: No such file or directory\n"
    missing.write_text("no head")
    assert cli.main(["head", "info", str(missing)]) == 2
    assert f"{missing}: not a head model file" in capsys.readouterr().err


PORTRAIT = "portrait.png"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (f"align {PORTRAIT} --out {PORTRAIT}", "--out is portrait.png, which is an input"),
        (f"align {PORTRAIT} --out out.png --device cuda:99", "device cuda:99"),
        (f"align {PORTRAIT} --out out.gif", "its suffix must be one of"),
        ("align missing.jpg --out out.png", "there is no file missing.jpg"),
        ("align text.mp4 --out out.mp4", "text.mp4: not a video that can be read"),
        ("head render --out head", "--out is head, must end in .png"),
        ("head info text.mp4", "text.mp4: not a head model file"),
        ("weights verify --aligner landmarks --weights x.onnx", "landmarks has none to choose"),
        ("weights info missing", "'missing' is neither a file nor one of"),
        ("train --out run --batch 0", "batch_size: 0 is not allowed"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    call: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if call.startswith("train"):
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.mp4").write_text("no video")
    picture = encode_png(np.zeros((32, 32, 3), np.uint8))
    (tmp_path / PORTRAIT).write_bytes(picture)
    assert cli.main(call.split()) == 2
    *_, line = capfd.readouterr().err.splitlines()
    assert line.startswith("flowface: error: ")
    assert said in line
    assert {path.name for path in tmp_path.iterdir()} <= {PORTRAIT, "text.mp4"}
    assert (tmp_path / PORTRAIT).read_bytes() == picture


@pytest.mark.parametrize(("command", "threads"), [("head info x", "1"), ("train --out x", None)])
def test_blas_has_one_thread_but_in_training(
    monkeypatch: pytest.MonkeyPatch, command: str, threads: str | None
) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.setattr(cli._load(command.split()[0]), "run", lambda args: 0)
    assert cli.main(command.split()) == 0
    assert os.environ.get("OPENBLAS_NUM_THREADS") == threads
