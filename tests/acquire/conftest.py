"""Fixtures of the tests that fetch files from a server on this machine."""

import resource
import signal
from contextlib import contextmanager

import pytest

from anyhost import HOSTS, Loopback, certificate
from terraprobe.acquire import remote


@pytest.fixture(scope="session")
def tls(tmp_path_factory):
    """Context of the server, and the certificate that clients accept."""
    return certificate(tmp_path_factory.mktemp("tls"), HOSTS)


@pytest.fixture
def loopback(tls, monkeypatch):
    """A server that answers for every host, in an environment whose proxy it is; nobody waits long."""
    context, bundle = tls
    server = Loopback(context)
    for name in ("NO_PROXY", "no_proxy", "CURL_CA_BUNDLE", "TERRAPROBE_CONNECTIONS", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, server.address)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    monkeypatch.setattr(remote, "WAIT_S", 0.01)
    monkeypatch.setattr(remote, "LONGEST_WAIT_S", 0.05)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def small_disk():
    """A context in which no file may grow beyond so many bytes."""

    @contextmanager
    def limited(most):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, handler)

    return limited
