"""A server on this machine that answers for any host.

A client reaches it as the proxy of its environment (HTTPS_PROXY) and believes, by the certificate that
REQUESTS_CA_BUNDLE names, that it speaks TLS with the host itself: no client is patched, no address is changed. It
imports nothing of terraprobe.
"""

import datetime
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass
class Request:
    """What a client asked."""

    method: str
    host: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes = b""

    @property
    def form(self):
        """Fields of a form that was posted."""
        return parse_qs(self.body.decode())


@dataclass
class Answer:
    """What it is given; after `cut` bytes of the body the connection breaks."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None


def html(status=200, text="<!doctype html><title>Sign in</title>"):
    return Answer(status, text.encode(), {"Content-Type": "text/html; charset=utf-8"})


def status(code, **headers):
    return Answer(code, b"{}", {"Content-Type": "application/json", **headers})


@dataclass
class Stored:
    """A file: with ranges, unless told otherwise. Each fault spoils one answer, in their order."""

    body: bytes
    faults: list[Callable[[Answer], Answer]] = field(default_factory=list)
    ranges: bool = True
    tag: str = '"v1"'

    def __call__(self, request):
        """Answer a request."""
        asked, answer = request.headers.get("range"), Answer(200, self.body)
        fresh = request.headers.get("if-range", self.tag) == self.tag
        if asked and self.ranges and fresh:
            start = int(asked.removeprefix("bytes=").partition("-")[0])
            if start >= len(self.body):
                return Answer(416, b"", {"Content-Range": f"bytes */{len(self.body)}"})
            where = f"bytes {start}-{len(self.body) - 1}/{len(self.body)}"
            answer = Answer(206, self.body[start:], {"Content-Range": where})
        answer.headers |= {"ETag": self.tag, "Content-Type": "application/octet-stream"}
        return self.faults.pop(0)(answer) if self.faults and request.method == "GET" else answer


def cut(after):
    return lambda answer: replace(answer, cut=after)


def spoil(answer):
    return replace(answer, body=bytes(b ^ 1 for b in answer.body[:1]) + answer.body[1:])


class Loopback(ThreadingHTTPServer):
    """The server; `answers` maps `host/path` to what answers there, `asked` lists every request."""

    daemon_threads = True

    def __init__(self, context):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.context = context
        self.answers: dict[str, Callable[[Request], Answer]] = {}
        self.asked: list[Request] = []
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def address(self):
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def put(self, url, answer):
        """Answer requests for an address."""
        parts = urlsplit(url)
        self.answers[f"{parts.hostname}{parts.path}"] = answer

    def count(self, path):
        """How often a path was asked for."""
        return sum(request.path == path for request in self.asked)

    def handle_error(self, request, client_address):
        """Clients that go away are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    secured = ""

    def log_message(self, *_):
        pass

    def do_CONNECT(self):
        self.secured = self.path.rpartition(":")[0]
        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.connection = self.server.context.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
        self.close_connection = False
        while not self.close_connection:
            self.handle_one_request()
        self.rfile.close()
        self.connection.close()

    def _answer(self):
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        host = self.secured or parts.hostname or headers.get("host", "").partition(":")[0]
        body = self.rfile.read(int(headers.get("content-length", 0)))
        request = Request(self.command, host, parts.path, parse_qs(parts.query), headers, body)
        self.server.asked.append(request)
        answer = self.server.answers.get(f"{host}{parts.path}", lambda _: status(404))(request)
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[: answer.cut])
        if answer.cut is not None:
            self.close_connection = True

    def do_GET(self):
        self._answer()

    def do_POST(self):
        self._answer()

    def do_HEAD(self):
        self._answer()


def certificate(folder, hosts):
    """Write a certificate for hosts, which is its own authority; the server's context and the file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "loopback.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = folder / "loopback.key"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, private)
    return context, file


HOSTS = (
    "cmr.earthdata.nasa.gov", "urs.earthdata.nasa.gov", "cumulus.asf.alaska.edu", "grfn.asf.alaska.edu",
    "search-error-report.asf.alaska.edu", "geodata.ucdavis.edu", "www.eea.europa.eu", "jeodpp.jrc.ec.europa.eu",
    "biogeo.ucdavis.edu", "sdi.eea.europa.eu", "mirror.example",
)  # fmt: skip
"""Those that the tests ask."""
