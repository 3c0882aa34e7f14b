"""The `flowface` command: one sub-command per module of `flowface_ros.commands`."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from flowface_ros import __version__
from flowface_ros.error_text import error_text
from flowface_ros.threads import keep_blas_to_one_thread

COMMANDS = (
    *("demo", "synth", "replay", "view", "evaluate", "export"),
    *("align", "head", "train", "weights"),
)
"""Modules of `flowface_ros.commands`, in the order of the help."""

_OWN_THREADS = ("train",)
"""Commands whose libraries take as many threads as there are cores."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status, 2 for an error that the user can mend."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    if parsed.command not in _OWN_THREADS:
        keep_blas_to_one_thread()
    # After the number of threads is set: it imports numba, and so numpy.
    from flowface_ros.compilation import announced_compilation

    try:
        with announced_compilation(_tell):
            return parsed.run(parsed)
    except BrokenPipeError:
        # The reader of our output has gone; what Python still flushes at exit must go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        print(f"flowface: error: {error_text(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("flowface: interrupted", file=sys.stderr)
        return 130


def _tell(text: str) -> None:
    """Beside a progress bar."""
    from tqdm import tqdm

    tqdm.write(f"flowface: {text}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flowface", description="Tracks human heads in 3D from calibrated cameras."
    )
    parser.add_argument("--version", action="version", version=f"flowface {__version__}")
    commands = parser.add_subparsers(metavar="command", required=True)
    for name in COMMANDS:
        command = _load(name)
        sub = commands.add_parser(command.NAME, help=command.HELP, description=command.HELP)
        command.add_arguments(sub)
        sub.set_defaults(run=command.run, command=name)
    return parser


def _load(name: str) -> ModuleType:
    return importlib.import_module(f"flowface_ros.commands.{name}")


if __name__ == "__main__":
    sys.exit(main())
