"""A server on this machine, in a process of its own: files of random bytes, with ranges."""

import hashlib
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection

import numpy as np

PART = 1 << 20
LINE = 50e6
"""Bytes a second of one connection: four of them are 1.6 Gbit/s, more than providers of data give."""


def content(index: int, size: int) -> memoryview:
    """Bytes of one file."""
    return memoryview(np.random.Generator(np.random.PCG64(index)).bytes(size))


def checksums(files: int, size: int) -> list[str]:
    """SHA-256 of each file."""
    return [hashlib.sha256(content(k, size)).hexdigest() for k in range(files)]


@contextmanager
def serving(files: int, size: int) -> Iterator[str]:
    """Serve files of one size until the block ends.

    Yields:
        The address; `/full/0`, `/full/1` and so on come as fast as they can, `/line/0` and so on at `LINE` each.
    """
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(there, files, size), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        process.terminate()
        process.join()


def _serve(pipe: Connection, files: int, size: int) -> None:
    bodies = [content(k, size) for k in range(files)]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            pace, name = self.path[1:].split("/")
            body, began = bodies[int(name)], time.monotonic()
            first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
            self.send_response(206 if first else 200)
            self.send_header("Content-Length", str(size - first))
            self.send_header("Content-Type", "application/octet-stream")
            if first:
                self.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
            self.end_headers()
            for start in range(first, size, PART):
                self.wfile.write(body[start : start + PART])
                if pace == "line":
                    time.sleep(max(0.0, began + (start + PART - first) / LINE - time.monotonic()))

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    pipe.send(server.server_port)
    server.serve_forever()
