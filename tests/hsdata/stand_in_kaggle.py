"""A stand-in for Kaggle on this machine; the tests import it."""

import contextlib
import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np


class Kaggle(ThreadingHTTPServer):
    """A stand-in that answers as Kaggle does: a redirection to a store that knows ranges."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = b""
        self.tag: str | None = '"v1"'
        self.status = 200
        self.length = True
        self.cut_after: list[int] = []
        self.requests: list[tuple[str, str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/api/v1"


class Handler(BaseHTTPRequestHandler):
    server: Kaggle

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.server.requests.append((self.path, self.headers.get("Authorization", ""), wanted))
        if self.path.startswith("/api"):
            self.send_response(302 if self.server.status == 200 else self.server.status)
            # Another name of this machine: to the client, another host.
            self.send_header("Location", f"http://localhost:{self.server.server_port}/store")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content, start = self.server.content, 0
        fresh = self.headers.get("If-Range") in (None, self.server.tag)
        if wanted and fresh:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if self.server.tag:
            self.send_header("ETag", self.server.tag)
        if self.server.length:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        part = content[start:]
        if self.server.cut_after:
            part = part[: self.server.cut_after.pop(0)]
        self.wfile.write(part)

    def log_message(self, *args: object) -> None:
        pass


@contextlib.contextmanager
def served() -> Iterator[Kaggle]:
    """The stand-in while the block runs."""
    with Kaggle() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


FILES = {
    f"train/{folder}/Category-1_a_{n:04d}{suffix}": folder.encode() + np.random.default_rng(n).bytes(20_000)
    for n in range(3)
    for folder, suffix in (("rgb_2", ".png"), ("hsi_61", ".h5"))
}
FILES["public-test/rgb_2/Category-1_a_0009.png"] = b"public"
FILES["readme.txt"] = b"hello"


def archive(files: dict[str, bytes], prefix: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as content:
        for name, data in files.items():
            content.writestr(prefix + name, data)
    return buffer.getvalue()
