"""A real web server for tests: files of a folder, with or without ranges, compressed on the way, cut off in the middle."""

from __future__ import annotations

import gzip
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class WebServer:
    """How the server answers; `url` is its address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self.ranges = True
        self.compressed = False
        """Send `Content-Encoding: gzip`."""
        self.cut_after: int | None = None
        """Close the connection after this many bytes of an answer."""
        self.chunked = False
        """Send no Content-Length."""
        self.requests: list[str | None] = []
        """The `Range` of each request."""


@contextmanager
def serving(folder: Path) -> Iterator[WebServer]:
    """Serve a folder on a port of its own."""
    server = WebServer(folder)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = folder / self.path.partition("?")[0].lstrip("/")
            asked = self.headers.get("Range")
            server.requests.append(asked)
            if not path.is_file():
                self.send_error(404)
                return
            data = path.read_bytes()
            start = 0
            if asked and server.ranges:
                start = int(asked.removeprefix("bytes=").partition("-")[0])
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            else:
                self.send_response(200)
            body = data[start:]
            if server.compressed:
                body = gzip.compress(body)
                self.send_header("Content-Encoding", "gzip")
            self.send_header("ETag", '"one"')
            if server.chunked:
                self.send_header("Connection", "close")
                self.close_connection = True
            else:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if server.cut_after is not None and len(body) > server.cut_after:
                self.wfile.write(body[: server.cut_after])
                self.close_connection = True
            else:
                self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        server.url = f"http://127.0.0.1:{listening.server_port}"
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join()
