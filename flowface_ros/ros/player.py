"""Publishes a bag in real time, for machines without `ros2 bag play`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import rclpy
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from rosgraph_msgs.msg import Clock
from tqdm import tqdm

from flowface_ros.bag.camera_topics import COMPRESSED_IMAGE, IMAGE
from flowface_ros.bag.reader import BagReader, Topic, open_bag
from flowface_ros.error_text import error_text
from flowface_ros.ros.convert import RclpyTypes

_NS = 1_000_000_000
_QUEUE_DEPTH = 10
_DISCOVERY_POLL_S = 0.05
_SETTLED_S = 0.5
"""When every topic has a subscription and no other was found for so long, all are found."""
_ALONE_S = 3.0
"""The same while some topics have none: discovery of a busy process takes seconds."""


class Player(Node):
    """Publishes the serialized messages of a bag at the pace at which they were recorded."""

    def __init__(self, bag: BagReader, topics: Mapping[str, Topic], clock: bool) -> None:
        super().__init__("player")
        self._bag = bag
        types = RclpyTypes()
        self._outputs = {
            name: self.create_publisher(types[topic.type], name, _qos(topic.latched))
            for name, topic in topics.items()
        }
        self._clock_output = self.create_publisher(Clock, "/clock", _QUEUE_DEPTH) if clock else None
        images = [n for n, t in topics.items() if t.type in (IMAGE, COMPRESSED_IMAGE)]
        self._awaited = [self._outputs[name] for name in images or topics]

    def wait_for_subscribers(self, timeout_s: float) -> bool:
        """Wait until somebody listens and all who do so are found; False after the timeout.

        To images, where there are any: others, as viewers of /tf, may be there long before a
        tracker is.
        """
        end = time.monotonic() + timeout_s
        counts, since = self._listeners(), time.monotonic()
        while rclpy.ok():
            quiet_s = time.monotonic() - since
            if any(counts) and quiet_s > (_SETTLED_S if all(counts) else _ALONE_S):
                return True
            if not any(counts) and time.monotonic() > end:
                return False
            time.sleep(_DISCOVERY_POLL_S)
            if (now := self._listeners()) != counts:
                counts, since = now, time.monotonic()
        return False

    @property
    def awaited(self) -> str:
        """Names of the topics that are to be listened to."""
        return ", ".join(publisher.topic_name for publisher in self._awaited)

    def _listeners(self) -> list[int]:
        return [publisher.get_subscription_count() for publisher in self._awaited]

    def play(self, rate: float) -> Iterator[tuple[str, int]]:
        """Publish every message once at `rate` times the recorded pace; yields its topic and the
        time (ns) at which it was recorded."""
        start = time.monotonic()
        for topic, time_ns, data in self._bag.serialized(list(self._outputs)):
            delay = (time_ns - self._bag.start_ns) * 1e-9 / rate - (time.monotonic() - start)
            if delay > 0:
                time.sleep(delay)
            if not rclpy.ok():
                return
            if self._clock_output is not None:
                self._clock_output.publish(_clock_message(time_ns))
            self._outputs[topic].publish(data)
            yield topic, time_ns

    def finish(self, timeout_s: float) -> None:
        """Wait until reliable subscriptions have everything."""
        for publisher in self._outputs.values():
            publisher.wait_for_all_acked(Duration(nanoseconds=int(timeout_s * _NS)))


def _qos(latched: bool) -> QoSProfile:
    durability = QoSDurabilityPolicy.TRANSIENT_LOCAL if latched else QoSDurabilityPolicy.VOLATILE
    return QoSProfile(depth=_QUEUE_DEPTH, durability=durability)


def _clock_message(time_ns: int) -> Clock:
    message = Clock()
    message.clock.sec, message.clock.nanosec = divmod(time_ns, _NS)
    return message


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flowface-player",
        description="Publish the messages of a rosbag2 recording (mcap or sqlite3) in real time.",
        epilog="ROS arguments follow --ros-args, e.g. --ros-args -r /camera/image_raw:=/image.",
    )
    parser.add_argument("bag", type=Path, help="bag directory, .mcap or .db3 file")
    parser.add_argument("--rate", type=float, default=1.0, help="pace, 1 is as recorded")
    parser.add_argument("--loop", type=int, default=1, metavar="N", help="plays, 0: forever")
    parser.add_argument("--topics", nargs="+", metavar="TOPIC", help="only these topics")
    parser.add_argument("--clock", action="store_true", help="publish the bag's time on /clock")
    parser.add_argument(
        "--wait",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="wait at most so long for a first subscriber, of images if there are any (default: 5)",
    )
    return parser


def _chosen(bag: BagReader, names: list[str] | None) -> dict[str, Topic]:
    """The topics of the names; without names those that can be published here."""
    if names is None:
        return {name: topic for name, topic in bag.topics.items() if _is_known(name, topic.type)}
    if missing := sorted(set(names) - set(bag.topics)):
        raise ValueError(
            f"{bag.path} has no topic {', '.join(missing)}; it has {', '.join(bag.topics)}"
        )
    return {name: bag.topics[name] for name in names}


def _is_known(topic: str, kind: str) -> bool:
    try:
        RclpyTypes()[kind]
    except ValueError as error:
        print(f"flowface-player: {topic} is left out: {error}", file=sys.stderr)
        return False
    return True


def _run(args: argparse.Namespace) -> int:
    if not args.rate > 0:
        raise ValueError(f"--rate is {args.rate}; must be positive")
    if args.loop < 0:
        raise ValueError(f"--loop is {args.loop}; must be 0 or more")
    with open_bag(args.bag) as bag:
        topics = _chosen(bag, args.topics)
        player = Player(bag, topics, args.clock)
        total = sum(topic.count for topic in topics.values())
        if not player.wait_for_subscribers(args.wait):
            player.get_logger().warning(f"nobody listens to {player.awaited}; playing anyway")
        played = 0
        while rclpy.ok() and (args.loop == 0 or played < args.loop):
            played += 1
            for _ in tqdm(player.play(args.rate), total=total, unit="msg", desc=f"loop {played}"):
                pass
        if rclpy.ok():
            player.finish(args.wait)
    return 0


def main() -> int:
    """The program `flowface-player`."""
    arguments = remove_ros_args(sys.argv)[1:]
    args = _parser().parse_args(arguments)
    # Ctrl-C ends the context, which play() notices between two messages.
    rclpy.init(signal_handler_options=SignalHandlerOptions.ALL)
    try:
        return _run(args)
    except (ValueError, OSError) as error:
        print(f"flowface-player: error: {error_text(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
