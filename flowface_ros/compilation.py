"""Says when code is compiled for this machine, which the first run of a new installation waits for.

What is compiled is kept, so later runs load it within a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from numba.core import event

NOTICE = "compiling code for this machine, up to a minute; this is done once"


class _Announcer(event.Listener):
    def __init__(self, say: Callable[[str], object]) -> None:
        self._say: Callable[[str], object] | None = say

    def on_start(self, event: event.Event) -> None:
        if self._say is not None:
            say, self._say = self._say, None
            say(NOTICE)

    def on_end(self, event: event.Event) -> None: ...


@contextmanager
def announced_compilation(say: Callable[[str], object]) -> Iterator[None]:
    """While this lasts, `say` is called as soon as something is compiled; once."""
    with event.install_listener("numba:compile", _Announcer(say)):
        yield
