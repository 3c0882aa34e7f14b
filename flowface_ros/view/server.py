"""Serves a view to a browser on this machine."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

from flowface_ros.view.page import PageServer
from flowface_ros.view.sdk import load_sdk

HOST = "127.0.0.1"
"""Faces are nobody else's business: other machines cannot connect."""
_START_S = 20.0
_END_S = 5.0
_POLL_S = 0.05
_PR_SET_PDEATHSIG = 1
"""Of prctl(2)."""
_NO_ANALYTICS = '{"analytics_enabled": false, "analytics_id": "", "metadata": {}}'


class ViewServer:
    """The viewer's page and its data, from a process of their own; use it in a `with` statement.

    port: of the page, 0 for any free one. memory: what is kept for pages that are opened later,
    e.g. "1GB"; the oldest goes first. files: recordings (.rrd) to show instead of a stream.
    Raises OSError when the port is taken or the process does not start.
    """

    def __init__(self, port: int = 0, memory: str = "1GB", files: Sequence[Path] = ()) -> None:
        load_sdk()
        self._data_port, self._web_port = _free_port(), _free_port()
        self._page = PageServer((HOST, port), (HOST, self._web_port), (HOST, self._data_port))
        self._files = files
        self._settings = tempfile.TemporaryDirectory(prefix="flowface_view_")
        # Into a file: nobody reads a pipe while the view is shown, and a full one would stop it.
        self._said = Path(self._settings.name) / "stderr"
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                self._command(memory),
                env=self._environment(),
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,  # a Ctrl-C is for us, who end it
                preexec_fn=_end_with_parent,
            )

    @property
    def data_url(self) -> str:
        """Where a recording stream connects to."""
        return f"rerun+http://{HOST}:{self._data_port}/proxy"

    @property
    def url(self) -> str:
        """The page."""
        return self._page.url

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def __enter__(self) -> ViewServer:
        end = time.monotonic() + _START_S
        while not (_listens(self._data_port) and _listens(self._web_port)):
            if not self.running or time.monotonic() > end:
                last_words = self._last_words()
                self.__exit__(None, None, None)
                raise OSError(f"the viewer's server did not start: {last_words}")
            time.sleep(_POLL_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.running:
            self._process.terminate()
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._page.close()
        self._settings.cleanup()

    def _last_words(self) -> str:
        lines = self._said.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no answer"

    def _command(self, memory: str) -> list[str]:
        return [
            *(_program(), "--serve-web", "--bind", HOST),
            *("--port", str(self._data_port), "--web-viewer-port", str(self._web_port)),
            *("--server-memory-limit", memory, *map(str, self._files)),
        ]

    def _environment(self) -> dict[str, str]:
        """With the viewer's usage statistics off, whatever the user's own settings are."""
        folder = Path(self._settings.name) / "rerun"
        folder.mkdir()
        (folder / "analytics.json").write_text(_NO_ANALYTICS)
        return {**os.environ, "XDG_CONFIG_HOME": self._settings.name}


def _program() -> str:
    """The viewer's own program; the console script around it would outlive us."""
    spec = find_spec("rerun_cli")
    if spec is None or spec.origin is None:
        raise ValueError("the package rerun-sdk has no viewer: install it from its wheel")
    return str(Path(spec.origin).parent / "rerun")


def _end_with_parent() -> None:
    """In the new process: it is not to stay when we are killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0
