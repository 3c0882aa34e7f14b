"""A node as its own process, with networks that know the world: fake_node.py NODE --ros-args ..."""

from __future__ import annotations

import sys

from ros_world import fake_networks, make_world

from flowface_ros.ros.aligner_node import AlignerNode
from flowface_ros.ros.run import run_node
from flowface_ros.ros.tracker_node import TrackerNode


def main() -> int:
    networks = fake_networks(make_world())
    kinds = {"tracker": TrackerNode, "aligner": AlignerNode}
    kind = kinds[sys.argv.pop(1)]
    return run_node(lambda: kind(networks), sys.argv)


if __name__ == "__main__":
    sys.exit(main())
