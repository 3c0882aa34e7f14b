"""A ROS domain that nobody else on this machine uses."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

HIGHEST_SAFE_DOMAIN = 101
"""Beyond this, DDS ports overlap Linux's ephemeral ports."""
_FIRST_PORT, _PORTS = 7400, 250
"""Of a domain, by the RTPS standard."""
_PARTICIPANTS = 20
"""Processes whose ports are tried."""
_SHARED_MEMORY = Path("/dev/shm")


@contextmanager
def free_domain() -> Iterator[int]:
    """A domain that is this process's and its children's until the end of the block.

    A locked file keeps other runs out; that nobody is at the domain's ports, whoever else.
    """
    domains = range(1, HIGHEST_SAFE_DOMAIN + 1)
    for domain in random.SystemRandom().sample(domains, len(domains)):
        with ExitStack() as stack:
            if _is_locked(domain, stack) and not _is_used(domain):
                try:
                    yield domain
                finally:
                    _remove_leftovers(domain)
                return
    raise RuntimeError(f"no ROS domain of {domains} is free")


def _is_locked(domain: int, stack: ExitStack) -> bool:
    """Whether the domain's lock file is ours now."""
    path = Path(tempfile.gettempdir()) / f"flowface_ros_domain_{domain}.lock"
    try:
        file = stack.enter_context(path.open("a"))
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another run's, or another user's
        return False
    return True


def _is_used(domain: int) -> bool:
    """Whether a process is, or was, at the domain: its ports, or shared memory it left behind."""
    first = _FIRST_PORT + _PORTS * domain
    ports = [first, first + 1, *range(first + 10, first + 10 + 2 * _PARTICIPANTS)]
    return bool(_leftovers(domain)) or not all(map(_can_bind, ports))


def _can_bind(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def _leftovers(domain: int) -> list[Path]:
    """Fast DDS's files of the domain's ports, which processes that are killed leave."""
    first = _FIRST_PORT + _PORTS * domain
    found = []
    for path in _SHARED_MEMORY.glob("*fastdds_port*"):
        digits = path.name.partition("_port")[2].partition("_")[0]
        if digits.isdigit() and first <= int(digits) < first + _PORTS:
            found.append(path)
    return found


def _remove_leftovers(domain: int) -> None:
    for path in _leftovers(domain):
        if path.stat().st_uid == os.getuid():
            path.unlink()
