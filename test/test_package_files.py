"""Files out of packages: what is cached, what is checked, and what archives hold."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from flowface_ros import package_files
from flowface_ros.package_files import SOURCE, Package, fetch, member

CONTENT = b"a wheel"
PACKAGE = Package("thing==1.0", hashlib.sha256(CONTENT).hexdigest(), SOURCE)


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A pip that finds CONTENT; the commands that it was given, with the requirements' text."""
    calls: list[list[str]] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        place = dict(pairwise(command))
        calls.append([*command[:-1], Path(place["-r"]).read_text()])
        Path(place["--dest"]).mkdir()
        (Path(place["--dest"]) / "thing-1.0.whl").write_bytes(CONTENT)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setenv("FLOWFACE_CACHE", str(tmp_path))
    monkeypatch.setattr(package_files.subprocess, "run", run)
    return calls


def test_a_file_is_downloaded_once_and_pip_is_told_its_hash(pip: list, tmp_path: Path) -> None:
    assert fetch(PACKAGE) == fetch(PACKAGE) == CONTENT
    (command,) = pip
    assert command[-1] == f"thing==1.0 --hash=sha256:{PACKAGE.sha256}\n"
    assert "--no-binary=:all:" in command and "--no-deps" in command
    assert [p.name for p in tmp_path.iterdir()] == [PACKAGE.sha256]


def test_a_cached_file_that_was_changed_is_named(pip: list, tmp_path: Path) -> None:
    fetch(PACKAGE)
    (cached,) = (tmp_path / PACKAGE.sha256).iterdir()
    cached.write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match=r"thing-1\.0\.whl: SHA-256 is .*; delete it"):
        fetch(PACKAGE)
    cached.unlink()
    assert fetch(PACKAGE) == CONTENT


def test_what_pip_says_is_passed_on(pip: list, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "no such thing\n")

    monkeypatch.setattr(package_files.subprocess, "run", fail)
    with pytest.raises(OSError, match=r"could not download thing==1\.0: no such thing$"):
        fetch(PACKAGE)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_the_one_member_of_that_name(kind: str) -> None:
    files = {"a/x.bin": b"1", "a/y.bin": b"2", "b/y.bin": b"3"}
    stream = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(stream, "w") as zipped:
            for name, content in files.items():
                zipped.writestr(name, content)
    else:
        with tarfile.open(fileobj=stream, mode="w:gz") as tar:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    assert member(stream.getvalue(), "x.bin") == b"1"
    assert member(stream.getvalue(), "b/y.bin") == b"3"
    for name, count in (("y.bin", 2), ("z.bin", 0)):
        with pytest.raises(ValueError, match=f"has {count} members that end in {name}"):
            member(stream.getvalue(), name)
