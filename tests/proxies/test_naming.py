"""Proxies name the client, in a PROXY header or in a header of the request."""

import pytest
import websockets.sync.client

from conftest import serving
from program import DEADLINE
from proxy import NAMING, proxying

CLIENT = "127.0.0.5"  # not the address from which proxies connect


def connect(proxy, **settings):
    return websockets.sync.client.connect(
        proxy.url("/peer"), proxy=None, open_timeout=DEADLINE, close_timeout=DEADLINE,
        source_address=(CLIENT, 0), **settings)


@pytest.fixture(scope="module", params=[(name, kind) for name in NAMING for kind in ["TCP", "Unix"]], ids="-".join)
def naming(request):
    name, kind = request.param
    configure, proxy_protocol, entry = NAMING[name]
    proxy_itself = "unix" if kind == "Unix" else "127.0.0.1"
    trusted = ",".join(filter(None, [proxy_itself, entry]))
    with serving(kind, str(proxy_protocol), trusted) as server:
        with proxying(name, server, configure) as proxy:
            yield proxy, proxy_protocol
        server.stop()


def test_the_server_learns_the_clients_address(naming):
    proxy, proxy_protocol = naming
    with connect(proxy) as client:
        client.send("who am I?")
        named = client.recv(DEADLINE)
        if proxy_protocol:
            assert named == f"{CLIENT}:{client.local_address[1]}"
        else:
            assert named == CLIENT


def test_what_the_client_says_of_itself_is_not_believed(naming):
    proxy, _ = naming
    lies = {"X-Forwarded-For": "192.0.2.66", "Forwarded": "for=192.0.2.66"}
    with connect(proxy, additional_headers=lies) as client:
        client.send("who am I?")
        assert client.recv(DEADLINE).startswith(CLIENT)
