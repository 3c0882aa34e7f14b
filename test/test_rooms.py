"""The package's rooms import in one direction, and only ros/ knows rclpy."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PACKAGE = Path(find_spec("flowface_ros.rigid").origin).parent
ROOMS = (
    "camera",
    "head",
    "align",
    "fit",
    "track",
    "synth",
    "train",
    "evaluate",
    "bag",
    "view",
    "ros",
    "demo",
    "commands",
    "cli",
)
SYNTH = ("textures", "render", "anatomy", "things", "hair", "person", "scene", "sheets")
"""What is in the room synth, in the order of import."""

ROS_PACKAGES = ("rclpy", "rcl_interfaces", "lifecycle_msgs", "launch", "launch_ros")


def sources() -> list[Path]:
    generated = PACKAGE / "msg"
    return [p for p in sorted(PACKAGE.rglob("*.py")) if generated not in p.parents]


def imported_modules(source: str) -> set[str]:
    """Absolute names of the modules that a source imports, wherever the statement stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide which room is meant"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def is_ros(module: str) -> bool:
    top = module.split(".")[0]
    generated = module.startswith(("flowface_ros.msg", "flowface_ros.srv"))
    return top in ROS_PACKAGES or top.endswith("_msgs") or top.endswith("_srvs") or generated


def room_of(parts: tuple[str, ...]) -> str | None:
    return parts[0] if parts and parts[0] in ROOMS else None


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_up_the_list_of_rooms(path: Path) -> None:
    room = room_of(tuple(path.relative_to(PACKAGE).with_suffix("").parts))
    for module in imported_modules(path.read_text()):
        if is_ros(module):
            assert room == "ros", f"{path.name} imports {module}; only ros/ may"
        target = room_of(tuple(module.split(".")[1:]))
        if not module.startswith("flowface_ros.") or target is None:
            continue
        assert room is not None, f"{path.name}, shared by all rooms, imports {module}"
        assert ROOMS.index(target) <= ROOMS.index(room), f"{room} is above {module}"


@pytest.mark.parametrize(
    "path", sorted((PACKAGE / "synth").rglob("*.py")), ids=lambda p: f"{p.parent.name}/{p.name}"
)
def test_imports_in_synth_go_one_way(path: Path) -> None:
    place = path.relative_to(PACKAGE / "synth").with_suffix("").parts[0]
    imported = [m.split(".") for m in imported_modules(path.read_text())]
    for target in [m[2] for m in imported if m[:2] == ["flowface_ros", "synth"]]:
        assert SYNTH.index(target) <= SYNTH.index(place), f"{place} is above {target}"


def test_every_folder_is_a_known_room() -> None:
    folders = {p.name for p in PACKAGE.iterdir() if (p / "__init__.py").exists()} - {"msg"}
    assert folders <= set(ROOMS)


def test_imported_modules_sees_nested_statements() -> None:
    code = "def f():\n    import rclpy.node\n    from sensor_msgs.msg import Image\n"
    assert imported_modules(code) == {"rclpy.node", "sensor_msgs.msg.Image"}
    assert all(is_ros(module) for module in imported_modules(code))


def test_importing_the_runtime_leaves_torch_out() -> None:
    modules = [
        ".".join(("flowface_ros", *p.relative_to(PACKAGE).with_suffix("").parts))
        for p in sources()
        if p.parent.name in ("camera", "head", "track", "bag") and p.name != "__init__.py"
    ]
    code = f"import sys\nfor m in {modules!r}: __import__(m)\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
