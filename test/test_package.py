"""What the installation promises: one version, programs that answer, messages with stable types."""

from __future__ import annotations

import ast
import hashlib
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from xml.etree import ElementTree

import pytest

import flowface_ros

ROOT = Path(__file__).parents[1]


def test_version_is_the_manifests() -> None:
    manifest = ElementTree.parse(ROOT / "package.xml").getroot()
    assert flowface_ros.__version__ == manifest.findtext("version")


IMPORT_EACH = """
import importlib, sys
for module in sys.argv[1:]:
    for name in [name for name in sys.modules if name.split(".")[0] == "flowface_ros"]:
        del sys.modules[name]
    assert callable(importlib.import_module(module).main), module
"""


def test_every_program_has_a_main() -> None:
    """Each with nothing of the package imported before, in one process: what they need besides is
    imported once."""
    lines = (ROOT / "packaging/programs.txt").read_text().splitlines()
    modules = [line.split()[1] for line in lines]
    assert modules
    subprocess.run([sys.executable, "-c", IMPORT_EACH, *modules], check=True)


def test_notice_names_every_vendored_binary_with_its_hash() -> None:
    """In NOTICE a file's path stands on a line of its own, its SHA-256 on the next."""
    lines = [line.strip() for line in (ROOT / "NOTICE").read_text().splitlines()]
    vendored = [
        path
        for path in (ROOT / "flowface_ros").rglob("*")
        if path.suffix in (".npz", ".onnx") and path.is_file()
    ]
    assert vendored
    for path in vendored:
        name = str(path.relative_to(ROOT))
        assert name in lines, f"NOTICE does not name {name}"
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert lines[lines.index(name) + 1] == f"sha256 {digest}", name


def test_data_files_are_in_the_wheel_and_in_the_source_distribution() -> None:
    data = {
        path.suffix
        for path in (ROOT / "flowface_ros").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc", ".so", ".nbi", ".nbc")
    }
    assert data
    wheel, source = (ROOT / "setup.py").read_text(), (ROOT / "MANIFEST.in").read_text()
    (listed,) = [line for line in source.splitlines() if line.startswith("recursive-include flow")]
    for suffix in data:
        assert f'"**/*{suffix}"' in wheel, suffix
        assert f"*{suffix}" in listed.split(), suffix


@pytest.mark.slow
def test_every_benchmark_that_make_runs_takes_its_options() -> None:
    dry = subprocess.run(["make", "-n", "bench"], cwd=ROOT, capture_output=True, text=True)
    programs = [word for word in dry.stdout.split() if word.startswith("benchmarks/")]
    assert len(programs) > 10
    for program in programs:
        text = subprocess.run(
            [sys.executable, ROOT / program.rstrip(";"), "--help"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert "--json" in text and "--quick" in text, program


@pytest.mark.slow
def test_wheel_works_in_an_empty_environment(tmp_path: Path) -> None:
    """`pip install .` into a fresh environment, used from another folder."""
    python = tmp_path / "venv/bin/python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    source = tmp_path / "source"
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    for name in filter(None, files):
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    subprocess.run([python, "-m", "pip", "install", "--quiet", source], check=True)
    code = (
        "from flowface_ros.msg import FaceMesh\n"
        "from tf2_msgs.msg import TFMessage\n"
        "from flowface_ros.head.model_file import load_builtin_head\n"
        "from flowface_ros.bag.message_types import message_types\n"
        "assert load_builtin_head().vertex_count > 1000\n"
        "assert 'flowface_ros/msg/FaceArray' in message_types().types\n"
        "import flowface_ros; print(flowface_ros.__path__)\n"
    )
    subprocess.run([python, "-c", code], check=True, cwd=tmp_path)
    for program in ("flowface", "flowface-player"):
        subprocess.run([tmp_path / "venv/bin" / program, "--help"], check=True, cwd=tmp_path)


DISTRIBUTIONS = {"cv2": "opencv-python-headless", "yaml": "PyYAML"}
ON_DEMAND = {"torch", "dask", "mediapipe"}
"""Imported where they are asked for, with a word on how to get them."""

BROUGHT = {"rcl_interfaces", "tf2_msgs"}
"""By rclpy, and by this package itself."""
OTHERS = {"train", "msg"}
"""What an extra serves, and what is generated."""


def imported(source: str) -> set[str]:
    """Top-level names of what a module imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def test_what_the_tracker_imports_is_installed_with_it() -> None:
    package = ROOT / "flowface_ros"
    files = [f for f in package.rglob("*.py") if f.relative_to(package).parts[0] not in OTHERS]
    found = set().union(*(imported(f.read_text()) for f in files))
    found -= {*sys.stdlib_module_names, "flowface_ros", *ON_DEMAND, *BROUGHT}
    try:
        lines = requires("flowface_ros")
    except PackageNotFoundError:
        lines = None
    if not lines:
        pytest.skip("not installed with pip")
    plain = [line for line in lines if "extra ==" not in line]
    required = {re.split(r"[^\w.-]", line)[0].lower() for line in plain}
    names = {DISTRIBUTIONS.get(n, n).lower() for n in found}
    missing = {n for n in names if not {n, f"ros-{n.replace('_', '-')}"} & required}
    assert {"numpy", "onnx", "rclpy"} <= names and not missing
