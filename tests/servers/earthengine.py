"""Earth Engine on loopback: its REST protocol over scenes in memory, with faults on request, for the real client.

The protocol is that of the client's own wheel: `ee/tests/cloud_api_discovery_document.json` and `algorithms.json`.
"""

import json
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import ee
import numpy as np
from affine import Affine
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from rasterio.io import MemoryFile

from servers.earthengine_graph import Grid, Image, Refused, Scene, evaluate

_WHEEL = Path(ee.__file__).parent / "tests"
MAX_BYTES, MAX_SIDE = 48_000_000, 32_768


class Server:
    """What it holds and was asked.

    Attributes:
        scenes: images of all datasets.
        faults: what the next requests for pixels meet, in order: a status, or `html`, `cut`, `band`, `crs`, `shift`.
        asked: body of each request for pixels.
        answered: how many of them got pixels.
        tokens: access tokens given so far; those since the last expiry are valid.
        refuse_tokens: whether the token server turns everyone away.
        delay_s: before each answer with pixels.
        most_px: in one request, before its memory runs out.
    """

    def __init__(self, scenes: list[Scene]) -> None:
        self.url = ""
        self.lock = threading.Lock()
        self.tokens: list[str] = []
        self.expired = 0
        self.reset(scenes)

    def reset(self, scenes: list[Scene]) -> None:
        """Begin anew with these scenes; tokens stay valid."""
        self.scenes = scenes
        self.faults: deque[Any] = deque()
        self.asked: list[dict[str, Any]] = []
        self.answered = 0
        self.refuse_tokens = False
        self.delay_s = 0.0
        self.most_px = float("inf")

    def expire(self) -> None:
        """From now on no token given so far is valid."""
        self.tokens.append("nobody-holds-this-one")
        self.expired = len(self.tokens)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    world: Server

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if self.path.startswith("/$discovery/rest"):
            document = json.loads((_WHEEL / "cloud_api_discovery_document.json").read_text())
            document |= {"rootUrl": f"{self.world.url}/", "baseUrl": f"{self.world.url}/"}
            document.pop("mtlsRootUrl", None)
            self._json(200, document)
        elif "/algorithms" in self.path and self._let_in():
            self._send(200, (_WHEEL / "algorithms.json").read_bytes(), "application/json")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/token":
            self._token()
        elif "image:computePixels" in self.path and self._let_in():
            self._pixels(json.loads(body))

    def _token(self) -> None:
        if self.world.refuse_tokens:
            self._json(400, {"error": "invalid_grant", "error_description": "key-secret-5 was revoked"})
            return
        with self.world.lock:
            self.world.tokens.append(f"access-secret-{len(self.world.tokens)}")
        self._json(200, {"access_token": self.world.tokens[-1], "expires_in": 3600, "token_type": "Bearer"})

    def _let_in(self) -> bool:
        given = (self.headers["Authorization"] or "").removeprefix("Bearer ")
        good = given in self.world.tokens[self.world.expired :]
        if not good:
            self._error(401, "Request had invalid authentication credentials.")
        return good

    def _pixels(self, body: dict[str, Any]) -> None:
        with self.world.lock:
            self.world.asked.append(body)
            fault = self.world.faults.popleft() if self.world.faults else None
        time.sleep(self.world.delay_s)
        if isinstance(fault, int):
            self._error(fault, "Too many requests" if fault == 429 else "The service is unavailable")
            return
        if fault == "html":
            self._send(200, b"<html><body>Sign in</body></html>", "text/html")
            return
        try:
            content = _geotiff(body, self.world.scenes, fault, self.world.most_px)
        except Refused as error:
            self._error(400, str(error))
            return
        if fault == "cut":
            self._head(200, len(content), "image/tiff")
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        self.world.answered += 1
        self._send(200, content, "image/tiff")

    def _error(self, code: int, message: str) -> None:
        self._json(code, {"error": {"code": code, "message": message, "status": "ERROR"}})

    def _json(self, code: int, content: Any) -> None:
        self._send(code, json.dumps(content).encode(), "application/json")

    def _send(self, code: int, content: bytes, kind: str) -> None:
        self._head(code, len(content), kind)
        self.wfile.write(content)

    def _head(self, code: int, length: int, kind: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()


def _geotiff(body: dict[str, Any], scenes: list[Scene], fault: Any, most_px: float) -> bytes:
    asked, affine = body["grid"], body["grid"]["affineTransform"]
    transform = tuple(float(affine[k]) for k in ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY"))
    width, height = asked["dimensions"]["width"], asked["dimensions"]["height"]
    image: Image = evaluate(body["expression"], scenes, Grid(asked["crsCode"], transform, width, height))
    names = body["bandIds"]
    for name in names:
        if name not in image.bands:
            raise Refused(f"no band {name}; there are {', '.join(image.bands)}")
    size = width * height * len(names) * np.dtype(image.dtype).itemsize
    if width * height > most_px:
        raise Refused("User memory limit exceeded.")
    if size > MAX_BYTES or max(width, height) > MAX_SIDE:
        raise Refused(f"Total request size ({size} bytes) must be less than or equal to {MAX_BYTES} bytes.")
    planes = [image.bands[name]() for name in names]
    if not all(mask.all() for _, mask in planes):
        raise Refused("masked pixels would become zeros: this server wants them unmasked")
    pixels = np.stack([value for value, _ in planes]).astype(image.dtype)
    if fault == "band":
        pixels, names = pixels[:-1], names[:-1]
    crs = "EPSG:3857" if fault == "crs" else asked["crsCode"]
    origin = (*transform[:2], transform[2] + 5.0 * (fault == "shift"), *transform[3:])
    profile = {"driver": "GTiff", "count": len(names), "width": width, "height": height, "dtype": image.dtype}
    with MemoryFile() as memory:
        with memory.open(**profile, crs=crs, transform=Affine(*origin)) as dataset:
            dataset.write(pixels)
            dataset.descriptions = names
        return bytes(memory.read())


@contextmanager
def serve(scenes: list[Scene]) -> Iterator[Server]:
    """Serve scenes until the block ends."""
    world = Server(scenes)
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"world": world}))
    world.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield world
    finally:
        http.shutdown()
        http.server_close()


def write_key_file(path: Path, server: Server) -> Path:
    """A service account whose tokens this server gives."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    account = {
        "type": "service_account",
        "project_id": "test-project",
        "private_key_id": "1",
        "private_key": pem,
        "client_email": "tester@test-project.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": f"{server.url}/token",
    }
    path.write_text(json.dumps(account))
    return path
