"""`flowface train` from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from flowface_ros.cli import main
from flowface_ros.train.curves import _SMOOTH, CurveWriter, _smoothed, read_log


def test_curves_go_back_to_the_checkpoint(tmp_path: Path) -> None:
    writer = CurveWriter(tmp_path, 0)
    for step in (20, 40, 60):
        writer.add(step, {"train/loss": 1.0 / step})
    writer.close()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 80, "tra')  # cut off
    resumed = CurveWriter(tmp_path, 40)
    resumed.add(60, {"train/loss": 7.0})
    resumed.close()
    entries = read_log(tmp_path / "log.jsonl")
    assert [e["step"] for e in entries] == [20, 40, 60]
    assert entries[-1]["train/loss"] == 7


def test_curves_are_means_of_the_last_values() -> None:
    assert _smoothed((1.0, 2.0, 5.0)) == [1, 2, 5]
    smooth = _smoothed(tuple(float(i) for i in range(200)))
    assert smooth[:2] == [0, 0.5] and smooth[100] == 100 - (_SMOOTH - 1) / 2


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--steps=0", "steps: 0 is not allowed"),
        ("--device=foo", "device is 'foo', must be"),
        ("--minutes=-1", "minutes is -1, must be 0 or more"),
        ("--minutes=nan", "minutes is nan, must be"),
        ("--seed=-1", "seed: -1 is not allowed"),
        ("--rate=inf", "learning_rate: inf is not allowed"),
        ("--validation-pictures=1", "validation_pictures: 1 is not allowed"),
    ],
)
def test_unusable_arguments_are_user_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], argument: str, message: str
) -> None:
    assert main(["train", "--out", str(tmp_path / "run"), argument]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_run_whose_data_cannot_be_used_may_be_started_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With other data: nothing has been decided, and nothing drawn for validation."""
    command = ["train", "--out", str(tmp_path / "run"), "--device", "cpu"]
    for kind in ("pictures", "famos"):
        assert main([*command, "--data", f"{kind}:{tmp_path}/nowhere"]) == 2
        assert f"{tmp_path}/nowhere: no such folder" in capsys.readouterr().err


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    common = [
        "train", "--steps", "4", "--batch", "2", "--people", "2", "--workers", "0",
        "--validation-pictures", "4", "--device", "cpu", "--out",
    ]  # fmt: skip
    assert main([*common, str(tmp_path / "whole")]) == 0
    # No time at all is enough for one step.
    for _ in range(2):
        assert main([*common, str(tmp_path / "parts"), "--minutes", "0"]) == 0
    assert main([*common, str(tmp_path / "parts")]) == 0
    states = [
        torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("whole", "parts")
    ]
    assert [s["training"]["step"] for s in states] == [4, 4]
    for name, value in states[0]["network"].items():
        assert torch.equal(value, states[1]["network"][name]), name
    out = tmp_path / "parts"
    assert {p.name for p in out.iterdir()} >= {
        "state.pt", "network.pt", "network.onnx", "model_card.md", "log.jsonl", "overlay.png",
    }  # fmt: skip
    assert json.loads((out / "run.json").read_text())["steps"] == 4
    import onnxruntime

    session = onnxruntime.InferenceSession(str(out / "network.onnx"))
    answer = session.run(None, {"image": np.zeros((1, 256, 256, 3), np.uint8)})
    assert np.isfinite(answer[0]).all()
