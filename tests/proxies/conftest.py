"""Each proxy in front of a server of its own, over TCP and over a Unix socket."""

import contextlib
import os
import tempfile
from pathlib import Path

import pytest

from program import running
from proxy import PROXIES, proxying

PROGRAM = os.environ["PROXIED_SERVER"]


@contextlib.contextmanager
def serving(kind, *settings):
    """A server; its `socket` is None if it listens on a port."""
    if kind == "TCP":
        with running([PROGRAM, "127.0.0.1", *settings]) as server:
            server.socket = None
            yield server
        return
    with tempfile.TemporaryDirectory(prefix="portal-proxied-") as folder:
        os.chmod(folder, 0o755)
        path = Path(folder) / "socket"
        with running([PROGRAM, f"unix:{path}", *settings]) as server:
            path.chmod(0o666)  # the proxy is somebody else
            server.socket = path
            yield server


@pytest.fixture(scope="session", params=[(name, kind) for name in PROXIES for kind in ["TCP", "Unix"]],
                ids="-".join)
def proxied(request):
    """A proxy and the server behind it, shared by all tests."""
    name, kind = request.param
    with serving(kind) as server, proxying(name, server) as proxy:
        yield proxy, server
        server.stop()


@pytest.fixture
def proxy(proxied):
    return proxied[0]
