"""The viewer's page as this machine's browser gets it: nothing on it may reach out to the internet.

The viewer would ask for fonts, for news of its version and to report usage. A content security
policy forbids the browser to; where the network swallows requests, the page would wait for them.
"""

from __future__ import annotations

import shutil
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import quote

_TIMEOUT_S = 20.0
_FILES = ("/re_viewer.js", "/re_viewer_bg.wasm", "/favicon.ico", "/apple-touch-icon.png")
_POLICY = "; ".join(
    (
        "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:",
        "connect-src 'self' {origin} data: blob:",
    )
)


class PageServer:
    """Hands on the page of the viewer's own web server.

    address: host and port, 0 for any free one. source: host and port of the viewer's web server.
    data: host and port of the data that the page may connect to.
    Raises OSError when the port is taken.
    """

    def __init__(
        self, address: tuple[str, int], source: tuple[str, int], data: tuple[str, int]
    ) -> None:
        origin = f"http://{data[0]}:{data[1]}"
        handler = type(
            "Handler",
            (_Handler,),
            {
                "source": source,
                "policy": _POLICY.format(origin=origin),
                "page": f"/?url={quote(f'rerun+{origin}/proxy', safe='')}",
            },
        )
        try:
            self._server = ThreadingHTTPServer(address, handler)
        except OSError as error:
            raise OSError(f"port {address[1]} cannot be used: {error.strerror}") from None
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Of the page."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}/"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    source: tuple[str, int]
    policy: str
    page: str

    def do_GET(self) -> None:
        if self.path == "/":
            self.send_response(302)
            self.send_header("Location", self.page)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path.startswith("/?"):
            self._hand_on("/")
        elif self.path in _FILES:
            self._hand_on(self.path)
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Requests are not news."""

    def _hand_on(self, path: str) -> None:
        connection = HTTPConnection(*self.source, timeout=_TIMEOUT_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            self.send_response(answer.status)
            self.send_header("Content-Security-Policy", self.policy)
            for name in ("Content-Type", "rerun-final-length"):
                if value := answer.getheader(name):
                    self.send_header(name, value)
            self.end_headers()
            shutil.copyfileobj(answer, self.wfile)
        except OSError:
            pass  # the browser left, or the viewer's server ended or does not answer
        finally:
            connection.close()
