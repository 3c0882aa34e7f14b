"""`flowface replay`: one bag or many, here or on a cluster, always the same bytes."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from flowface_ros import cli
from flowface_ros.bag.reader import open_bag
from flowface_ros.bag.recording import record_scene
from flowface_ros.bag.writer import BagWriter
from flowface_ros.commands.replay_jobs import (
    ReplayJob,
    ReplayOptions,
    attempt,
    in_processes,
    replay_bag,
)
from flowface_ros.commands.replay_params import read_params
from flowface_ros.synth.scene.scene import SceneConfig

FRAMES = 6


def replay(*arguments: str | Path) -> int:
    return cli.main(["replay", *map(str, arguments)])


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder, by its name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two people, each before one camera that is near enough for the face to be found."""
    folder = tmp_path_factory.mktemp("bags")
    for seed in (1, 2):
        config = SceneConfig(
            seed=seed, cameras=1, width=320, height=240, duration_s=FRAMES / 30, stamp_jitter_s=0
        )
        record_scene(config, folder / f"person{seed}.mcap", jobs=1)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def results(bags: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of both bags' results, made one after the other in this process."""
    out = tmp_path_factory.mktemp("results") / "out"
    assert replay(*bags, "--out", out) == 0
    return out


def damaged_bags(good: Path, folder: Path) -> dict[str, Path]:
    """Bags that are wrong, each in another way, by what its error says."""
    content = good.read_bytes()
    files = {
        "cut off": ("cut.mcap", content[: len(content) // 2]),
        "not an MCAP file": ("foreign.mcap", b"RIFF" + content[4:]),
        "is empty": ("empty.mcap", b""),
        "damaged data": ("torn.mcap", _torn(content)),
    }
    for name, data in files.values():
        (folder / name).write_bytes(data)
    paths = {reason: folder / name for reason, (name, _) in files.items()}
    paths["no such bag"] = folder / "missing.mcap"
    paths["no images with a camera_info topic"] = folder / "uncalibrated.mcap"
    paths["no images with a camera_info topic beside them"] = folder / "wrong_type.mcap"
    with open_bag(good) as bag:
        messages = list(bag.messages())
    with BagWriter(folder / "uncalibrated.mcap") as out:
        for topic, time_ns, message in messages:
            if not topic.endswith("camera_info"):
                out.write(topic, message, time_ns)
    with BagWriter(folder / "wrong_type.mcap") as out:
        for topic, time_ns, message in messages:
            if topic.endswith("camera_info"):
                out.write(topic, message.header, time_ns)
            elif "/image" in topic:
                out.write(topic, message, time_ns)
    return paths


def _torn(content: bytes) -> bytes:
    """With some bytes overwritten in the middle, where the images are; both ends are whole."""
    data = bytearray(content)
    for start in range(len(data) // 4, 3 * len(data) // 4, 5000):
        data[start : start + 300] = b"\xff" * 300
    return bytes(data)


def test_a_second_run_writes_the_same_bytes(
    bags: list[Path], results: Path, tmp_path: Path
) -> None:
    first = digests(results)
    assert set(first) == {"person1.mcap", "person2.mcap"}
    assert len(set(first.values())) == 2
    assert replay(bags[0], "--out", tmp_path / "another_name.mcap") == 0
    assert digests(tmp_path) == {"another_name.mcap": first["person1.mcap"]}


def test_processes_write_the_same_bytes(
    bags: list[Path], results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged.mcap"
    damaged.write_bytes(_torn(bags[0].read_bytes()))
    assert replay(bags[0], damaged, bags[1], "--out", tmp_path / "out", "--jobs", "2") == 1
    assert digests(tmp_path / "out") == digests(results)
    said = capsys.readouterr().out
    assert "2 of 3 bags tracked" in said and f"failed: {damaged}: damaged data" in said


def test_a_cluster_writes_the_same_bytes(
    bags: list[Path], results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    distributed = pytest.importorskip("distributed")
    damaged = tmp_path / "damaged.mcap"
    damaged.write_bytes(bags[0].read_bytes()[:1000])
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        arguments = ["--out", tmp_path / "out", "--scheduler", cluster.scheduler_address]
        assert replay(*bags, damaged, *arguments) == 1
    assert digests(tmp_path / "out") == digests(results)
    said = capsys.readouterr().out
    assert "2 of 3 bags tracked" in said and f"failed: {damaged}: the file is cut off" in said


@pytest.mark.parametrize("name", ["out", "out.db3"])
def test_directories_and_sqlite_are_the_same_bytes_too(
    bags: list[Path], tmp_path: Path, name: str
) -> None:
    for run in ("a", "b"):
        assert replay(bags[0], "--out", tmp_path / run / name) == 0
    first, second = digests(tmp_path / "a"), digests(tmp_path / "b")
    assert first == second
    assert set(first) == ({"metadata.yaml", "out.mcap"} if name == "out" else {name})


def test_damaged_bags_are_told_of_and_the_others_go_on(
    bags: list[Path], results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = damaged_bags(bags[0], tmp_path)
    given = [bags[0], *damaged.values(), bags[1]]
    assert replay(*given, "--out", tmp_path / "out") == 1
    assert digests(tmp_path / "out") == digests(results)
    said = capsys.readouterr().out
    assert f"2 of {len(given)} bags tracked" in said
    failures = [line for line in said.splitlines() if line.startswith("failed: ")]
    assert len(failures) == len(damaged)
    for (reason, path), line in zip(damaged.items(), failures, strict=True):
        assert str(path) in line and reason in line


def test_a_process_that_dies_takes_no_other_job_with_it(bags: list[Path], tmp_path: Path) -> None:
    good = ReplayJob(bags[0], tmp_path / "good.mcap", ReplayOptions())
    deadly = ReplayJob(bags[1], tmp_path / "never.mcap", _Deadly())
    images: list[int] = []
    outcomes = {o.job.out.name: o for o in in_processes([deadly, good], 2, images.append)}
    assert outcomes["never.mcap"].error == f"{bags[1]}: its process died, code 3"
    assert outcomes["good.mcap"].error == ""
    assert sum(images) == FRAMES


class _Deadly(ReplayOptions):
    """Ends the process that reads it."""

    def __reduce__(self) -> Any:
        return os._exit, (3,)


def test_nothing_is_overwritten(
    bags: list[Path], results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digests(bags[0].parent)
    for arguments, reason in [
        ((bags[0], "--out", bags[0]), "would overwrite the input"),
        ((*bags, "--out", bags[0].parent), "would overwrite the input"),
        ((*bags, "--out", results), "exists already"),
        ((bags[0], bags[0], "--out", tmp_path / "out"), "would both be written to"),
        ((*bags, "--out", tmp_path / "out.mcap"), "must be a folder"),
        ((*bags, "--out", tmp_path / "out", "--jobs", "0"), "--jobs is 0"),
    ]:
        assert replay(*arguments) == 2
        assert reason in capsys.readouterr().err
    assert digests(bags[0].parent) == before and not (tmp_path / "out").exists()


def test_results_do_not_lie_in_a_bag_directory(
    tmp_path: Path, bags: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay(bags[0], "--out", tmp_path / "bag") == 0
    assert replay(tmp_path / "bag", bags[0], "--out", tmp_path / "bag" / "results") == 2
    assert "or lie in it" in capsys.readouterr().err


def test_without_dask_the_error_says_what_to_install(
    bags: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    assert replay(bags[0], "--out", tmp_path / "out.mcap", "--scheduler", "tcp://nowhere:1") == 2
    assert "flowface-ros[cluster]" in capsys.readouterr().err


def test_what_is_no_fault_of_the_bag_is_named_too(
    bags: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ReplayJob(bags[0], tmp_path / "out.mcap", ReplayOptions())

    def fail(*arguments: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("flowface_ros.commands.replay_jobs.replay_bag", fail)
    assert attempt(job).error == f"{bags[0]}: RuntimeError: a bug"


def test_a_parameter_file_holds_and_the_command_line_wins(
    bags: list[Path], results: Path, tmp_path: Path
) -> None:
    config = tmp_path / "params.yaml"
    config.write_text(
        "tracker:\n  ros__parameters:\n    cameras: [camera]\n    confirm_sets: 1\n"
        "    camera: {transport: compressed}\n    overlay_rate: 2.0\n"
    )
    assert read_params(config) == {"cameras": ("camera",), "confirm_sets": 1}
    options = ReplayOptions(**read_params(config))
    outcome = replay_bag(ReplayJob(bags[0], tmp_path / "direct.mcap", options))
    assert outcome.summary is not None and outcome.summary.tracked == FRAMES
    assert replay(bags[0], "--out", tmp_path / "a.mcap", "--config", config) == 0
    assert digests(tmp_path)["a.mcap"] == digests(tmp_path)["direct.mcap"]
    arguments = ("--config", config, "--cameras", "nobody")
    assert replay(bags[0], "--out", tmp_path / "b.mcap", *arguments) == 2


def test_ids_begin_as_asked(
    bags: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "params.yaml"
    config.write_text("tracker: {ros__parameters: {id_prefix: left_}}")
    assert replay(bags[0], "--out", tmp_path / "a.mcap", "--config", config) == 0
    assert "1 heads (left_1)" in capsys.readouterr().out
    arguments = ("--config", config, "--id-prefix", "right_")
    assert replay(bags[0], "--out", tmp_path / "b.mcap", *arguments) == 0
    assert "1 heads (right_1)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[1, 2", "not YAML"),
        ("just text", "no ros__parameters of the node `tracker`"),
        ("aligner: {ros__parameters: {grid: 32}}", "no ros__parameters of the node `tracker`"),
        ("tracker: {ros__parameters: {max_facs: 2}}", "max_facs is not known"),
        ("tracker: {ros__parameters: {max_faces: two}}", "max_faces is 'two', must be int"),
        ("tracker: {ros__parameters: {max_faces: true}}", "max_faces is True, must be int"),
        ("tracker: {ros__parameters: {cameras: left}}", "must be a list of names"),
        (
            "tracker: {ros__parameters: {cameras: [left], left: {frame: eye}}}",
            "left.frame: a replay takes frames from the bag",
        ),
        (
            "tracker: {ros__parameters: {cameras: [left], left: {info_topic: /x/camera_info}}}",
            "left: a replay needs camera_info beside the images of left/image_raw",
        ),
    ],
)
def test_parameter_files_that_are_wrong(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"params\.yaml") as caught:
        read_params(path)
    assert reason in str(caught.value)


def shipped_configs() -> Iterator[Path]:
    for path in sorted((Path(__file__).parents[2] / "config").glob("*.yaml")):
        if "tracker:" in path.read_text():
            yield path


@pytest.mark.parametrize("path", list(shipped_configs()), ids=lambda path: path.name)
def test_the_shipped_parameter_files_are_read(path: Path) -> None:
    cameras = {"stereo_head.yaml": ("head/left", "head/right"), "one_camera.yaml": ("camera",)}
    found = ReplayOptions(**read_params(path)).cameras
    assert found == cameras.get(path.name, ("middle", "left", "above"))


def test_options_have_the_names_and_defaults_of_the_node() -> None:
    """But for `looks`: nothing waits for a replay."""
    pytest.importorskip("rclpy")
    from flowface_ros.ros.settings import TrackerSettings

    node = TrackerSettings()
    for option in fields(ReplayOptions):
        here = getattr(node, option.name)
        if option.name not in ("cameras", "looks"):
            assert option.default == here, option.name
