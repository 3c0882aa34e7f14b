"""`flowface view`: cameras, heads and curves in a browser."""

from __future__ import annotations

import argparse
import errno
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

NAME = "view"
HELP = "Shows live topics, or recordings, in a browser: images with meshes, the rig in 3D, curves."

_POLL_S = 0.2
_LIVE_RATE_HZ = 10.0

Show = Callable[[Any, Callable[[], bool]], None]
"""Logs to a recording stream while it is told to go on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recording",
        type=Path,
        nargs="*",
        help="bags to show together, e.g. a recording and its replay; or one .rrd file of --save "
        "(default: the topics of running nodes)",
    )
    parser.add_argument(
        "--namespace", help="of the tracker's topics, e.g. /tracker (default: the first found)"
    )
    parser.add_argument("--cameras", nargs="+", metavar="NAME", default=[], help="default: all")
    parser.add_argument("--frame", default="", help="of the 3D view (default: that of the faces)")
    parser.add_argument(
        "--rate",
        type=float,
        metavar="HZ",
        help="most images and meshes a second; curves have every result (default: "
        f"{_LIVE_RATE_HZ:g} for topics, all for bags)",
    )
    parser.add_argument(
        "--max-width", type=int, default=1280, metavar="PX", help="of images (default: 1280)"
    )
    parser.add_argument("--start", type=float, default=0.0, metavar="S", help="of bags, seconds")
    parser.add_argument("--end", type=float, metavar="S", help="of bags, seconds")
    parser.add_argument("--port", type=int, default=0, help="of the page (default: any free one)")
    parser.add_argument("--no-browser", action="store_true", help="do not open the page")
    parser.add_argument(
        "--memory",
        default="1GB",
        metavar="SIZE",
        help="kept for pages opened later, the newest data (default: 1GB)",
    )
    parser.add_argument(
        "--save", type=Path, metavar="FILE.rrd", help="write a file for later instead of a page"
    )


def run(args: argparse.Namespace) -> int:
    from flowface_ros.view.sdk import load_sdk

    _check(args)
    load_sdk()
    with _told_to_end() as told, ExitStack() as stack:
        try:
            show = _source(args, stack)
            return _save(args.save, show) if args.save else _serve(args, show, told)
        except KeyboardInterrupt:
            return 0


def _check(args: argparse.Namespace) -> None:
    saved = _saved(args)
    if saved and (len(args.recording) > 1 or args.save):
        raise ValueError(f"{saved[0]} is shown alone, without bags and --save")
    for path in saved:
        if not path.is_file():
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
    for name, value, lowest in (
        ("--rate", args.rate, 0.0),
        ("--max-width", args.max_width, 16),
        ("--port", args.port, 0),
    ):
        if value is not None and value < lowest:
            raise ValueError(f"{name} is {value}; must be at least {lowest:g}")
    if args.end is not None and args.end <= args.start:
        raise ValueError(f"--end is {args.end}; must be after --start, {args.start}")
    if args.save and args.save.suffix != ".rrd":
        raise ValueError(f"--save is {args.save}; must end in .rrd")


def _source(args: argparse.Namespace, stack: ExitStack) -> Show:
    """Opens what is shown; what is called then logs it."""
    from flowface_ros.ros.transform_buffer import recording_buffer
    from flowface_ros.view.bag_view import BagView
    from flowface_ros.view.scene import SceneOptions

    if _saved(args):
        return lambda recording, going: None
    rate_hz = args.rate if args.rate is not None else 0.0 if args.recording else _LIVE_RATE_HZ
    options = SceneOptions(args.frame, rate_hz, args.max_width)
    if not args.recording:
        view_topics = _topics_viewer()
        return lambda recording, going: view_topics(
            recording, options, args.namespace, args.cameras, going
        )
    transforms = recording_buffer()
    bags = stack.enter_context(BagView(args.recording, transforms, args.namespace, args.cameras))

    def show(recording: Any, going: Callable[[], bool]) -> None:
        scene = bags.log(recording, options, args.start, args.end, _progress_bar)
        for what, count in scene.unusable.items():
            print(f"not shown: {count} of {what}: {scene.reasons[what]}")

    return show


def _saved(args: argparse.Namespace) -> list[Path]:
    return [path for path in args.recording if path.suffix == ".rrd"]


def _serve(args: argparse.Namespace, show: Show, told: threading.Event) -> int:
    import time
    import webbrowser

    from flowface_ros.view.sdk import new_recording
    from flowface_ros.view.server import ViewServer

    saved = _saved(args)
    with ViewServer(args.port, args.memory, saved) as server, ExitStack() as stack:
        print(f"the view is at {server.url} (Ctrl-C ends it)", flush=True)
        if not args.no_browser:
            webbrowser.open(server.url)
        if not saved:
            recording = new_recording()
            recording.connect_grpc(server.data_url)
            stack.callback(recording.disconnect)
            show(recording, lambda: server.running and not told.is_set())
        while server.running and not told.is_set():
            time.sleep(_POLL_S)
    if told.is_set():
        return 0
    raise OSError("the viewer's server ended")


def _save(path: Path, show: Show) -> int:
    from flowface_ros.view.sdk import new_recording

    if path.exists():
        raise FileExistsError(errno.EEXIST, "exists already, not overwritten", str(path))
    recording = new_recording()
    recording.save(path)
    try:
        show(recording, lambda: True)
    except KeyboardInterrupt:
        pass  # what there is by then is wanted
    except BaseException:
        recording.disconnect()
        path.unlink(missing_ok=True)
        raise
    recording.disconnect()
    print(f"wrote {path}; `flowface view {path}` shows it")
    return 0


def _topics_viewer() -> Callable[..., None]:
    try:
        from flowface_ros.ros.viewer import view_topics
    except ImportError as error:
        raise ValueError(
            f"live topics need rclpy ({error}); to see a recording, name it: flowface view BAG"
        ) from None
    return view_topics


def _progress_bar(items: Iterable[Any], total: int) -> Iterable[Any]:
    from tqdm import tqdm

    return tqdm(items, total=total, unit="message", desc="reading", dynamic_ncols=True)


@contextmanager
def _told_to_end() -> Iterator[threading.Event]:
    """Within the `with` statement SIGTERM ends the program as Ctrl-C does; whether one came.

    An interrupt that is raised in a finalizer or a callback of other code is lost there.
    """
    told = threading.Event()

    def interrupt(*_: object) -> None:
        told.set()
        raise KeyboardInterrupt

    ends = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(end, interrupt) for end in ends]
    try:
        yield told
    finally:
        for end, handler in zip(ends, before, strict=True):
            signal.signal(end, handler)
